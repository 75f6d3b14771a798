# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbook guest_report on an emulated fleet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.playbook import CHECKOUT

FLEET: dict[str, Any] = {
    "instances": [
        {
            "name": "web-1",
            "zone": "europe-west1-b",
            "machine_type": "c3-standard-8",
            "attributes": {"startup-script": "echo hunter2"},
        },
        {"name": "batch-1", "scheduling": {"provisioning_model": "SPOT"}},
    ]
}


# A host where Ansible cannot create its temporary directory is unreachable.
UNREACHABLE = {"ansible_remote_tmp": "/dev/null/tmp"}


def report(
    emulator: EmulatorProcess,
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    unreachable: Sequence[str] = (),
) -> tuple[int, str]:
    (folder / "ansible_collections/gce").mkdir(parents=True)
    (folder / "ansible_collections/gce/guest").symlink_to(CHECKOUT)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {
        **{name: {**local, **UNREACHABLE} for name in unreachable},
        **{name: {**local, "gce_metadata_host": host} for name, host in emulator.metadata.items()},
        "lost": {**local, "gce_metadata_host": "not a host"},
    }
    inventory = {"all": {"hosts": hosts}}
    (folder / "inventory.yml").write_text(json.dumps(inventory))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", "gce.guest.guest_report", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(folder),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
            **(environment or {}),
        },
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def table(output: str) -> list[list[str]]:
    """The rows of the table, as lists of columns."""
    lines = [line.strip().rstrip(",").strip('"') for line in output.splitlines()]
    begin = next(number for number, line in enumerate(lines) if line.startswith("HOST "))
    end = lines.index("]", begin)
    return [[cell.strip() for cell in line.split("  ") if cell] for line in lines[begin:end]]


def test_table_of_a_fleet(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        control = emulator.control
        control.set("web-1", "instance/upcoming-maintenance", {"window_start_time": "2026-12-01T02:00:00+00:00"})
        control.set("batch-1", "instance/preempted", "TRUE")
        status, output = report(emulator, tmp_path)
        armed = control.journal(path="instance/maintenance-event")
    assert status == 0, output
    header, web, batch, lost = table(output)
    assert header == ["HOST", "INSTANCE", "ZONE", "MACHINE TYPE", "POLICY", "NOW", "WINDOW", "EVENTS"]
    assert web == [
        "web-1",
        "web-1",
        "europe-west1-b",
        "c3-standard-8",
        "MIGRATE",
        "-",
        "2026-12-01T02:00:00Z",
        "migrate window",
    ]
    assert batch[2:7] == ["us-central1-a", "e2-medium", "SPOT", "preempt", "-"]
    assert batch[-1].split()[-2:] == ["preempt", "window?"]
    assert lost[0].startswith("lost: The option metadata_host is 'not a host', which is not a host")
    assert "changed=0" in output
    assert "hunter2" not in output
    assert "WARNING" not in output
    assert {request["instance"] for request in armed} == {"web-1", "batch-1"}


def test_a_vm_that_is_about_to_stop(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        emulator.control.set("web-1", "instance/shutdown-details/stop-state", "PENDING_STOP")
        status, output = report(emulator, tmp_path, "-e", "gce_hosts=web-1")
    assert status == 0, output
    assert table(output)[1][5] == "stop"


def test_selected_hosts_without_effect_on_them(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = report(emulator, tmp_path, "-e", "gce_hosts=web-1", "-e", "gce_arm_notice=false")
        requests = emulator.control.journal()
    assert status == 0, output
    assert [line[0] for line in table(output)] == ["HOST", "web-1"]
    assert {request["instance"] for request in requests} == {"web-1"}
    assert not [request for request in requests if request["path"].endswith("maintenance-event")]


@pytest.mark.parametrize("chosen", ["web-1", "lost"])
def test_limit_to_some_hosts(tmp_path: Path, chosen: str) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = report(emulator, tmp_path, "--limit", chosen)
        requests = emulator.control.journal()
    assert status == 0, output
    assert [line[0].split(":")[0] for line in table(output)] == ["HOST", chosen]
    assert {request["instance"] for request in requests} <= {chosen}


# With the strategy free, a task with run_once runs for each host.
@pytest.mark.parametrize("strategy", ["linear", "free"])
def test_unreachable_hosts_are_in_the_table(tmp_path: Path, strategy: str) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = report(
            emulator, tmp_path, environment={"ANSIBLE_STRATEGY": strategy}, unreachable=["gone-1", "gone-2"]
        )
    assert [line[0].split(":")[0] for line in table(output)] == ["HOST", "web-1", "batch-1", "gone-1", "gone-2", "lost"]
    assert output.count("gone-1: It is unreachable.") == 1
    assert output.count("HOST  ") == 1
    assert status == 0, output


def test_table_of_an_unreachable_fleet(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = report(emulator, tmp_path, "--limit", "gone", unreachable=["gone"])
    assert table(output)[1:] == [["gone: It is unreachable."]]
    assert status == 0, output
