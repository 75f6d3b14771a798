# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbook rolling_maintenance on emulated VMs, each with a real maintenance handler."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.handler import HandlerProcess, task
from support.playbook import printed_lines, run_playbook

NAMES = [f"web-{number}" for number in range(1, 7)]
FLEET = {
    "project": "acme",
    "speed": 200,
    "instances": [
        {
            "name": name,
            "machine_type": "c3-standard-8",
            "zone": "europe-west1-b" if number > 4 else "us-central1-a",
            "upcoming_maintenance_none": "NONE",
        }
        for number, name in enumerate(NAMES, 1)
    ],
}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Fleet:
    """VMs with a handler each. `run` runs the playbook on them."""

    def __init__(self, folder: Path, emulator: EmulatorProcess) -> None:
        self.folder = folder
        self.emulator = emulator
        self.handlers: dict[str, HandlerProcess] = {}
        self.hosts: dict[str, dict[str, Any]] = {}

    def start(self, *names: str) -> None:
        """Start handlers.

        A file `broken` in the directory of one makes its restores fail, `stuck` its drains. `held` keeps those waiting.
        """
        for name in names:
            place = self.folder / name
            place.mkdir()
            drain = 'until [ ! -e "$FOLDER/held" ]; do sleep 0.02; done; test ! -e "$FOLDER/stuck"'
            tasks = [task("lb", "migrate", drain=drain, restore='test ! -e "$FOLDER/broken"', timeout=60)]
            handler = HandlerProcess(place, self.emulator.metadata[name], tasks, poll_timeout=1)
            self.handlers[name] = handler.start(ready=False)
            self.hosts[name] = {"gce_executable": str(handler.write_program()), "gce_become": False}
        for handler in self.handlers.values():
            handler.until(handler.has_heard_all, "an answer for each key")

    def announce(self, *names: str, **window: Any) -> None:
        for name in names:
            start = f"2097-12-0{1 + NAMES.index(name)}T02:00:00+00:00"
            value = {"window_start_time": start, "can_reschedule": True, "maintenance_status": "PENDING", **window}
            self.emulator.control.set(name, "instance/upcoming-maintenance", value)

    def run(self, *arguments: str, **variables: Any) -> tuple[int, str]:
        known = {"gce_project": "acme", "gce_settle": 20, "gce_report": "report.json", **variables}
        environment = {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": self.emulator.compute,
            "GCP_ACCESS_TOKEN": "ya29.planted",
            "ANSIBLE_FORKS": "6",
            "PYTHONUNBUFFERED": "1",
        }
        return run_playbook(
            "rolling_maintenance",
            self.folder,
            "-e",
            json.dumps(known),
            *arguments,
            environment=environment,
            hosts=self.hosts,
            timeout=600,
        )

    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "report.json").read_text(encoding="utf-8")))

    def results(self) -> dict[str, str]:
        return {row["host"]: row["result"] for row in self.report()["hosts"]}

    def traces(self) -> dict[str, list[str]]:
        return {name: handler.trace() for name, handler in self.handlers.items()}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with EmulatorProcess(FLEET) as emulator:
        made = Fleet(tmp_path, emulator)
        yield made
        for handler in made.handlers.values():
            handler.close()


ONCE = ["drain lb", "restore lb"]


