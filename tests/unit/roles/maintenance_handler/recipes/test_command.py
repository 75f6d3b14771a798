# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of recipes: whatever a service answers, a run ends with one sentence."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.json_service import Call, JsonService
from support.recipes import RECIPES, Recipe
from support.vm_python import VM_PYTHON

DEEP = "[" * 100_000


class Liar(JsonService):
    """A service that answers each request alike."""

    value: Any = None

    def answer(self, call: Call) -> tuple[int, Any]:
        return 200, self.value


@pytest.fixture
def liar() -> Iterator[Liar]:
    started = Liar()
    yield started
    started.stop()


@pytest.fixture
def broken(tmp_path: Path) -> Recipe:
    """A recipe whose check does what its parameter says."""
    folder = tmp_path / "recipes" / "broken"
    folder.mkdir(parents=True)
    definition = {
        "description": "Fail.",
        "parameters": {"code": {"type": "str", "required": True, "description": "what the check does"}},
        "task": {"on": ["migrate"], "stage": 10},
    }
    (folder / "recipe.json").write_text(json.dumps(definition), encoding="utf-8")
    (folder / "program.py").write_text(
        "from recipes.run import Refusal\n\ndef check(run):\n    exec(run['code'], {'run': run, 'Refusal': Refusal})\n",
        encoding="utf-8",
    )
    return Recipe(str(folder), tmp_path / "records")


@pytest.mark.parametrize(
    "code, error",
    [
        ("{}['srv_name']", "KeyError: 'srv_name'; "),
        ("[][0]", "IndexError: "),
        ("None.get('x')", "AttributeError: "),
        ("len(3)", "TypeError: "),
        ("int('one' * 200)", "ValueError: "),
        ("1 / 0", "ZeroDivisionError: "),
        ("import json; json.loads('[' * 200000)", "RecursionError: "),
    ],
)
def test_unexpected_error_is_one_sentence(code: str, error: str, broken: Recipe) -> None:
    broken.parameters["code"] = code
    done = broken.run("check")
    assert done.returncode == 1
    [line] = done.stdout.splitlines()
    assert line.startswith(f"broken: unexpected answer ({error}")
    assert ", line " in line
    assert len(line) < 400


def test_characters_that_cannot_be_encoded_are_escaped(broken: Recipe) -> None:
    for code in ("run.say('a\\ud800b')", "raise Refusal('a\\ud800b')", "{}['a\\ud800b']"):
        broken.parameters["code"] = code
        assert "a\\ud800b" in broken.run("check").stdout
        assert "Traceback" not in broken.run("check").stdout


@pytest.mark.parametrize("parameters", [DEEP, '{"file": ' + DEEP, '{"file": "/x", "drain_seconds": 1e400}'])
def test_parameters_are_refused_in_one_line(parameters: str, tmp_path: Path) -> None:
    arguments = [str(RECIPES), "lame_duck", "drain", parameters]
    done = subprocess.run(
        [VM_PYTHON, "-I", "-X", "utf8", *arguments],
        env={**os.environ, "GCE_RECIPE_RECORDS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert list(tmp_path.iterdir()) == []


VALUES: list[Any] = [
    {"items": ["a"]},
    {"items": None, "spec": None, "status": {"conditions": ["x"]}},
    {"spec": None, "metadata": None, "Config": "x"},
    [{"Job": "x", "ID": 1}],
    [None],
    "x",
]


@pytest.mark.parametrize("value", VALUES, ids=map(str, VALUES))
@pytest.mark.parametrize("name", ["consul_maintenance", "elasticsearch_shards", "nomad_node", "kubernetes_node"])
def test_answer_of_another_shape_is_refused(name: str, value: Any, liar: Liar, tmp_path: Path) -> None:
    liar.value = value
    given: dict[str, Any] = {"url": liar.url}
    if name == "kubernetes_node":
        token = tmp_path / "token"
        token.write_text("x\n", encoding="ascii")
        given = {"server": liar.url, "token_file": str(token)}
    recipe = Recipe(name, tmp_path / "records", **given)
    assert recipe.refuses(timeout=1.0)


def test_answer_that_is_nested_deeply_is_refused(liar: Liar, tmp_path: Path) -> None:
    liar.value = DEEP
    recipe = Recipe("consul_maintenance", tmp_path / "records", url=liar.url)
    assert "does not answer with a JSON object" in recipe.refuses()
