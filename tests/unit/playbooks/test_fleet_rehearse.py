# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbook gce.guest.fleet_rehearse, with a handler that runs on each of three emulated VMs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.handler import HandlerProcess, task
from support.playbook import printed_lines, run_playbook
from support.vm import Vm

NAMES = ["web-1", "web-2", "web-3"]


class Fleet:
    """Hosts of an inventory, each with its handler."""

    def __init__(self, folder: Path, emulator: EmulatorProcess) -> None:
        self.folder = folder
        self.handlers: dict[str, HandlerProcess] = {}
        for name in NAMES:
            (folder / name).mkdir()
            handler = HandlerProcess(folder / name, Vm(emulator, name).host, [task("lb", "terminate")])
            handler.write_program()
            self.handlers[name] = handler

    def start(self) -> None:
        for handler in self.handlers.values():
            handler.start()

    def rehearse(self, *arguments: str, hosts: Any = None, **variables: Any) -> tuple[int, str]:
        hosts = hosts or {
            name: {"gce_executable": str(self.folder / name / "gce-maintenance-handler")} for name in NAMES
        }
        settings = {"gce_hosts": "web-*", "gce_become": False, **variables}
        return run_playbook(
            "fleet_rehearse",
            self.folder,
            "-e",
            json.dumps(settings),
            *arguments,
            environment={},
            hosts=hosts,
            timeout=600,
        )

    def traces(self) -> dict[str, list[str]]:
        return {name: handler.trace() for name, handler in self.handlers.items()}


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess({"instances": [{"name": name} for name in NAMES]}) as running:
        yield running


@pytest.fixture
def fleet(tmp_path: Path, emulator: EmulatorProcess) -> Iterator[Fleet]:
    made = Fleet(tmp_path, emulator)
    yield made
    for handler in made.handlers.values():
        handler.close()


BOTH = ["drain lb", "restore lb"]


def test_nothing_is_drained_by_default(fleet: Fleet) -> None:
    status, output = fleet.rehearse(gce_events=["terminate", "stop"])
    assert status == 0, output
    table = [line.split() for line in printed_lines(output) if line.startswith("web-")]
    assert [[host, event, *rest[-2:]] for host, event, *rest in table] == [
        [name, event, *verdict]
        for name in NAMES
        for event, verdict in (("terminate", ["not", "executed"]), ("stop", ["no", "task"]))
    ]
    assert "Hosts: 3 of 3 rehearsed, 0 not well." in printed_lines(output)
    assert fleet.traces() == {name: [] for name in NAMES}


def test_hosts_are_drained_and_restored_one_by_one(fleet: Fleet) -> None:
    fleet.start()
    health = f"test $(wc -l < {fleet.folder}/{{{{ inventory_hostname }}}}/trace) = 2"
    variables = {"gce_execute": True, "gce_health_check": health, "gce_health_timeout": 0, "gce_report": "drill.json"}
    status, output = fleet.rehearse(**variables)
    assert status == 0, output
    assert fleet.traces() == dict.fromkeys(NAMES, BOTH)
    ends = [handler.history()[-1]["steps"][-1]["started_at"] for handler in fleet.handlers.values()]
    begins = [handler.history()[-1]["opened_at"] for handler in fleet.handlers.values()]
    assert ends[0] < begins[1]
    assert ends[1] < begins[2]
    report = json.loads((fleet.folder / "drill.json").read_text())
    assert (report["executed"], report["complete"], report["well"], report["events"]) == (
        True,
        True,
        True,
        ["terminate"],
    )
    assert [(row["host"], row["verdict"]) for row in report["hosts"]] == [(name, "well") for name in NAMES]
    steps = report["hosts"][0]["rehearsals"][0]["steps"]
    assert [(step["phase"], step["task"], step["outcome"]) for step in steps] == [
        ("drain", "lb", "ok"),
        ("restore", "lb", "ok"),
    ]


def test_it_stops_at_the_first_that_is_not_well(fleet: Fleet) -> None:
    fleet.handlers["web-2"].configure(tasks=[task("lb", "terminate", drain="echo no route; exit 6")])
    status, output = fleet.rehearse(gce_execute=True, gce_report=str(fleet.folder / "drill.json"))
    assert status != 0
    lines = printed_lines(output)
    assert "Not well: 1: web-2." in lines
    assert "Not reached: 1: web-3." in lines
    assert any("drain lb: failed, exit status 6" in line for line in lines)
    assert fleet.traces() == {"web-1": BOTH, "web-2": BOTH, "web-3": []}
    report = json.loads((fleet.folder / "drill.json").read_text())
    assert (report["complete"], report["well"]) == (False, False)


def test_it_can_go_on_without_hosts_that_are_not_well(fleet: Fleet) -> None:
    hosts = {
        "web-1": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9},
        "web-2": {"gce_executable": "/no/such/program"},
        "web-3": {"gce_executable": str(fleet.folder / "web-3" / "gce-maintenance-handler")},
    }
    status, output = fleet.rehearse(hosts=hosts, gce_execute=True, gce_keep_going=True)
    assert status != 0
    lines = printed_lines(output)
    assert "Hosts: 3 of 3 rehearsed, 2 not well." in lines
    assert "Not well: 2: web-1, web-2." in lines
    assert any(line.startswith("  web-1: terminate: The VM does not answer") for line in lines)
    assert any(line.startswith("  web-2: terminate: It was not rehearsed") for line in lines)
    assert fleet.traces()["web-3"] == BOTH


def test_a_health_check_that_fails_stops_it(fleet: Fleet) -> None:
    variables = {"gce_execute": True, "gce_health_check": "echo it is slow; exit 3", "gce_health_timeout": 0}
    status, output = fleet.rehearse(**variables)
    assert status != 0
    assert "  web-1: Health check: it is slow" in printed_lines(output)
    assert "Not reached: 2: web-2, web-3." in printed_lines(output)


def test_check_mode_drains_nothing(fleet: Fleet) -> None:
    status, output = fleet.rehearse("--check", gce_execute=True)
    assert status == 0, output
    assert fleet.traces() == {name: [] for name in NAMES}


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"gce_hosts": ""}, "gce_hosts is not set"),
        ({"gce_hosts": "db"}, "no host in the inventory matches db"),
        ({"gce_events": ["reboot"]}, "gce_events is reboot"),
        ({"gce_events": []}, "gce_events is empty"),
    ],
)
def test_wrong_variables_are_refused(fleet: Fleet, variables: dict[str, Any], words: str) -> None:
    status, output = fleet.rehearse(**variables)
    assert status != 0
    assert words in output
    assert fleet.traces() == {name: [] for name in NAMES}
