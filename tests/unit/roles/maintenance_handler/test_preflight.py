# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration speaks of and this machine does not have, each in one line with its task and field."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.preflight import problems
from maintenance_handler.tasks import Task

ME = pwd.getpwuid(os.geteuid()).pw_name


def check(**fields: Any) -> list[str]:
    task = Task(**{"name": "lb", "on": ("migrate",), "drain": ("/bin/true",), **fields})
    return problems([task])


@pytest.fixture
def playbook(tmp_path: Path) -> str:
    path = tmp_path / "drain.yml"
    path.write_text("[]")
    return str(path)


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A folder with an ansible-playbook in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ansible-playbook").write_text("#!/bin/sh\n")
    (folder / "ansible-playbook").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"drain": ("true",)},
        {"restore": ("/bin/true", "x")},
        {"user": ME},
        {"when": "event.can_reschedule"},
    ],
)
def test_nothing_is_wrong(fields: dict[str, Any]) -> None:
    assert check(**fields) == []


def test_a_playbook_and_what_runs_it(playbook: str, tools: str) -> None:
    assert check(drain=(), playbook=playbook, restore_playbook=playbook, env={"PATH": tools}) == []


@pytest.mark.parametrize("field", ["drain", "restore"])
@pytest.mark.parametrize("program", ["/no/such/program", "no-such-program", "/etc/passwd", "/tmp", "/" + "x" * 300])
def test_a_missing_program(field: str, program: str) -> None:
    assert check(**{field: (program,)}) == [
        f"task 'lb', field '{field}': program {program!r} does not exist or cannot be executed here"
    ]


def test_a_program_is_looked_for_on_the_task_s_own_path(tmp_path: Path, tools: str) -> None:
    assert check(drain=("ansible-playbook",), env={"PATH": tools}) == []
    assert len(check(drain=("true",), env={"PATH": str(tmp_path)})) == 1


@pytest.mark.parametrize("field", ["playbook", "restore_playbook"])
@pytest.mark.parametrize("path", ["/no/such.yml", "/tmp", "/" + "x" * 300])
def test_a_missing_playbook(field: str, path: str, tools: str) -> None:
    assert check(**{field: path}, env={"PATH": f"{tools}:/bin"}) == [
        f"task 'lb', field '{field}': {path!r} does not exist or is not a file"
    ]


@pytest.mark.parametrize("field", ["playbook", "restore_playbook"])
def test_nothing_to_run_a_playbook(field: str, playbook: str, tmp_path: Path) -> None:
    assert check(drain=(), **{field: playbook}, env={"PATH": str(tmp_path)}) == [
        f"task 'lb', field '{field}': needs ansible-playbook, which is not installed here"
    ]


def test_an_unknown_user() -> None:
    assert check(user="no-such-user") == ["task 'lb', field 'user': there is no user 'no-such-user' here"]


def test_bad_jmespath() -> None:
    (line,) = check(when="event.")
    assert line.startswith("task 'lb', field 'when': is not JMESPath: ")


def test_every_problem_has_a_line() -> None:
    lines = check(drain=("/no",), restore=("/no",), user="no-such-user", when="event.")
    assert [line.split(":")[0] for line in lines] == [
        "task 'lb', field 'drain'",
        "task 'lb', field 'restore'",
        "task 'lb', field 'user'",
        "task 'lb', field 'when'",
    ]


def test_a_relative_path_is_looked_up_where_tasks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "lb"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert check(drain=("bin/lb",)) != []
    assert check(drain=(str(program).lstrip("/"),)) == []
