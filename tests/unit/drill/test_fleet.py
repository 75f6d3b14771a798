# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""That the parts of the drill fit each other: VMs, inventory, scenarios, tables."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from drill.fleet import BALANCER, CACHE, CLIENT, DATABASE, PAIR, STORE, WEB, fleet_file
from drill.machine import FOLDER, Machine
from drill.scenarios import SCENARIOS, TOGETHER, Scenario
from drill.tiers import TIERS
from gce_emulator.scenarios import catalogue
from gce_emulator.state.clock import Clock
from gce_emulator.state.fleet_file import parse
from gce_emulator.state.project import Project

MAINTAINED = (*WEB, *PAIR, *CACHE, *DATABASE)
ALL = (CLIENT, BALANCER, STORE, *MAINTAINED)
INVENTORY: dict[str, Any] = yaml.safe_load((FOLDER / "inventory.yml").read_text(encoding="utf-8"))["fleet"]


def test_the_emulator_accepts_the_fleet() -> None:
    fleet = parse(fleet_file(MAINTAINED))
    assert [each.name for each in fleet.instances] == [machine.name for machine in MAINTAINED]
    assert all(each.on_blackout and each.on_shutdown and each.on_power_off and each.on_boot for each in fleet.instances)


def test_the_inventory_has_the_vms_that_are_maintained() -> None:
    hosts = [host for group in INVENTORY["children"].values() for host in group["hosts"]]
    assert sorted(hosts) == sorted(machine.name for machine in MAINTAINED)
    assert sorted(machine.name for tier in TIERS.values() for machine in tier.machines) == sorted(hosts)


def test_addresses_are_unique() -> None:
    assert len({machine.address for machine in ALL}) == len(ALL)


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_the_files_of_a_vm_exist(machine: Machine) -> None:
    assert all((FOLDER / "files" / file.source).is_file() for file in machine.files)


@pytest.mark.parametrize("scenario", [*SCENARIOS, *TOGETHER], ids=lambda scenario: scenario.title)
async def test_the_emulator_plays_the_scenarios_with_the_notice_that_the_handler_assumes(scenario: Scenario) -> None:
    for number, machine in enumerate((PAIR if scenario in TOGETHER else WEB)[:2]):
        instance = Project(parse(fleet_file((machine,))), Clock()).instances[machine.name]
        catalogue.start(instance, scenario.name, scenario.options_of(number)).end()
    variables = INVENTORY["children"]["pair"]["vars"] if scenario in TOGETHER else INVENTORY["vars"]
    notice = variables["maintenance_handler_notice"]
    # A stop announces its own.
    if scenario.event in notice:
        assert scenario.options["notice"] == notice[scenario.event]
    key = next(key for key in ("starts_in", "graceful", "notice") if key in scenario.options)
    assert scenario.notice.split()[0] == f"{scenario.options[key]}"
    if key in scenario.second:
        assert f"and {scenario.second[key]} s" in scenario.notice


def test_every_scenario_is_played_on_some_service() -> None:
    assert all(any(scenario.vms <= tier.spare for tier in TIERS.values()) for scenario in SCENARIOS)
    assert all(scenario.vms == len(TIERS["pair"].machines) == TIERS["pair"].spare for scenario in TOGETHER)


def test_the_limit_of_the_pair_is_kept_by_the_store() -> None:
    limit = INVENTORY["children"]["pair"]["vars"]["maintenance_handler_fleet_limit"]
    assert (limit["endpoints"], limit["slots"]) == ([f"http://{STORE.address}:2379"], 1)
