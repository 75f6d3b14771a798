# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbook gce.guest.rollout over the local connection, with directories as VMs."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.playbook import printed_lines

CONFIG = "etc/gce-maintenance-handler/config.json"
NO_PYTHON = {"maintenance_handler_python": "/no/such/python"}


class Rollout:
    """A rollout to hosts that can be inspected afterwards."""

    def __init__(self, root: Path, collections: Path, hosts: dict[str, dict[str, Any]]) -> None:
        self.root = root
        self.collections = collections
        settings = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "gce_become": False,
            "maintenance_handler_allow_no_tasks": True,
            "maintenance_handler_service": False,
            "maintenance_handler_prefix": f"{root}/{{{{ inventory_hostname }}}}",
            "maintenance_handler_python": sys.executable,
        }
        inventory = {"all": {"vars": settings, "children": {"vms": {"hosts": hosts}}}}
        (root / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            check=False,
            capture_output=True,
            text=True,
        )

    def command(self, *arguments: str) -> list[str]:
        program = Path(sys.executable).with_name("ansible-playbook")
        return [str(program), "-i", "inventory.json", "gce.guest.rollout", *arguments]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_HOME": str(self.root / "home"),
        }

    def reached(self) -> set[str]:
        """The hosts that have a configuration now."""
        return {path.parents[2].name for path in self.root.glob(f"*/{CONFIG}")}


@pytest.fixture
def rollout(tmp_path, collections_path):
    return lambda hosts: Rollout(tmp_path, collections_path, hosts)


def test_starts_with_the_canary_and_stops_after_too_many_failures(rollout):
    fleet = rollout({"a": {}, "b": NO_PYTHON, "c": {}, "d": {}})
    result = fleet.run("-e", "gce_hosts=vms", "-e", json.dumps({"gce_batches": [1, 2, "100%"]}))
    assert result.returncode != 0
    batches = result.stdout.split("PLAY [Install the maintenance handler, canary first]")[1:]
    assert len(batches) == 2
    assert "[a]" in batches[0]
    assert not any(host in batches[0] for host in ("[b]", "[c]", "[d]"))
    assert "a" in fleet.reached()
    assert "d" not in fleet.reached()


def test_stops_if_the_canary_fails_with_any_tolerance(rollout):
    fleet = rollout({"a": NO_PYTHON, "b": {}})
    result = fleet.run("-e", "gce_hosts=vms", "-e", "gce_max_fail_percentage=100")
    assert result.returncode != 0
    assert "/no/such/python on a does not run" in result.stdout + result.stderr
    assert fleet.reached() == set()


def test_requires_hosts(rollout):
    fleet = rollout({"a": {}})
    result = fleet.run()
    assert result.returncode != 0
    assert "-e gce_hosts=GROUP" in result.stdout + result.stderr
    assert fleet.reached() == set()


def test_fails_if_no_host_matches(rollout):
    fleet = rollout({"a": {}})
    for arguments in (["gce_hosts=wbe"], ['{"gce_hosts": ["wbe", "web"]}'], ["gce_hosts="]):
        result = fleet.run("-e", *arguments)
        assert result.returncode != 0
        assert "-e gce_hosts=GROUP" in result.stdout + result.stderr
    assert fleet.reached() == set()


def test_fails_if_no_host_matches_within_a_limit_without_localhost(rollout):
    fleet = rollout({"a": {}, "b": {}})
    for arguments in (["-e", "gce_hosts=wbe", "--limit", "a"], ["-e", "gce_hosts=a", "--limit", "b"], ["--limit", "a"]):
        result = fleet.run(*arguments)
        assert result.returncode != 0
        assert "No host of gce_hosts" in result.stdout + result.stderr
    assert fleet.reached() == set()
    assert fleet.run("-e", "gce_hosts=vms", "--limit", "b").returncode == 0
    assert fleet.reached() == {"b"}


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"maintenance_handler_task": []}, "did you mean maintenance_handler_tasks?"),
        (
            {"maintenance_handler_allow_no_tasks": False},
            "maintenance_handler_tasks and maintenance_handler_recipes are empty",
        ),
        ({"maintenance_handler_prefix": "relative/path"}, "maintenance_handler_prefix must be an absolute path"),
    ],
)
def test_invalid_variables_are_rejected_before_any_change(rollout, variables, words):
    fleet = rollout({"a": variables})
    result = fleet.run("-e", "gce_hosts=vms")
    assert result.returncode != 0
    assert words in result.stdout + result.stderr
    assert fleet.reached() == set()


def test_multiline_ansible_managed_is_a_comment_in_the_launcher(rollout):
    fleet = rollout({"a": {"ansible_managed": "Managed by us\nexit 1"}})
    assert fleet.run("-e", "gce_hosts=vms").returncode == 0
    launcher = fleet.root / "a/usr/local/bin/gce-maintenance-handler"
    assert subprocess.run([launcher, "--version"], check=False, stdout=subprocess.PIPE).returncode == 0


def lb(drain: str = "true") -> dict[str, Any]:
    """A task that leaves a trace in the directory of its host."""
    log = "{{ maintenance_handler_prefix }}/trace"
    return {
        "maintenance_handler_tasks": [
            {
                "name": "lb",
                "on": ["terminate"],
                "drain": ["/bin/sh", "-c", f"echo drain >> {log}; {drain}"],
                "restore": ["/bin/sh", "-c", f"echo restore >> {log}"],
                "user": getpass.getuser(),
            }
        ]
    }


