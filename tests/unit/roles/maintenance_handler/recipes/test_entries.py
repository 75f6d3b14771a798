# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of `recipes` in a configuration: the tasks made from them, and invalid ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from maintenance_handler.app import config
from maintenance_handler.app.cli import main
from maintenance_handler.app.config import ConfigError
from maintenance_handler.io import recipe_folders
from support.recipes import RECIPES

NAMES = sorted(recipe_folders.names([RECIPES]))
ROLE = RECIPES.parents[1]

OWN = {
    "description": "Mark a file.",
    "parameters": {
        "file": {"type": "path", "required": True, "description": "the file"},
        "words": {"type": "list", "description": "what is in it"},
        "count": {"type": "int", "minimum": 1, "default": 3, "description": "how often"},
        "mode": {"type": "str", "choices": ["a", "b"], "default": "a", "description": "how"},
        "fast": {"type": "bool", "default": False, "description": "whether soon"},
        "url": {"type": "url", "description": "where"},
        "seconds": {"type": "float", "minimum": 0, "description": "how long"},
        "port": {"type": "int", "minimum": 1, "maximum": 65535, "description": "which"},
    },
    "named_by": ["file"],
    "task": {
        "on": ["migrate", "terminate", "preempt"],
        "stage": 10,
        "timeout": {"migrate": 20, "terminate": 300, "preempt": 10, "window": 300},
        "lead": {"terminate": 600, "window": 900},
    },
}
PROGRAM = """
import os
from recipes.run import Refusal

def check(run):
    if run["file"].startswith("/no"):
        raise Refusal("the file " + run["file"] + " cannot be")

def drain(run):
    run.record.note(run["file"], "before")
    run.say("drained " + ",".join(run["words"] or ["-"]) + " for " + run.event)

def restore(run):
    run.say("was " + str(run.record.get(run["file"])))
    run.record.forget(run["file"])

def state(run):
    run.say("in service")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a recipe of one's own, `marker`."""
    own = tmp_path / "recipes" / "marker"
    own.mkdir(parents=True)
    (own / "recipe.json").write_text(json.dumps(OWN), encoding="utf-8")
    (own / "program.py").write_text(PROGRAM, encoding="utf-8")
    return own


@pytest.fixture
def written(tmp_path: Path, folder: Path) -> Callable[..., Path]:
    """Writes a configuration with these recipes."""

    def write(*recipes: Any, **settings: Any) -> Path:
        path = tmp_path / "config.json"
        document = {
            "state_dir": str(tmp_path / "state"),
            "runtime_dir": str(tmp_path / "run"),
            "recipe_folders": [str(folder.parent)],
            "recipes": list(recipes),
            **settings,
        }
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return write


OTHERS = {"mode": "a", "fast": False, "url": None, "seconds": None, "port": None}
MARKER = {"marker": {"file": "/srv/mark"}}


def test_creates_a_task_from_an_entry(written: Callable[..., Path], folder: Path, tmp_path: Path) -> None:
    [task] = config.load(written(MARKER)).tasks
    assert (task.name, task.stage, task.on) == ("marker /srv/mark", 10, ("migrate", "terminate", "preempt"))
    assert [task.limit("drain", event) for event in task.on] == [20, 300, 10]
    assert [task.lead_for(event) for event in task.on] == [None, 600, None]
    *program, verb, parameters = task.drain
    assert program == [sys.executable, "-I", "-X", "utf8", str(RECIPES), str(folder)]
    assert verb == "drain"
    assert json.loads(parameters) == {"file": "/srv/mark", "words": None, "count": 3, **OTHERS}
    assert (task.restore[:-2], task.restore[-2]) == (tuple(program), "restore")
    assert task.env == {"GCE_RECIPE_RECORDS": f"{tmp_path}/state/recipes"}


def test_fields_of_the_task_can_be_overridden(written: Callable[..., Path]) -> None:
    fields = {
        "name": "mark",
        "on": ["migrate", "window"],
        "stage": 5,
        "timeout": {"migrate": 15},
        "lead": {"window": 60},
        "env": {"A": "b"},
        "retries": 2,
    }
    [task] = config.load(written({**MARKER, **fields, "timeout": {"migrate": 15, "window": 50}})).tasks
    assert (task.name, task.on, task.stage, task.retries) == ("mark", ("migrate", "window"), 5, 2)
    assert [task.limit("drain", event) for event in task.on] == [15, 50]
    assert task.lead_for("window") == 60
    assert task.env["A"] == "b"
    assert "GCE_RECIPE_RECORDS" in task.env
    records = {"GCE_RECIPE_RECORDS": "/srv/app/records"}
    [task] = config.load(written({**MARKER, "user": "app", "env": records})).tasks
    assert (task.user, task.env) == ("app", records)
    # A lead applies only to events that can have one, and does not prevent a task for other events.
    [task] = config.load(written({**MARKER, "on": ["migrate"], "timeout": 7})).tasks
    assert (task.lead, task.limit("drain", "migrate")) == (None, 7)