def test_six_vms_of_which_one_fails_and_then_the_rest(fleet: Fleet) -> None:
    fleet.start(*NAMES)
    fleet.announce(*NAMES)
    (fleet.folder / "web-3" / "broken").touch()
    status, output = fleet.run(gce_serial=3)
    assert status != 0, output
    report = fleet.report()
    assert fleet.results() == {
        "web-1": "done",
        "web-2": "done",
        "web-3": "not well",
        "web-4": "not reached",
        "web-5": "not reached",
        "web-6": "not reached",
    }
    assert (report["outcome"], report["batches"]) == ("stopped", [3, 3])
    assert "batch 1 of 2" in report["stopped_because"]
    row = report["hosts"][2]
    assert row["step"] == "restore"
    assert "exit status 1" in row["why"]
    assert [step["outcome"] for step in row["steps"]].count("failed") == 1
    # The table is in the output as well, and names those that were not reached.
    assert any(line.split()[:3] == ["web-5", "europe-west1-b/web-5", "not"] for line in printed_lines(output))
    # Progress: the VM, the step, and how many are left.
    assert "web-2 (2 of 6, 4 left, about 20 min): perform the maintenance" in output
    assert fleet.traces()["web-1"] == ONCE
    assert fleet.traces()["web-5"] == []

    (fleet.folder / "web-3" / "broken").unlink()
    status, output = fleet.run(gce_serial=3)
    assert status == 0, output
    assert fleet.report()["outcome"] == "finished"
    assert set(fleet.results().values()) == {"done"}
    # What was finished is only checked, and no VM is maintained twice.
    assert [row["todo"] for row in fleet.report()["hosts"]][-3:] == ["whole"] * 3
    for name, trace in fleet.traces().items():
        assert [line for line in trace if line.startswith("drain")] == ["drain lb"], name
        assert fleet.handlers[name].state() == "idle"
        assert fleet.emulator.control.instance(name).get("upcoming_maintenance") is None


def test_check_mode_shows_the_plan_and_changes_nothing(fleet: Fleet) -> None:
    fleet.start("web-1", "web-5")
    fleet.announce("web-1", "web-5")
    fleet.announce("web-2")
    status, output = fleet.run("--check", gce_order=["europe-west1-b"], gce_estimate=20)
    assert status == 0, output
    lines = printed_lines(output)
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["1", "web-5", "europe-west1-b/web-5"],
        ["2", "web-1", "us-central1-a/web-1"],
    ]
    assert "about 40 min" in lines[3]
    assert any("us-central1-a/web-2" in line and "No host" in line for line in lines)
    assert fleet.traces() == {"web-1": [], "web-5": []}
    assert not (fleet.folder / "report.json").exists()


def test_a_run_that_was_killed_is_continued(fleet: Fleet) -> None:
    fleet.start("web-1", "web-2")
    fleet.announce("web-1", "web-2")
    (fleet.folder / "web-1" / "held").touch()
    handler = fleet.handlers["web-1"]
    with ThreadPoolExecutor() as pool:
        run = pool.submit(fleet.run)
        handler.until(lambda: handler.trace() or run.done(), "the drain", within=300)
        for pid in _playbooks():
            os.kill(pid, signal.SIGKILL)
        (fleet.folder / "web-1" / "held").unlink()
        status, output = run.result()
    assert status == -signal.SIGKILL, output
    handler.until_state("drained")
    # And the other one is drained by somebody else, who is not disturbed.
    assert fleet.handlers["web-2"].command("drain", "--as=migrate", "--reason=mine").returncode == 0
    # Only the one that is disturbed is given time to be well.
    status, output = fleet.run(gce_settle="{{ 0 if inventory_hostname == 'web-2' else 20 }}")
    assert status != 0, output
    report = fleet.report()
    assert [(row["host"], row["todo"], row["result"]) for row in report["hosts"]] == [
        ("web-1", "continue", "done"),
        ("web-2", "whole", "not well"),
    ]
    assert "mine" in report["hosts"][1]["why"]
    assert fleet.traces() == {"web-1": ONCE, "web-2": ["drain lb"]}


