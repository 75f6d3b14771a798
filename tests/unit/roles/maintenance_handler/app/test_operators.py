# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the group of operators can do without being root."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.handler import PACKAGE_FOLDER, HandlerProcess, task
from support.vm import Vm

SYSTEM_PYTHON = "/usr/bin/python3"
# Its group is the operators'.
OPERATOR = pwd.getpwnam("nobody")
OTHER = pwd.getpwnam("daemon")
GROUP = grp.getgrgid(OPERATOR.pw_gid).gr_name

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
    pytest.mark.skipif(not Path(SYSTEM_PYTHON).exists(), reason="there is no Python that everybody may use"),
]


@pytest.fixture
def handler(vm: Vm) -> Iterator[HandlerProcess]:
    """A handler of root, installed where the role would, below a folder that everybody may look into."""
    folder = Path(tempfile.mkdtemp(prefix="gce-operators-"))
    folder.chmod(0o755)
    shutil.copytree(PACKAGE_FOLDER, folder / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    made = HandlerProcess(folder, vm.host, [task("lb", "terminate", drain="echo secret; exit 3")])
    made.config_path = folder / "etc/gce-maintenance-handler/config.json"
    made.config_path.parent.mkdir(parents=True)
    made.state_dir = folder / "var/lib/gce-maintenance-handler"
    made.state_dir.mkdir(parents=True, mode=0o700)
    run = folder / "run/gce-maintenance-handler"
    # A command that cannot read the configuration does not know of another boot id.
    made.configure(
        state_dir=str(made.state_dir),
        runtime_dir=str(run),
        operators=GROUP,
        boot_id_file="/proc/sys/kernel/random/boot_id",
    )
    made.config_path.chmod(0o600)
    yield made
    made.close()
    shutil.rmtree(folder)


def command(handler: HandlerProcess, user: pwd.struct_passwd, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [SYSTEM_PYTHON, "-I", str(handler.folder / "lib"), *arguments, "--config", str(handler.config_path)]
    # What it says of who has become root counts for root only.
    environ = {"PATH": os.environ["PATH"], "SUDO_USER": "somebody"}
    return subprocess.run(
        line,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def until_admitted(handler: HandlerProcess) -> None:
    handler.until(lambda: is_admitted(handler), "the operators' admission")


def is_admitted(handler: HandlerProcess) -> bool:
    return mode(handler) == 0o660


def mode(handler: HandlerProcess) -> int | None:
    """The mode of the socket, None if there is none, as at the moment in which another one takes its place."""
    try:
        return (Path(handler.config["runtime_dir"]) / "requests").stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def test_an_operator_drains_and_restores(handler: HandlerProcess) -> None:
    handler.start()
    until_admitted(handler)
    result = command(handler, OPERATOR, "drain", "--wait", "--reason", "mine")
    assert "these tasks failed: lb" in result.stdout, result.stderr
    assert result.returncode == 1
    (signal,) = handler.signals()
    assert (signal["order"]["by"], signal["order"]["reason"]) == (OPERATOR.pw_name, "mine")
    # The output of tasks is not for them.
    assert "secret" not in result.stdout + result.stderr
    shown = command(handler, OPERATOR, "status", "--json")
    assert json.loads(shown.stdout)["state"] == "drained", shown.stderr
    assert "secret" not in command(handler, OPERATOR, "status", "--json", "--output").stdout
    assert command(handler, OPERATOR, "hold").returncode == 0
    assert command(handler, OPERATOR, "unhold").returncode == 0
    result = command(handler, OPERATOR, "restore", "--wait")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("restored\n")
    assert handler.until_over()["past"][0]["ended_by"] == OPERATOR.pw_name
    result = command(handler, OPERATOR, "drain")
    handler.stop()
    assert "the handler is not running" in command(handler, OPERATOR, "restore").stderr


def test_an_operator_cannot_do_what_is_left_to_root(handler: HandlerProcess) -> None:
    # Retried after 600 s, so that nothing runs meanwhile.
    handler.configure(tasks=[task("lb", "terminate", restore="exit 3")], restore_retry_for=0)
    handler.start()
    until_admitted(handler)
    assert command(handler, OPERATOR, "drain", "--wait").returncode == 0
    assert command(handler, OPERATOR, "restore", "--wait").returncode == 1
    handler.until_state("not restored")
    result = command(handler, OPERATOR, "acknowledge")
    assert (result.returncode, result.stdout) == (1, "")
    assert "the handler refused to acknowledge: only root can request that" in result.stderr
    for arguments in (["rehearse", "migrate", "--execute"], ["history"], ["plan"], ["drain", "--dry-run"]):
        result = command(handler, OPERATOR, *arguments)
        assert result.returncode != 0
        assert "Permission denied" in result.stderr, arguments
    assert handler.state() == "not restored"


def test_nobody_else_can(handler: HandlerProcess) -> None:
    handler.start()
    until_admitted(handler)
    result = command(handler, OTHER, "drain")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"only root and members of the group {GROUP} can request to drain" in result.stderr
    handler.configure(operators=None)
    handler.send(signal.SIGHUP)
    # Before that, the socket is opened anew for the configuration that is still in force.
    handler.until_logged("is in force")
    handler.until(lambda: mode(handler) == 0o600, "their dismissal")
    assert "only root can" in command(handler, OPERATOR, "drain").stderr
    assert handler.state() == "idle"
    assert handler.trace() == []


def test_a_group_that_does_not_exist_is_reported(handler: HandlerProcess) -> None:
    handler.configure(operators="no-such-group")
    handler.start()
    handler.until(lambda: handler.status().get("problems"), "a problem")
    (problem,) = handler.status()["problems"]
    assert "there is no group 'no-such-group' here" in problem
    assert handler.command("drain").returncode == 0


def test_a_socket_that_was_deleted_comes_back_with_a_reload(handler: HandlerProcess) -> None:
    handler.start()
    until_admitted(handler)
    # In one step: the handler writes there.
    run = Path(handler.config["runtime_dir"])
    run.rename(run.with_name("gone"))
    assert handler.command("drain").returncode == 1
    handler.send(signal.SIGHUP)
    until_admitted(handler)
    # It was deleted with the socket.
    handler.until(handler.status, "its status")
    assert handler.command("drain").returncode == 0