def test_recipes_and_tasks_are_in_one_plan(written: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    other = {"name": "db", "on": ["migrate"], "drain": ["true"], "timeout": 5, "stage": 60}
    assert main(["plan", "--config", str(written(MARKER, tasks=[other]))]) == 0
    out = capsys.readouterr().out
    assert "stage 10   drain    marker /srv/mark  (+0 s, 20 s at most)" in out
    assert "stage 60   drain    db" in out


REFUSED: list[tuple[Any, str]] = [
    ("marker", "recipe 1, must be an object"),
    ({}, "recipe 1, names no recipe"),
    ({"stage": 10}, "recipe 1, names no recipe"),
    ({"markr": {}}, "recipe 1, 'markr' is not a recipe; there are "),
    ({"markr": {}}, "did you mean 'marker'?"),
    ({**MARKER, "other": {}}, "names more than one recipe: 'marker', 'other'"),
    ({"marker": ["/x"]}, "recipe 1, marker, must be an object with the recipe's parameters"),
    ({"marker": None}, "recipe 1, marker, parameter 'file': is missing (the file)"),
    ({"marker": {"file": "mark"}}, "recipe 1, marker, parameter 'file': must be an absolute path, not 'mark'"),
    (
        {"marker": {"fiel": "/x"}},
        "parameter 'fiel': is unknown; the recipe has count, fast, file, mode, port, seconds, url, words; did",
    ),
    ({"marker": {"file": "/x", "count": "7"}}, "parameter 'count': must be a whole number, not '7'"),
    ({"marker": {"file": "/x", "count": 0}}, "parameter 'count': must be 1 or more, not 0"),
    ({"marker": {"file": "/x", "mode": "c"}}, "parameter 'mode': must be one of a, b, not 'c'"),
    ({"marker": {"file": "/x", "fast": "no"}}, "parameter 'fast': must be true or false"),
    ({"marker": {"file": "/x", "words": [1]}}, "parameter 'words': must be a string, or a list of strings"),
    *[
        ({"marker": {"file": "/x", "seconds": seconds}}, f"parameter 'seconds': must be a number, not {words}")
        for seconds, words in ((float("nan"), "nan"), (float("inf"), "inf"), (10**400, "1000"))
    ],
    ({"marker": {"file": "/x", "count": 10**400}}, "parameter 'count': must be a whole number, not 1000"),
    ({"marker": {"file": "/x", "port": 65536}}, "parameter 'port': must be 65535 or less, not 65536"),
    ({"marker": {"file": "/a\0b"}}, "parameter 'file': must be an absolute path, not '/a\\x00b'"),
    ({"marker": {"file": "/a\ud800"}}, "parameter 'file': must be an absolute path, not '/a\\ud800'"),
    ({"marker": {"file": "/x", "mode": "\0"}}, "parameter 'mode': must be a string that is not empty"),
    ({"marker": {"file": "/x", "words": ["a", "b\0"]}}, "parameter 'words': must be a string, or a list of strings"),
    *[
        (
            {"marker": {"file": "/x", "url": url}},
            f"parameter 'url': must be a URL that begins with http:// or https://{words}",
        )
        for url, words in (
            ("ftp://a/", ", not 'ftp://a/'"),
            ("http://", ""),
            ("http:///x", ""),
            ("http://[::1", ""),
            ("http://a:b/", ""),
            ("http://a:0/", ""),
            ("http://a:99999999/", ""),
            ("http://a..b/", ""),
            (f"http://{'a' * 64}/", ""),
            ("http://a b/", ""),
            ("http://a/b\0", ""),
        )
    ],
    (
        {**MARKER, "user": "app"},
        "marker, field 'env': needs GCE_RECIPE_RECORDS, a directory for the recipe's record that 'app'",
    ),
    ({**MARKER, "drain": ["true"]}, "recipe 1, marker, field 'drain': is set by the recipe"),
    ({**MARKER, "stage": "first"}, "task 'marker /srv/mark', field 'stage': must be a whole number"),
    (
        {**MARKER, "timeout": {"reboot": 1}},
        "task 'marker /srv/mark', field 'timeout': event 'reboot' is not one of ",
    ),
]


@pytest.mark.parametrize("entry, problem", REFUSED, ids=[problem[:60] for _unused, problem in REFUSED])
def test_reports_an_invalid_entry_in_one_line_with_its_place(
    entry: Any, problem: str, written: Callable[..., Path]
) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(written(entry))
    assert any(problem in line for line in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    "key, url",
    [
        ("url", "http://root:geheim@127.0.0.1"),
        ("url", "https://geheim@a/"),
        ("url", "http://a:99999999/?token=geheim"),
        ("url", "http://root:x/geheim@a"),
        # Such as a parameter `health`.
        ("mode", "http://root:geheim@127.0.0.1"),
    ],
)
def test_refusal_of_a_url_does_not_have_its_secrets(key: str, url: str, written: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(written({"marker": {"file": "/x", key: url}}))
    [problem] = caught.value.problems
    assert f"parameter {key!r}: must be a URL " in problem
    assert "geheim" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "https://a.b-c.internal.:8443/x/@y?z=@#w",
        "http://[::1]:80/",
        "http://[fe80::1%25eth0]",
        "http://münchen/",
    ],
)
def test_accepts_urls(url: str, written: Callable[..., Path]) -> None:
    [task] = config.load(written({"marker": {"file": "/x", "url": url}})).tasks
    assert json.loads(task.drain[-1])["url"] == url


