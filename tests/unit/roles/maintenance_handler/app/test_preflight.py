# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a configuration on this machine: one line for each problem, with its task and field."""

from __future__ import annotations

import atexit
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.app import preflight
from maintenance_handler.app.config import Config
from maintenance_handler.app.preflight import task_problems
from maintenance_handler.core.tasks import Task

# Ends with 126 if the kernel does not execute the program.
EXECUTE = """
import os, sys
try:
    os.execv(sys.argv[1], sys.argv[1:])
except OSError:
    sys.exit(126)
"""
ME = pwd.getpwuid(os.geteuid()).pw_name


def shared(folder: str) -> str:
    """A copy that everybody may look into."""
    copied = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, copied, ignore_errors=True)
    shutil.copytree(folder, copied, dirs_exist_ok=True)
    os.chmod(copied, 0o755)
    return copied


def check(**fields: Any) -> list[str]:
    task = Task(**{"name": "lb", "on": ("migrate",), "drain": ("/bin/true",), **fields})
    return task_problems([task])


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
def test_valid_configuration_has_no_problems(fields: dict[str, Any]) -> None:
    assert check(**fields) == []


def test_playbook_and_ansible_are_found(playbook: str, tools: str) -> None:
    assert check(drain=(), playbook=playbook, restore_playbook=playbook, env={"PATH": tools}) == []


@pytest.mark.parametrize("field", ["drain", "restore"])
@pytest.mark.parametrize("program", ["/no/such/program", "no-such-program", "/etc/passwd", "/tmp", "/" + "x" * 300])
def test_a_missing_program(field: str, program: str) -> None:
    (line,) = check(**{field: (program,)})
    assert line.startswith(f"task 'lb', field '{field}': program {program!r} does not exist or cannot be executed here")
    # The message has the searched path.
    assert line.endswith(f" (PATH is {os.environ['PATH']})") is ("/" not in program)


def test_program_is_searched_on_the_task_s_own_path(tmp_path: Path, tools: str) -> None:
    assert check(drain=("ansible-playbook",), env={"PATH": tools}) == []
    assert len(check(drain=("true",), env={"PATH": str(tmp_path)})) == 1


@pytest.mark.parametrize("field", ["playbook", "restore_playbook"])
@pytest.mark.parametrize("path", ["/no/such.yml", "/tmp", "/" + "x" * 300])
def test_a_missing_playbook(field: str, path: str, tools: str) -> None:
    assert check(**{field: path}, env={"PATH": f"{tools}:/bin"}) == [
        f"task 'lb', field '{field}': {path!r} does not exist or is not a file"
    ]


@pytest.mark.parametrize("field", ["playbook", "restore_playbook"])
def test_missing_ansible_playbook(field: str, playbook: str, tmp_path: Path) -> None:
    assert check(drain=(), **{field: playbook}, env={"PATH": str(tmp_path)}) == [
        f"task 'lb', field '{field}': needs ansible-playbook: program 'ansible-playbook' does not exist or cannot be "
        f"executed here (PATH is {tmp_path})"
    ]


def as_root_only(function: Any) -> Any:
    return pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")(function)


@as_root_only
def test_program_that_the_task_s_user_cannot_reach(tmp_path: Path) -> None:
    """tmp_path is root's alone."""
    program = tmp_path / "lb"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert check(drain=(str(program),)) == []
    (line,) = check(drain=(str(program),), user="nobody")
    assert line == (
        f"task 'lb', field 'drain': program '{program}' does not exist or cannot be executed by user 'nobody' here"
    )


