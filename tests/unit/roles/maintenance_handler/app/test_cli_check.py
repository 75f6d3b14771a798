# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `check`: what it rejects, and with which messages."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.app.cli import main
from support.handler import PACKAGE_FOLDER, HandlerProcess, task
from support.vm_python import VM_PYTHON

MakeHandler = Callable[..., HandlerProcess]


def written(folder: Path, content: Any) -> Path:
    """A configuration file: a dict is completed, a list is its tasks, bytes are written as they are."""
    path = folder / "config.json"
    if isinstance(content, list):
        content = {"tasks": content}
    if isinstance(content, dict):
        content = {"state_dir": str(folder / "state"), "runtime_dir": str(folder / "run"), **content}
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def lb(**fields: Any) -> dict[str, Any]:
    """A task that is as it should be, but for these fields; one that is None is left out."""
    merged = {"name": "lb", "on": ["migrate"], "drain": ["true"], "timeout": 5, **fields}
    return {key: value for key, value in merged.items() if value is not None}


REFUSED: list[tuple[Any, str]] = [
    # The file
    (b"", "does not parse as JSON"),
    (b'{"tasks": [}', "does not parse as JSON: Expecting value: line 1 column 12"),
    (b"\xff\xfe", "does not parse as JSON"),
    (b"[" * 100_000, "does not parse as JSON"),
    (b"[]", "must be one JSON object, not a list"),
    (b"{}", "field 'state_dir': is missing"),
    (b'{"state_dir": "/a", "state_dir": "/b"}', "key 'state_dir' is duplicated in an object"),
    # Its fields
    ({"taks": []}, "field 'taks': is unknown; the fields are "),
    ({"state_dir": "var/lib"}, "field 'state_dir': must be an absolute path, not 'var/lib'"),
    ({"tasks": {}}, "field 'tasks': must be a list, not an object"),
    ({"poll_timeout": 0}, "field 'poll_timeout': must be from 1 to 600, not 0"),
    ({"poll_timeout": 2.5}, "field 'poll_timeout': must be a whole number, not a number"),
    ({"guest_attributes": "yes"}, "field 'guest_attributes': must be true or false, not a string"),
    ({"unknown_event": "preempt"}, "field 'unknown_event': must be one of migrate, terminate, not 'preempt'"),
    ({"notice": {"reboot": 5}}, "field 'notice': event 'reboot' is not one of migrate, terminate"),
    ({"notice": {"migrate": "60"}}, "field 'notice': migrate: must be a number, not a string"),
    ({"log_level": "verbose"}, "field 'log_level': must be one of debug, info, warning, error, not 'verbose'"),
    # Tasks
    (["lb"], "task 1: must be an object, not a string"),
    ([lb(name=None)], "task 1, field 'name': is missing"),
    ([lb(name=7)], "task 1, field 'name': must be a string, not a number"),
    ([lb(), lb()], "task 'lb', field 'name': is used by more than one task"),
    ([lb(on=None)], "task 'lb', field 'on': is missing"),
    ([lb(on=[])], "task 'lb', field 'on': must be a list of at least one of"),
    ([lb(on=["reboot"])], "task 'lb', field 'on': event 'reboot' is not one of migrate, terminate"),
    ([lb(on="migrate")], "task 'lb', field 'on': must be a list"),
    ([lb(drain=None)], "task 'lb', field 'drain': is missing (or give a 'playbook')"),
    ([lb(drain="systemctl stop lb")], "task 'lb', field 'drain': must be a list of words"),
    ([lb(drain=["sleep", 5])], "task 'lb', field 'drain': must be a list of strings, but contains a number"),
    ([lb(playbook="/x.yml")], "task 'lb', field 'playbook': cannot be given together with 'drain'"),
    ([lb(drian=["x"])], "task 'lb', field 'drian': is unknown"),
    ([lb(timeout="5")], "task 'lb', field 'timeout': must be a number, not a string"),
    ([lb(timeout=True)], "task 'lb', field 'timeout': must be a number, not a boolean"),
    ([lb(timeout=0)], "task 'lb', field 'timeout': must be from 0.1"),
    ([lb(stage=-1)], "task 'lb', field 'stage': must be from 0 to 9999, not -1"),
    ([lb(retries=0.5)], "task 'lb', field 'retries': must be a whole number"),
    ([lb(env={"A": 1})], "task 'lb', field 'env': variable 'A' must be a string, not a number"),
    ([lb(on_failure="ignore")], "task 'lb', field 'on_failure': must be one of continue, stop, not 'ignore'"),
    ([lb(lead=60)], "task 'lb', field 'lead': is only for terminate and window"),
    ([lb(lead={"terminate": 60})], "task 'lb', field 'lead': is only for terminate and window"),
    (
        [lb(on=["window"], lead={"terminate": 60})],
        "task 'lb', field 'lead': is missing, and a window is announced days",
    ),
    (
        [lb(on=["terminate"], lead={"migrate": 60})],
        "task 'lb', field 'lead': event 'migrate' is not one of terminate, window",
    ),
    ([lb(timeout={"reboot": 5})], "task 'lb', field 'timeout': event 'reboot' is not one of migrate, terminate"),
    ([lb(timeout={"migrate": "5"})], "task 'lb', field 'timeout': migrate: must be a number, not a string"),
    ([lb(on_failure={"migrate": "ignore"})], "task 'lb', field 'on_failure': migrate: must be one of continue, stop"),
    # Time
    ([lb(timeout=61)], "task 'lb', field 'timeout': the stages for migrate take 61 s, more than the notice of 60 s"),
    (
        [lb(timeout=20), lb(name="db", on=["preempt", "migrate"], stage=60, timeout=31)],
        "task 'db', field 'timeout': the stages for preempt take 31 s, more than the notice of 30 s",
    ),
    ([lb(on=["terminate"], lead=4000)], "task 'lb', field 'lead': 4000 s before a terminate event"),
    ([lb(on=["window"], lead=60, timeout=90)], "task 'lb', field 'timeout': the stages for window take 90 s"),
    (
        [lb(on=["migrate", "preempt"], timeout={"migrate": 50, "preempt": 31})],
        "task 'lb', field 'timeout': the stages for preempt take 31 s",
    ),
    # The machine
    ([lb(drain=["/no/such/program"])], "task 'lb', field 'drain': program '/no/such/program' does not exist"),
    ([lb(drain=["/etc/passwd"])], "task 'lb', field 'drain': program '/etc/passwd' does not exist or cannot be exec"),
    ([lb(restore=["no-such-program"])], "task 'lb', field 'restore': program 'no-such-program' does not exist"),
    ([lb(drain=None, playbook="/no.yml")], "task 'lb', field 'playbook': '/no.yml' does not exist or is not a file"),
    ([lb(user="no-such-user")], "task 'lb', field 'user': there is no user 'no-such-user' here"),
    ([lb(when="event.")], "task 'lb', field 'when': is not JMESPath"),
    ([lb(when="nothing(event)")], "task 'lb', field 'when': "),
]


