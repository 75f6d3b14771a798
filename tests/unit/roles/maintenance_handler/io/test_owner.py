# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root's command line for a handler of another user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.handler import PACKAGE_FOLDER, HandlerProcess, task
from support.vm import Vm

SYSTEM_PYTHON = "/usr/bin/python3"
USER = pwd.getpwnam("nobody")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can switch to another user"),
    pytest.mark.skipif(not Path(SYSTEM_PYTHON).exists(), reason="there is no Python that all users can execute"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may look into, which pytest's are not."""
    made = Path(tempfile.mkdtemp(prefix="gce-owner-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def installed(folder: Path) -> Path:
    """The code, where everybody may read it."""
    shutil.copytree(PACKAGE_FOLDER, folder / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "lib"


def give_away(*paths: Path) -> None:
    for path in paths:
        os.chown(path, USER.pw_uid, USER.pw_gid, follow_symlinks=False)


def configured(folder: Path, drain: str, **settings: Any) -> Path:
    """The configuration of a handler of the user `nobody`, and its directories."""
    home = folder / "home"
    for path in (home, home / "state", home / "run"):
        path.mkdir()
    (home / "boot_id").write_text("boot-1\n")
    config = home / "config.json"
    tasks = [{"name": "lb", "on": ["migrate"], "drain": ["/bin/sh", "-c", drain], "restore": ["true"], "timeout": 5}]
    config.write_text(
        json.dumps(
            {
                "tasks": tasks,
                "state_dir": str(home / "state"),
                "runtime_dir": str(home / "run"),
                "boot_id_file": str(home / "boot_id"),
                "guest_attributes": False,
                **settings,
            }
        )
    )
    config.chmod(0o600)
    give_away(home, home / "state", home / "run", config)
    return config


def command(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As root."""
    return subprocess.run(
        [SYSTEM_PYTHON, "-I", str(installed), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_root_does_not_run_the_user_s_configuration(folder: Path, installed: Path) -> None:
    config = configured(folder, 'echo "$(id -u) $(id -G) $HOME $USER" >&2; exit 3')
    result = command(installed, "rehearse", "migrate", "--execute", "--config", str(config))
    home = USER.pw_dir
    assert f"{USER.pw_uid} {USER.pw_gid} {home} nobody" in result.stderr, result.stderr
    # The handler can read the file.
    for path in (folder / "home" / "state").iterdir():
        assert path.stat().st_uid == USER.pw_uid, path


def test_link_of_the_user_is_not_written_through(folder: Path, installed: Path) -> None:
    config = configured(folder, "true")
    victim = folder / "victim"
    victim.write_text("precious")
    for name in (".rehearse.json.new", ".status.json.new", "requests", "status.json"):
        (folder / "home" / "run" / name).symlink_to(victim)
    for name in ("history.jsonl", ".journal.json.new", "drift-token.json"):
        (folder / "home" / "state" / name).symlink_to(victim)
    command(installed, "rehearse", "migrate", "--execute", "--config", str(config))
    assert victim.read_text() == "precious"
    assert victim.stat().st_mode & 0o777 == 0o644


def test_link_to_another_configuration_is_not_read(folder: Path, installed: Path) -> None:
    config = configured(folder, "true")
    config.unlink()
    secret = folder / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    config.symlink_to(secret)
    give_away(config)
    for arguments in (["check", "--here"], ["status"], ["history"], ["plan"], ["rehearse", "migrate"]):
        result = command(installed, *arguments, "--config", str(config))
        assert result.returncode != 0
        assert "Permission denied" in result.stderr


def test_root_s_configuration_of_a_user_s_state_is_read_as_the_user(folder: Path, installed: Path) -> None:
    """The role gives the file to the user; another tool may not."""
    config = configured(folder, "id -u >&2; exit 3")
    own = folder / "config.json"
    shutil.copy(config, own)
    own.chmod(0o644)
    result = command(installed, "rehearse", "migrate", "--execute", "--config", str(own))
    assert f": {USER.pw_uid}" in result.stderr


def test_files_of_several_users_are_rejected(folder: Path, installed: Path) -> None:
    config = configured(folder, "true")
    os.chown(config, 1, 1)
    result = command(installed, "rehearse", "migrate", "--execute", "--config", str(config))
    assert result.returncode == 1
    assert "refusing to act as root on files of several users: " in result.stderr
    assert list((folder / "home" / "state").iterdir()) == []


def test_user_s_handler_serves_requests_of_root(
    folder: Path, installed: Path, vm: Vm, make_handler: Callable[..., HandlerProcess]
) -> None:
    config = configured(folder, "true", metadata_host=vm.host)
    run = [SYSTEM_PYTHON, "-I", str(installed), "run", "--config", str(config)]
    process = subprocess.Popen(["setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--clear-groups", *run])
    try:
        witness = make_handler(task("unused"))
        witness.until(
            lambda: command(installed, "status", "--config", str(config)).returncode == 0, "a healthy handler", 30
        )
        result = command(installed, "rehearse", "migrate", "--execute", "--config", str(config))
        assert (result.returncode, result.stderr) == (0, "")
        assert "drain    lb" in result.stdout
    finally:
        process.kill()
        process.wait()