def test_same_recipe_twice_requires_names(written: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="field 'name': is used by more than one task"):
        config.load(written(MARKER, MARKER))
    assert len(config.load(written(MARKER, {"marker": {"file": "/srv/other"}})).tasks) == 2


def test_broken_definition_is_reported_with_its_file(written: Callable[..., Path], folder: Path) -> None:
    for text in ("{", "[]", "{}", '{"description": "x", "task": {}, "parameters": {"a": {"type": "x"}}}'):
        (folder / "recipe.json").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"marker/recipe\.json: "):
            config.load(written(MARKER))


def test_check_runs_the_check_of_each_recipe(written: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = written(MARKER, {"marker": {"file": "/no/file"}})
    assert main(["check", "--config", str(path)]) == 2
    err = capsys.readouterr().err
    assert err == f"{path}: task 'marker /no/file', check: the file /no/file cannot be\n"
    assert main(["check", "--config", str(written(MARKER))]) == 0
    # In an image, the software that it needs is not running.
    assert main(["check", "--without-task-checks", "--config", str(written({"marker": {"file": "/no/file"}}))]) == 0


@pytest.mark.parametrize(
    "check, problem",
    [
        (["sh", "-c", "echo fine; echo 'no socket'; exit 1"], "check: no socket"),
        (["false"], "check: ended with status 1 without output"),
        (["no-such-program"], "field 'check': program 'no-such-program' does not exist"),
        (["sh", "-c", "echo password=hunter2hunter2; exit 1"], "check: [redacted]"),
    ],
)
def test_any_task_can_have_a_check(
    check: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    task = {"name": "lb", "on": ["migrate"], "drain": ["true"], "check": check}
    path.write_text(json.dumps({"state_dir": "/s", "runtime_dir": "/r", "tasks": [task]}), encoding="utf-8")
    assert main(["check", "--config", str(path)]) == 2
    assert f"task 'lb', {problem}" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_each_recipe_is_complete(name: str) -> None:
    recipe = recipe_folders.read(RECIPES / name)
    assert recipe.description.endswith(".")
    assert (RECIPES / name / "program.py").is_file()
    assert (RECIPES / name / "README.md").read_text(encoding="utf-8").startswith(f"## {name}\n")
    assert {"on", "stage", "timeout", "restore_timeout"} <= recipe.task.keys()
    # It has a timeout and a start for every event that it supports.
    assert {*recipe.task["on"], "window"} <= recipe.task["timeout"].keys()
    assert {"terminate", "window"} <= recipe.task["lead"].keys()
    for parameter in recipe.parameters.values():
        assert parameter.description
        assert parameter.default is None or not parameter.required


def test_the_role_copies_every_recipe() -> None:
    variables = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))
    copied = [one for one in variables["__maintenance_handler_folders"] if one.startswith("recipes/")]
    assert copied == [f"recipes/{name}" for name in NAMES]