@pytest.mark.parametrize("content, problem", REFUSED, ids=[problem[:60] for _unused, problem in REFUSED])
def test_reports_a_problem_in_one_line_with_its_place(
    content: Any, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, content)
    assert main(["check", "--config", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert any(line.startswith(f"{path}: {problem}") for line in lines), err
    assert all(line.startswith(f"{path}: ") for line in lines)
    # Nothing is made of it.
    assert list(tmp_path.iterdir()) == [path]


def test_reports_all_problems_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, [lb(timeout="long", on=["reboot"]), lb(name="db", stage="last")])
    assert main(["check", "--config", str(path)]) == 2
    err = capsys.readouterr().err
    for place in ("task 'lb', field 'timeout'", "task 'lb', field 'on'", "task 'db', field 'stage'"):
        assert place in err


def test_reports_problems_of_the_machine_and_of_the_text_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, [lb(timeout="long", drain=["/no/such"]), lb(name="db", user="nobdy")])
    assert main(["check", "--config", str(path)]) == 2
    err = capsys.readouterr().err
    for place in ("task 'lb', field 'timeout'", "task 'lb', field 'drain'", "task 'db', field 'user'"):
        assert place in err


def test_notes_settings_that_are_rarely_intended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, [lb(on=["terminate"])])
    assert main(["check", "--config", str(path)]) == 0
    assert f"\n{path}: note: task 'lb', field 'lead': is not given" in capsys.readouterr().out


@pytest.mark.parametrize(
    "url, is_noted", [("http://127.0.0.1:1", True), ("https://localhost:1", True), ("http://consul.invalid:1", False)]
)
def test_notes_that_the_slot_depends_on_an_agent_of_this_vm(
    url: str, is_noted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = {"backend": "consul", "group": "web", "slots": 1, "address": url}
    path = written(tmp_path, {"tasks": [lb()], "fleet_limit": limit})
    assert main(["check", "--config", str(path)]) == 0
    noted = [line for line in capsys.readouterr().out.splitlines() if "an agent on this VM" in line]
    assert len(noted) == is_noted
    assert all(line.startswith(f"{path}: note: field 'fleet_limit': address {url!r}") for line in noted)


def test_accepts_a_lead_for_a_termination_among_other_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, [lb(on=["terminate", "window"], lead={"terminate": "at_once", "window": 60})])
    assert main(["check", "--config", str(path)]) == 0
    assert "note" not in capsys.readouterr().out
    path = written(tmp_path, [lb(on=["terminate", "window"], lead={"window": 60})])
    assert main(["check", "--config", str(path)]) == 0
    assert "note: task 'lb', field 'lead': is not given" in capsys.readouterr().out


