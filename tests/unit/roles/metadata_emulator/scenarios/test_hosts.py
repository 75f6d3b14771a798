# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance of nodes and reserved hosts, and what reaches the VMs on them, in time that the test moves."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import pytest

from gce_emulator.scenarios import catalogue, hosts
from gce_emulator.scenarios.runs import BadOption, Refused
from gce_emulator.state.project import Project
from support.manual_time import ManualTime

DAY = 86400.0
DB = {"name": "db-1"}
FIXED = {"name": "fixed-1", "scheduling": {"on_host_maintenance": "TERMINATE"}}
GROUP = {"name": "licensed", "nodes": [{"instances": ["db-1", "fixed-1"]}, {}]}
TRAIN = {
    "name": "train",
    "blocks": [{"sub_blocks": [{"count": 2, "instances": ["gpu-1"]}, {"count": 3}]}, {"count": 1}],
}
GPU = {"name": "gpu-1", "accelerators": [{"type": "nvidia-h100-mega-80gb", "count": 8}]}

pytestmark = pytest.mark.asyncio


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(DB, FIXED, GPU, node_groups=[GROUP], reservations=[TRAIN])


def recorded(project: Project) -> list[tuple[str, str]]:
    events: list[tuple[str, str]] = []
    project.on_system_event(lambda instance, event: events.append((instance.name, event)))
    return events


async def advance(time: ManualTime, seconds: float) -> None:
    """Ends of runs are reported by the event loop."""
    time.advance(seconds)
    for _unused in range(3):
        await asyncio.sleep(0)


async def test_vms_on_nodes_are_sole_tenants(project: Project) -> None:
    assert [each.spec.sole_tenant for each in project.instances.values()] == [True, True, False]
    (affinity,) = project.instances["db-1"].more_scheduling["nodeAffinities"]
    assert affinity["values"] == ["licensed"]


async def test_the_maintenance_of_a_node_reaches_its_vms(project: Project, manual_time: ManualTime) -> None:
    events = recorded(project)
    used, spare = project.node_groups["licensed"].hosts
    (run,) = hosts.simulate_maintenance([used])
    await advance(manual_time, 10_000)
    assert sorted(events) == [
        ("db-1", "migrateOnHostMaintenance"),
        ("fixed-1", "automaticRestart"),
        ("fixed-1", "terminateOnHostMaintenance"),
    ]
    assert run.done.done()
    assert (used.runs, spare.runs) == ({}, {})
    assert [project.instances[name].boot_count for name in ("db-1", "fixed-1", "gpu-1")] == [1, 2, 1]


async def test_host_without_vms_takes_the_configured_time(project: Project, manual_time: ManualTime) -> None:
    spare = project.node_groups["licensed"].hosts[1]
    (run,) = hosts.start_on_hosts([spare], "host-maintenance", {"maintenance": 100})
    manual_time.advance(99)
    assert not run.done.done()
    manual_time.advance(2)
    assert run.done.done()


async def test_a_window_of_a_node_is_shown_by_its_vms_and_kept(project: Project, manual_time: ManualTime) -> None:
    node = project.node_groups["licensed"].hosts[0]
    db, fixed = (project.instances[name] for name in ("db-1", "fixed-1"))
    events = recorded(project)
    (run,) = hosts.start_on_hosts([node], "window-announced", {"starts_in": DAY})
    assert node.upcoming_maintenance is not None
    assert db.upcoming_maintenance == fixed.upcoming_maintenance == node.upcoming_maintenance
    await advance(manual_time, DAY - 1)
    assert events == []
    await advance(manual_time, 2)
    assert sorted(events) == [("db-1", "migrateOnHostMaintenance"), ("fixed-1", "terminateOnHostMaintenance")]
    assert node.upcoming_maintenance.maintenance_status == "ONGOING"
    await advance(manual_time, 100)
    assert run.done.done()
    assert (node.upcoming_maintenance, db.upcoming_maintenance, fixed.upcoming_maintenance) == (None, None, None)


async def test_a_vm_that_booted_before_the_window_is_maintained_in_it(
    project: Project, manual_time: ManualTime
) -> None:
    node, db = project.node_groups["licensed"].hosts[0], project.instances["db-1"]
    hosts.start_on_hosts([node], "window-announced", {"starts_in": DAY})
    catalogue.start(db, "host-error")
    await advance(manual_time, 100)
    assert db.upcoming_maintenance == node.upcoming_maintenance
    events = recorded(project)
    await advance(manual_time, DAY)
    assert ("db-1", "migrateOnHostMaintenance") in events


async def test_windows_of_nodes_can_be_hidden_from_guests(
    make_project: Callable[..., Project], manual_time: ManualTime
) -> None:
    project = make_project(DB, FIXED, node_groups=[{**GROUP, "windows_shown_to_guests": False}])
    node, db = project.node_groups["licensed"].hosts[0], project.instances["db-1"]
    events = recorded(project)
    hosts.start_on_hosts([node], "window-announced", {"starts_in": DAY})
    assert node.upcoming_maintenance is not None
    assert db.upcoming_maintenance is None
    await advance(manual_time, DAY + 1)
    assert ("db-1", "migrateOnHostMaintenance") in events