def _playbooks() -> list[int]:
    """The processes of playbooks that this one has started."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"gce.guest.rolling_maintenance" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def test_a_vm_that_does_not_answer_stops_it_before_another_is_drained(fleet: Fleet) -> None:
    fleet.start("web-1")
    fleet.announce("web-1", "web-2")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": port, "gce_become": False}
    fleet.hosts["web-2"] = gone
    status, output = fleet.run(gce_settle=0)
    assert status != 0
    assert fleet.results() == {"web-2": "not well", "web-1": "not reached"}, output
    assert "does not answer" in fleet.report()["hosts"][0]["why"]
    assert fleet.traces() == {"web-1": []}


def test_gates_and_a_failed_drain(fleet: Fleet) -> None:
    fleet.start("web-1", "web-2")
    (fleet.folder / "web-1" / "stuck").touch()
    gate = fleet.folder / "gate.yml"
    gate.write_text(
        json.dumps(
            [
                {
                    "name": "See that it is in service",
                    "ansible.builtin.command": {"argv": ["test", "!", "-e", f"{fleet.folder}/ill"]},
                    "changed_when": False,
                }
            ]
        )
    )
    variables = {
        "gce_hosts": "web-1,web-2",
        "gce_action": "command",
        "gce_command": f"echo {{{{ inventory_hostname }}}} >> {fleet.folder}/ran; touch {fleet.folder}/ill",
        "gce_as_event": "migrate",
        "gce_health_check": "gate.yml",
        "gce_max_fail_percentage": 100,
    }
    status, output = fleet.run(**variables)
    assert status != 0, output
    first, second = fleet.report()["hosts"]
    # A drain that failed is taken back, and nothing is done to the VM.
    assert (first["result"], first["step"]) == ("not well", "drain")
    assert first["steps"][-1]["step"] == "restore after the failure"
    assert fleet.traces()["web-1"] == ONCE
    # The check afterwards has failed, but the VM is restored.
    assert (second["result"], second["step"]) == ("not well", "See that it is in service")
    assert fleet.traces()["web-2"] == ONCE
    assert (fleet.folder / "ran").read_text() == "web-2\n"
    assert {handler.state() for handler in fleet.handlers.values()} == {"idle"}

    # Again: the check of what was done decides, and comes first.
    status, output = fleet.run(**{**variables, "gce_max_fail_percentage": 0})
    assert status != 0, output
    assert [(row["host"], row["todo"], row["result"]) for row in fleet.report()["hosts"]] == [
        ("web-2", "check", "not well"),
        ("web-1", "whole", "not reached"),
    ]


def test_drains_without_an_action_and_is_not_repeated_after_a_restart(fleet: Fleet) -> None:
    fleet.start("web-1", "web-2")
    variables = {"gce_hosts": "web-1,web-2", "gce_action": "none", "gce_as_event": "migrate", "gce_reason": "drill"}
    status, output = fleet.run(**variables)
    assert status == 0, output
    assert fleet.results() == {"web-1": "done", "web-2": "done"}
    assert fleet.traces() == {"web-1": ONCE, "web-2": ONCE}
    handler = fleet.handlers["web-1"]
    assert handler.stop() == 0
    handler.start()
    handler.until(lambda: handler.status().get("last_incident"), "the last incident")
    status, output = fleet.run(**variables)
    assert status == 0, output
    assert [row["todo"] for row in fleet.report()["hosts"]] == ["check", "check"]
    assert fleet.traces() == {"web-1": ONCE, "web-2": ONCE}


def test_outside_of_the_hours_nothing_starts(fleet: Fleet) -> None:
    fleet.start("web-1")
    day = DAYS[(datetime.now(UTC) + timedelta(days=3)).weekday()]
    status, output = fleet.run(gce_hosts="web-1", gce_action="none", gce_hours=f"{day} 10:00-11:00 UTC")
    assert status != 0
    assert "It is outside gce_hours" in output
    assert fleet.traces() == {"web-1": []}


@pytest.mark.parametrize(
    "variables, word",
    [
        ({"gce_action": "command", "gce_hosts": "web-1"}, "gce_command is not set"),
        ({"gce_hosts": "wbe"}, "no host in the inventory matches wbe"),
    ],
)
def test_wrong_variables(fleet: Fleet, variables: dict[str, Any], word: str) -> None:
    fleet.hosts = {"web-1": {}}
    status, output = fleet.run(**variables)
    assert status != 0
    assert word in output