def test_shows_no_value_that_may_be_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, [lb(env={"TOKEN": ["hunter2"]})])
    assert main(["check", "--config", str(path)]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_accepts_a_valid_configuration(make_handler: MakeHandler) -> None:
    handler = make_handler(
        task(
            "lb",
            user=pwd.getpwuid(os.geteuid()).pw_name,
            when="event.can_reschedule == `false`",
            env={"A": "b"},
            retries=2,
        ),
        task("database", "window", "terminate", lead=600, on_failure="stop"),
    )
    result = handler.command("check")
    assert (result.returncode, result.stderr) == (0, "")
    verdict, notice, note = result.stdout.splitlines()
    assert "these tasks are for migrate: 'lb'" in note
    assert verdict == f"{handler.config_path}: 2 tasks, no problems"
    assert "preempt: 30 s of notice, the default" in notice
    assert not handler.state_dir.exists()


def test_requires_jmespath_only_for_a_condition(tmp_path: Path, make_handler: MakeHandler) -> None:
    (tmp_path / "jmespath.py").write_text("raise ImportError('not here')\n")
    environ = {"PYTHONPATH": str(tmp_path)}
    assert make_handler(task("lb"), environ=environ).command("check").returncode == 0
    result = make_handler(task("lb", when="`true`"), environ=environ).command("check")
    assert result.returncode == 2
    assert "task 'lb', field 'when': needs jmespath, which this Python does not have" in result.stderr


def test_reports_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/none.json: cannot be read: No such file or directory\n"


def test_searches_the_task_s_own_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "bin" / "lbctl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = written(tmp_path, [lb(drain=["lbctl"], env={"PATH": str(program.parent)})])
    assert main(["check", "--config", str(path)]) == 0
    path = written(tmp_path, [lb(drain=["lbctl"])])
    assert main(["check", "--config", str(path)]) == 2
    capsys.readouterr()


def test_plan_shows_when_tasks_run_and_the_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(
        tmp_path,
        [
            lb(on=["migrate", "terminate"], stage=10, timeout=15, restore=["true"]),
            lb(name="db", on=["terminate", "window"], stage=20, lead=600, timeout=300),
        ],
    )
    assert main(["plan", "--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert "migrate (60 s of notice, the default)\n  at once\n    stage 10   drain    lb  (+0 s, 15 s at most)" in out
    assert "15 s at most, 45 s to spare" in out
    assert "600 s before it\n    stage 20   drain    db  (+0 s, 300 s at most)" in out
    assert "preempt (30 s of notice, the default)\n  no task is for it" in out
    assert "afterwards\n    stage 10   restore  lb" in out


def test_plan_shows_times_by_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"timeout": {"migrate": 15, "terminate": 500}, "lead": {"terminate": 600}, "restore": ["true"]}
    path = written(tmp_path, [lb(on=["migrate", "terminate", "preempt"], **fields)])
    assert main(["plan", "--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert "  at once\n    stage 50   drain    lb  (+0 s, 15 s at most)" in out
    assert "  600 s before it\n    stage 50   drain    lb  (+0 s, 500 s at most)" in out
    assert "  at once\n    stage 50   drain    lb  (+0 s, 20 s at most)" in out


def test_escapes_a_name_that_the_locale_cannot_encode(tmp_path: Path) -> None:
    """freeipa#5334: a locale such as ISO-8859-1 has no arrow."""
    path = tmp_path / "config.json"
    entry = {"name": "db → standby", "on": ["migrate"], "drain": ["true"]}
    config = {"state_dir": str(tmp_path), "runtime_dir": str(tmp_path), "tasks": [entry]}
    path.write_text(json.dumps(config), encoding="utf-8")
    for encoding, shown in (("iso-8859-1", b"db \\u2192 standby"), ("utf-8", "db → standby".encode())):
        result = subprocess.run(
            [VM_PYTHON, "-m", "maintenance_handler", "plan", "--config", str(path)],
            cwd=PACKAGE_FOLDER,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=True,
        )
        assert shown in result.stdout