async def test_a_moved_window_takes_the_vms_along(project: Project, manual_time: ManualTime) -> None:
    node, db = project.node_groups["licensed"].hosts[0], project.instances["db-1"]
    events = recorded(project)
    hosts.start_on_hosts([node], "window-moved", {"starts_in": DAY, "after": 100, "move_by": DAY})
    await advance(manual_time, DAY + 1000)
    assert events == []
    assert db.upcoming_maintenance == node.upcoming_maintenance
    await advance(manual_time, DAY)
    assert ("db-1", "migrateOnHostMaintenance") in events


async def test_cancelled_window_does_not_affect_vms(project: Project, manual_time: ManualTime) -> None:
    node, db = project.node_groups["licensed"].hosts[0], project.instances["db-1"]
    events = recorded(project)
    hosts.start_on_hosts([node], "window-cancelled", {"starts_in": DAY, "after": 100})
    await advance(manual_time, 2 * DAY)
    assert (events, node.upcoming_maintenance, db.upcoming_maintenance) == ([], None, None)


async def test_a_withdrawn_announcement_leaves_no_run(project: Project, manual_time: ManualTime) -> None:
    node, db = project.node_groups["licensed"].hosts[0], project.instances["db-1"]
    events = recorded(project)
    hosts.start_on_hosts([node], "window-announced", {"starts_in": DAY})
    hosts.withdraw(node)
    await advance(manual_time, 2 * DAY)
    assert (events, node.runs, db.runs, db.upcoming_maintenance) == ([], {}, {}, None)


async def test_gpu_vms_of_a_reservation_get_an_hour_before_the_window(
    project: Project, manual_time: ManualTime
) -> None:
    gpu = project.instances["gpu-1"]
    hosts.start_on_hosts(project.reservations["train"].hosts, "window-announced", {"starts_in": DAY})
    manual_time.advance(DAY - 3601)
    assert gpu.maintenance_event == "NONE"
    manual_time.advance(2)
    assert gpu.maintenance_event == "TERMINATE_ON_HOST_MAINTENANCE"


async def test_performed_maintenance_begins_now(project: Project, manual_time: ManualTime) -> None:
    node = project.node_groups["licensed"].hosts[0]
    events = recorded(project)
    hosts.start_on_hosts([node], "window-announced", {"starts_in": DAY})
    (run,) = hosts.perform_maintenance([node])
    await advance(manual_time, 4000)
    assert run.done.done()
    assert ("db-1", "migrateOnHostMaintenance") in events
    events.clear()
    await advance(manual_time, 2 * DAY)
    assert events == []


async def test_performed_maintenance_can_be_scheduled(project: Project, manual_time: ManualTime) -> None:
    node = project.node_groups["licensed"].hosts[0]
    events = recorded(project)
    hosts.start_on_hosts([node], "window-announced", {"starts_in": DAY})
    start = node.clock.now() + datetime.timedelta(hours=2)
    hosts.perform_maintenance([node], start)
    window = node.upcoming_maintenance
    assert window is not None
    assert (window.window_start_time, window.can_reschedule) == (start, False)
    await advance(manual_time, 7100)
    assert events == []
    await advance(manual_time, 200)
    assert ("db-1", "migrateOnHostMaintenance") in events


@pytest.mark.parametrize(
    "announce, words", [(None, "has no pending maintenance"), ({"can_reschedule": False}, "cannot be rescheduled")]
)
async def test_maintenance_that_cannot_be_performed_is_refused(announce: Any, words: str, project: Project) -> None:
    node = project.node_groups["licensed"].hosts[0]
    if announce:
        hosts.start_on_hosts([node], "window-announced", announce)
    with pytest.raises(Refused, match=words):
        hosts.perform_maintenance([node])


async def test_a_second_scenario_is_refused_before_any_begins(project: Project) -> None:
    used, spare = project.node_groups["licensed"].hosts
    hosts.start_on_hosts([spare], "window-announced")
    with pytest.raises(Refused, match="licensed-2 is already in window-announced"):
        hosts.start_on_hosts([used, spare], "window-announced")
    assert used.runs == {}


@pytest.mark.parametrize(
    "name, options, words",
    [("meteorite", {}, "there is no scenario 'meteorite' for hosts"), ("host-maintenance", {"loud": 1}, "no option")],
)
async def test_wrong_scenarios_and_options_are_refused(
    name: str, options: dict[str, Any], words: str, project: Project
) -> None:
    with pytest.raises(BadOption, match=words):
        hosts.start_on_hosts(project.node_groups["licensed"].hosts, name, options)


async def test_a_reset_ends_the_maintenance_of_hosts(project: Project, manual_time: ManualTime) -> None:
    node = project.node_groups["licensed"].hosts[0]
    hosts.start_on_hosts([node], "window-announced", {"starts_in": DAY})
    project.reset()
    events = recorded(project)
    await advance(manual_time, 2 * DAY)
    assert (events, node.runs, node.upcoming_maintenance) == ([], {}, None)