@as_root_only
def test_playbook_of_a_user_without_a_writable_home(playbook: str, tools: str) -> None:
    Path(tools).chmod(0o755)
    fields = {"drain": (), "playbook": "/etc/passwd", "user": "nobody"}
    (line,) = check(**fields, env={"PATH": f"/bin:{shared(tools)}", "HOME": "/nonexistent"})
    assert line.startswith(
        "task 'lb', field 'playbook': ansible-playbook keeps temporary files in the home directory, and"
    )
    assert "'/nonexistent' cannot be written to by user 'nobody'" in line
    assert check(**fields, env={"PATH": f"/bin:{shared(tools)}", "HOME": "/tmp"}) == []


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"#!/bin/sh\r\necho\r\n", "has Windows line endings (CRLF), so its interpreter cannot be found"),
        (b"#!/no/such/interpreter -x\n", "is interpreted by '/no/such/interpreter', which does not exist"),
        (b"#!/usr/bin/env -S no-such-python -u\n", "is interpreted by 'no-such-python', which is not found in "),
        (b"#!\n", "has no interpreter after #!"),
        (b"echo drained\n", "is neither a binary nor a script that begins with a line such as #!/bin/sh"),
        (b"", "is neither a binary nor a script that begins with a line such as #!/bin/sh"),
    ],
)
def test_script_that_the_kernel_cannot_execute(content: bytes, problem: str, tmp_path: Path) -> None:
    program = tmp_path / "lb"
    program.write_bytes(content)
    program.chmod(0o755)
    result = subprocess.run([sys.executable, "-c", EXECUTE, program], check=False, capture_output=True)
    assert result.returncode in (126, 127)
    (line,) = check(drain=(str(program),))
    assert line.startswith(f"task 'lb', field 'drain': program '{program}' {problem}")


@pytest.mark.parametrize("first", ["#! /bin/sh -e", "#!/usr/bin/env sh", "#!/usr/bin/env -S A=1 sh -e"])
def test_script_that_the_kernel_can_execute(first: str, tmp_path: Path) -> None:
    program = tmp_path / "lb"
    program.write_text(f"{first}\n:\n")
    program.chmod(0o755)
    subprocess.run([program], check=True)
    assert check(drain=(str(program),)) == []


def test_does_not_wait_for_a_hanging_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example of a user database."""

    def hangs(_name: str) -> None:
        while True:
            signal.pause()

    monkeypatch.setattr(pwd, "getpwnam", hangs)
    monkeypatch.setattr(preflight, "PATIENCE", 0.2)
    (line,) = check(user=ME)
    why = f"the user database (user {ME!r}) or a file system does not answer"
    assert line == f"task 'lb', could not be checked within 0.2 s: {why}"


def test_the_directory_of_the_metrics(tmp_path: Path) -> None:
    config = Config(tmp_path, tmp_path, metrics_textfile=tmp_path / "none" / "h.prom")
    assert preflight.problems(config.metrics_textfile, config.tasks) == [
        f"field 'metrics_textfile': the directory '{tmp_path}/none' does not exist"
    ]
    (tmp_path / "none").mkdir()
    assert preflight.problems(config.metrics_textfile, config.tasks) == []


def test_unknown_user_with_a_similar_known_one() -> None:
    assert check(user="nobdy") == ["task 'lb', field 'user': there is no user 'nobdy' here; did you mean 'nobody'?"]


def test_an_unknown_user() -> None:
    assert check(user="no-such-user") == ["task 'lb', field 'user': there is no user 'no-such-user' here"]


def test_bad_jmespath() -> None:
    (line,) = check(when="event.")
    assert line.startswith("task 'lb', field 'when': is not JMESPath: ")


def test_condition_with_an_unknown_name() -> None:
    assert check(when="event.can_reshedule == `false`") == [
        "task 'lb', field 'when': an event has no field 'can_reshedule'; did you mean 'can_reschedule'?"
    ]


def test_each_problem_has_a_line() -> None:
    lines = check(drain=("/no",), restore=("/no",), user="no-such-user", when="event.")
    assert [line.split(":")[0] for line in lines] == [
        "task 'lb', field 'user'",
        "task 'lb', field 'drain'",
        "task 'lb', field 'restore'",
        "task 'lb', field 'when'",
    ]


def test_relative_path_is_resolved_in_the_working_directory_of_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "lb"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert check(drain=("bin/lb",)) != []
    assert check(drain=(str(program).lstrip("/"),)) == []


def test_all_problems_of_a_configuration_are_reported_at_once(tmp_path: Path) -> None:
    """A wrong field does not hide what this machine lacks: directories, programs, users."""
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(
            {
                "state_dir": "relative",
                "runtime_dir": str(tmp_path),
                "metrics_textfile": str(tmp_path / "none" / "h.prom"),
                "tasks": [{"name": "lb", "on": ["migrate"], "drain": ["/no/program"], "stage": -1}],
            }
        )
    )
    found = preflight.report(path).problems
    for field in ("state_dir", "stage", "metrics_textfile", "drain"):
        assert len([problem for problem in found if f"field '{field}'" in problem]) == 1
