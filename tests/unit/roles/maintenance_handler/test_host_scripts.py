# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that the role runs on a host, without systemd. Molecule runs them with systemd."""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.handler import task
from support.vm_python import VM_PYTHON

FILES = Path(__file__).resolve().parents[4] / "roles/maintenance_handler/files"
PACKAGE = FILES / "maintenance_handler"


def run(script: str, *arguments: str, asked: dict[str, Any]) -> tuple[int, str]:
    """Run a script as the role does."""
    text = (FILES / "host" / f"{script}.py").read_text(encoding="utf-8")
    done = subprocess.run(
        [VM_PYTHON, "-I", "-c", text, *arguments],
        input=json.dumps(asked),
        check=False,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    return done.returncode, done.stdout


def inspect(folder: Path, **changes: Any) -> dict[str, Any]:
    files = {name: str(folder / name) for name in ("launcher", "config", "unit")}
    asked = {"name": "vm", "lib": str(folder / "lib"), "files": files, "user": "root", "group": "root"}
    status, output = run("inspect_host", asked={**asked, "service": False, "start": False, **changes})
    assert status == 0
    found: dict[str, Any] = json.loads(output)
    return found


def test_inspect_an_empty_host(tmp_path: Path) -> None:
    found = inspect(tmp_path)
    assert (found["problems"], found["files"], found["code"], found["settings"]) == ([], {}, {}, {})


def test_inspect_reports_every_problem_with_its_remedy(tmp_path: Path) -> None:
    problems = "\n".join(inspect(tmp_path, service=True, start=True, user="nobdy", group="nogrp")["problems"])
    assert "no user nobdy on vm" in problems
    assert "maintenance_handler_user" in problems
    assert "no group nogrp on vm" in problems
    assert ("become: true" in problems) == (os.geteuid() != 0)
    if shutil.which("systemctl") is None:
        assert "maintenance_handler_service" in problems
    elif not os.path.isdir("/run/systemd/system"):
        assert "maintenance_handler_start" in problems


def test_inspect_needs_neither_systemd_nor_users_without_the_service(tmp_path: Path) -> None:
    assert inspect(tmp_path, user="nobdy", group="nogrp")["problems"] == []


def test_inspect_an_installation_without_reading_secrets(tmp_path: Path) -> None:
    (tmp_path / "lib" / "package").mkdir(parents=True)
    (tmp_path / "lib" / "package" / "a.py").write_text("pass\n")
    (tmp_path / "launcher").write_text("#!/bin/sh\n")
    config = {"metrics_textfile": "/m.prom", "guest_attributes": True, "tasks": [{"env": {"TOKEN": "hunter2"}}]}
    (tmp_path / "config").write_text(json.dumps(config))
    found = inspect(tmp_path)
    assert found["code"] == {"package/a.py": hashlib.sha1(b"pass\n").hexdigest()}
    assert set(found["files"]) == {"launcher", "config"}
    assert found["settings"] == {"metrics_textfile": "/m.prom", "guest_attributes": True, "has_secrets": True}
    assert "hunter2" not in json.dumps(found)


@pytest.mark.parametrize("text", ["", "[]", '{"tasks": 1}', '{"tasks": ["x"]}', "{"])
def test_an_unreadable_configuration_may_have_secrets(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    assert inspect(tmp_path)["settings"]["has_secrets"] is (text != '{"tasks": ["x"]}')


def tried(tmp_path: Path, *tasks: Any, launcher: str = "exit 0\n") -> list[str]:
    code = {
        str(path.relative_to(FILES)): path.read_text(encoding="utf-8")
        for path in (FILES / "__main__.py", *PACKAGE.glob("*.py"), *PACKAGE.glob("*/*.py"))
    }
    config = {"state_dir": str(tmp_path), "runtime_dir": str(tmp_path), "tasks": tasks}
    asked = {"python": VM_PYTHON, "code": code, "launcher": launcher, "config": json.dumps(config)}
    status, output = run("trial", asked={**asked, "user": "root", "group": "root"})
    assert status == (1 if output else 0)
    return output.splitlines()


def test_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert tried(tmp_path, task("lb")) == []
    assert tried(tmp_path, {**task("lb"), "drain": ["/no/such/program"]}) == [
        "task 'lb', field 'drain': program '/no/such/program' does not exist or cannot be executed here"
    ]
    assert any("Syntax error" in line for line in tried(tmp_path, task("lb"), launcher="case in\nsecond line (\n"))
    assert list(tmp_path.iterdir()) == []


# As the journal of Debian 11: the process that could not set up the service has ended, so its unit is unknown.
JOURNALCTL = """#!/bin/sh
case "$*" in
    *--unit=*) echo "Failed to start Test a new maintenance handler." ;;
    *INVOCATION_ID=5a1e*) echo "Failed to set up mount namespacing: /nonexistent: No such file or directory" ;;
esac
"""


def test_trial_finds_the_reason_of_a_process_that_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("journalctl", JOURNALCTL), ("systemctl", "#!/bin/sh\necho 5a1e\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    log = runpy.run_path(str(FILES / "host" / "trial.py"))["_log"]
    assert log() == ["Failed to set up mount namespacing: /nonexistent: No such file or directory"]


def test_previous_restores_the_files(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("lib", "config", "unit")}
    (tmp_path / "lib" / "package").mkdir(parents=True)
    old = tmp_path / "lib" / "package" / "old.py"
    old.write_text("old")
    paths["config"].write_text("secret")
    paths["config"].chmod(0o600)
    asked = {"kept": str(tmp_path / "kept"), "paths": {name: str(path) for name, path in paths.items()}}
    run("previous", "save", asked=asked)
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700

    (tmp_path / "lib" / "package" / "new.py").write_text("new")
    old.unlink()
    paths["config"].write_text("new")
    paths["unit"].write_text("new")
    # A version that has never worked does not replace the saved one.
    run("previous", "save", asked=asked)
    status, out = run("previous", "restore", asked=asked)
    assert (status, sorted(json.loads(out))) == (0, ["config", "lib", "unit"])
    assert [path.name for path in (tmp_path / "lib" / "package").iterdir()] == ["old.py"]
    assert (paths["config"].read_text(), paths["config"].stat().st_mode & 0o777) == ("secret", 0o600)
    assert not paths["unit"].exists()

    # What is compiled meanwhile makes no difference.
    (tmp_path / "lib" / "package" / "old.pyc").write_text("compiled")
    assert run("previous", "restore", asked=asked) == (0, "[]\n")
    (tmp_path / "lib" / "package" / "old.pyc").unlink()

    run("previous", "drop", asked=asked)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "lib"]