def files(root: Path) -> dict[str, str]:
    """The installed files and their contents, without what a handler writes."""
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.relative_to(root).parts[0] in ("usr", "etc")
    }


def test_gates_are_passed_and_a_batch_that_is_not_well_gets_its_version_back(rollout):
    fleet = rollout({"a": {}, "b": {}})
    gates = {"gce_hosts": "vms", "gce_batches": [1], "gce_rehearse": True, "gce_health_timeout": 0, **lb()}
    health = "test -e {{ maintenance_handler_prefix }}/etc/gce-maintenance-handler/config.json"
    result = fleet.run("-e", json.dumps({**gates, "gce_health_check": health}))
    assert result.returncode == 0, result.stdout
    lines = printed_lines(result.stdout)
    assert "Batch 1 of 2: the rollout continues. Hosts: 1 done, 0 failed, 1 not reached." in lines
    assert "Batch 2 of 2: the rollout is complete. Hosts: 2 done, 0 failed, 0 not reached." in lines
    assert "Done: 2: a, b." in lines
    # Only the canary rehearses.
    assert (fleet.root / "a/trace").read_text().split() == ["drain", "restore"]
    assert not (fleet.root / "b/trace").exists()
    before = {name: files(fleet.root / name) for name in "ab"}
    assert not any("before-rollout" in path for path in before["a"])

    changed = {"gce_health_check": "echo it is slow; exit 3", "maintenance_handler_poll_timeout": 33}
    result = fleet.run("-e", json.dumps({**gates, **changed}))
    assert result.returncode != 0
    lines = printed_lines(result.stdout)
    assert "Batch 1 of 2: not well. The rollout has stopped. Hosts: 0 done, 1 failed, 1 not reached." in lines
    assert "  a: Run the command: it is slow" in lines
    assert "  a: Rolled back the configuration." in lines
    assert "Not reached: 1: b." in lines
    assert {name: files(fleet.root / name) for name in "ab"} == before

    result = fleet.run("-e", json.dumps({**gates, **changed, "gce_roll_back": False}))
    assert result.returncode != 0
    assert json.loads((fleet.root / "a" / CONFIG).read_text())["poll_timeout"] == 33


def test_a_first_installation_that_fails_its_rehearsal_is_removed(rollout):
    fleet = rollout({"a": {}, "b": {}})
    variables = {"gce_hosts": "vms", "gce_batches": [1], "gce_rehearse": True, **lb("echo no route; exit 6")}
    result = fleet.run("-e", json.dumps(variables))
    assert result.returncode != 0
    lines = printed_lines(result.stdout)
    assert "  a: Rehearsal of terminate: drain lb: failed, exit status 6." in lines
    assert "  a: Uninstalled, because there was no handler before." in lines
    assert "Not reached: 1: b." in lines
    assert (fleet.root / "a/trace").read_text().split() == ["drain", "restore"]
    assert files(fleet.root / "a") == {}


def test_without_a_terminal_the_next_batch_is_not_confirmed(rollout):
    fleet = rollout({"a": {}, "b": {}})
    result = fleet.run("-e", json.dumps({"gce_hosts": "vms", "gce_batches": [1], "gce_confirm": True}))
    assert result.returncode != 0
    assert "Done: 1: a." in printed_lines(result.stdout)
    assert "Not reached: 1: b." in printed_lines(result.stdout)
    assert fleet.reached() == {"a"}


@pytest.mark.parametrize("answer, reached", [("yes", {"a", "b"}), ("no", {"a"})])
def test_the_next_batch_is_confirmed_on_a_terminal(rollout, answer, reached):
    fleet = rollout({"a": {}, "b": {}})
    variables = {"gce_hosts": "vms", "gce_batches": [1], "gce_confirm": True, "gce_pause": 1}
    status, output = on_terminal(fleet, "Type yes to continue", answer, "-e", json.dumps(variables))
    assert "Batch 2 of 2, b. Type yes to continue" in output
    assert "Pausing for 1 seconds" in output
    assert (status == 0) == (answer == "yes"), output
    assert fleet.reached() == reached


def on_terminal(fleet: Rollout, question: str, answer: str, *arguments: str) -> tuple[int, str]:
    """Run the playbook on a terminal, and type an answer when it asks. Returns the status and the output."""
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(fleet.root)
            command = fleet.command(*arguments)
            os.execve(command[0], command, fleet.environment())
        finally:
            os._exit(127)
    output = b""
    # On Linux, reading fails with EIO when the last process has closed the terminal.
    with open(terminal, "r+b", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            if select.select([stream], [], [], 1.0)[0]:
                output += stream.read(4096)
            elif question.encode() in output:
                # Again if nothing comes: Ansible discards what is typed before it has set the terminal up.
                stream.write(answer.encode() + b"\r")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode(errors="replace")


def test_a_host_that_is_unreachable_does_not_hide_the_summary(rollout):
    unreachable = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    fleet = rollout({"a": unreachable, "b": {}})
    result = fleet.run("-e", "gce_hosts=vms")
    assert result.returncode != 0
    lines = printed_lines(result.stdout)
    assert any(line.startswith("  a: The host is unreachable: ") for line in lines)
    assert "Not reached: 1: b." in lines
    assert fleet.reached() == set()
