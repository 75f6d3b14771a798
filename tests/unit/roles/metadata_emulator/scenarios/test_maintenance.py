# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host maintenance of a VM, in time that the test moves."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from gce_emulator.scenarios import catalogue, maintenance
from gce_emulator.scenarios.runs import BadOption, Refused
from gce_emulator.state.guest_metadata import DRIFT_TOKEN, MAINTENANCE_EVENT
from gce_emulator.state.instance import Instance
from gce_emulator.state.project import Project
from support.manual_time import ManualTime

MIGRATE, TERMINATE = "MIGRATE_ON_HOST_MAINTENANCE", "TERMINATE_ON_HOST_MAINTENANCE"
GPU = {"name": "web-1", "accelerators": [{"type": "nvidia-l4"}]}
DAY = 86400.0

# Runs have a future, which needs a loop.
pytestmark = pytest.mark.asyncio


@pytest.fixture
def one(make_project: Callable[..., Project]) -> Callable[..., Instance]:
    def make(instance: dict[str, Any] | None = None, **fleet: Any) -> Instance:
        return make_project(instance or {"name": "web-1"}, **fleet).instances["web-1"]

    return make


def history(instance: Instance, time: ManualTime, seconds: float) -> list[tuple[float, str]]:
    """The maintenance events and power states of the next seconds, with their times."""
    start = time.now
    seen: list[tuple[float, str]] = []

    def look(*_unused: object) -> None:
        now = instance.maintenance_event if instance.is_up else instance.status
        if not seen or seen[-1][1] != now:
            seen.append((round(time.now - start, 3), now))

    instance.on_change(look)
    instance.on_power(look)
    look()
    time.advance(seconds)
    return seen


async def test_live_migration_gives_60_s_of_notice_after_a_direct_query(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    instance.asked_directly = True
    run = catalogue.start(instance, "live-migration")
    assert (instance.maintenance_event, run.step) == (MIGRATE, f"announce {MIGRATE}")
    manual_time.advance(59.9)
    assert run.step == f"announce {MIGRATE}"
    manual_time.advance(0.2)
    assert (instance.maintenance_event, run.step) == (MIGRATE, "migrate")
    assert history(instance, manual_time, 100) == [(0, MIGRATE), (19.9, "NONE")]
    assert run.done.done()
    assert instance.boot_count == 1


async def test_live_migration_begins_at_once_without_a_direct_query(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    run = catalogue.start(instance, "live-migration")
    assert run.step == "migrate"
    assert history(instance, manual_time, 100) == [(0, MIGRATE), (20, "NONE")]


async def test_each_event_needs_a_new_direct_query(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one()
    instance.asked_directly = True
    catalogue.start(instance, "live-migration")
    manual_time.advance(100)
    assert not instance.asked_directly
    assert catalogue.start(instance, "live-migration").step == "migrate"


async def test_missed_notice_gives_no_notice_after_a_direct_query(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    instance.asked_directly = True
    assert catalogue.start(instance, "missed-notice").step == "migrate"
    assert history(instance, manual_time, 100) == [(0, MIGRATE), (20, "NONE")]


async def test_the_blackout_of_a_migration_answers_503(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one()
    catalogue.start(instance, "live-migration", {"blackout": 2})
    faults = instance.project.faults
    assert faults.active("503", "metadata", "web-1")
    manual_time.advance(2.1)
    assert not faults.active("503", "metadata", "web-1")


@pytest.mark.parametrize("spec", [{"name": "web-1", "scheduling": {"on_host_maintenance": "TERMINATE"}}, GPU])
async def test_host_termination_gives_an_hour_then_stops_and_boots(
    spec: dict[str, Any], one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one(spec)
    catalogue.start(instance, "host-termination")
    assert history(instance, manual_time, 5000) == [(0, TERMINATE), (3600, "TERMINATED"), (3660, "NONE")]
    assert (instance.status, instance.boot_count) == ("RUNNING", 2)


async def test_gpu_termination_is_for_vms_with_accelerators(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    with pytest.raises(Refused, match="has no accelerators"):
        catalogue.start(one(), "gpu-termination")
    instance = one(GPU)
    catalogue.start(instance, "gpu-termination")
    assert history(instance, manual_time, 5000)[:2] == [(0, TERMINATE), (3600, "TERMINATED")]


async def test_without_restart_the_vm_stays_off(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one()
    run = catalogue.start(instance, "host-termination", {"restart": False})
    manual_time.advance(10_000)
    assert (instance.status, instance.boot_count) == ("TERMINATED", 1)
    assert run.done.done()


async def test_preemption_gives_30_s_and_everything_is_back_to_none_after_the_boot(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one({"name": "web-1", "scheduling": {"preemptible": True}})
    boot_id = instance.boot_id
    catalogue.start(instance, "preemption")
    assert (instance.preempted, instance.status) == (True, "STOPPING")
    manual_time.advance(29.9)
    assert instance.status == "STOPPING"
    manual_time.advance(0.2)
    assert instance.status == "TERMINATED"
    manual_time.advance(60)
    assert (instance.preempted, instance.status, instance.boot_count) == (False, "RUNNING", 2)
    assert instance.boot_id != boot_id


async def test_preemption_on_top_of_a_migration_ends_it(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one()
    instance.asked_directly = True
    migration = catalogue.start(instance, "live-migration")
    catalogue.start(instance, "preemption")
    assert (instance.maintenance_event, instance.preempted) == (MIGRATE, True)
    manual_time.advance(200)
    assert migration.done.done()
    assert (instance.maintenance_event, instance.preempted, instance.boot_count) == ("NONE", False, 2)
    assert instance.runs == {}


async def test_a_window_announces_the_event_ahead_of_its_start(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    instance.asked_directly = True
    catalogue.start(instance, "window-announced", {"starts_in": DAY})
    window = instance.upcoming_maintenance
    assert window is not None
    assert window.window_start_time.timestamp() == manual_time.now + DAY
    assert (window.maintenance_status, window.can_reschedule) == ("PENDING", True)
    manual_time.advance(DAY - 60.1)
    assert instance.maintenance_event == "NONE"
    manual_time.advance(0.2)
    assert instance.maintenance_event == MIGRATE
    manual_time.advance(60)
    window = instance.upcoming_maintenance
    assert window is not None
    assert (window.maintenance_status, window.can_reschedule) == ("ONGOING", False)
    manual_time.advance(20)
    assert (instance.upcoming_maintenance, instance.maintenance_event) == (None, "NONE")


async def test_the_event_of_a_window_comes_at_its_start_without_a_direct_query(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    catalogue.start(instance, "window-announced", {"starts_in": DAY})
    assert history(instance, manual_time, 2 * DAY) == [(0, "NONE"), (DAY, MIGRATE), (DAY + 20, "NONE")]


async def test_the_window_of_a_gpu_vm_ends_in_a_stop(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one(GPU)
    catalogue.start(instance, "window-announced", {"starts_in": DAY})
    assert history(instance, manual_time, 2 * DAY) == [
        (0, "NONE"),
        (DAY - 3600, TERMINATE),
        (DAY, "TERMINATED"),
        (DAY + 60, "NONE"),
    ]
    assert instance.upcoming_maintenance is None


async def test_a_moved_window_takes_its_event_along(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one()
    catalogue.start(instance, "window-moved", {"starts_in": DAY, "after": 100, "move_by": DAY})
    first = instance.upcoming_maintenance
    manual_time.advance(101)
    second = instance.upcoming_maintenance
    assert first is not None
    assert second is not None
    assert second.window_start_time - first.window_start_time == datetime.timedelta(days=1)
    assert second.window_end_time - first.window_end_time == datetime.timedelta(days=1)
    assert history(instance, manual_time, 3 * DAY)[1] == (2 * DAY - 101, MIGRATE)


async def test_a_cancelled_window_has_no_consequences(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one()
    catalogue.start(instance, "window-cancelled", {"starts_in": DAY, "after": 100})
    manual_time.advance(99)
    assert instance.upcoming_maintenance is not None
    manual_time.advance(2)
    assert instance.upcoming_maintenance is None
    assert history(instance, manual_time, 3 * DAY) == [(0, "NONE")]


@pytest.mark.parametrize("asks_again, second_notice", [(True, 60.0), (False, 0.0)])
async def test_back_to_back_gives_the_second_notice_after_a_second_query(
    asks_again: bool, second_notice: float, one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    instance.asked_directly = True
    catalogue.start(instance, "back-to-back")
    manual_time.advance(85)
    assert instance.maintenance_event == "NONE"
    instance.asked_directly = asks_again
    assert history(instance, manual_time, 1000) == [
        (0, "NONE"),
        (5, MIGRATE),
        (5 + second_notice + 20, "NONE"),
    ]


async def test_time_is_compressed(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one(speed=100)
    catalogue.start(instance, "host-termination")
    assert history(instance, manual_time, 50) == [(0, TERMINATE), (36, "TERMINATED"), (36.6, "NONE")]


async def test_maintenance_event_stays_none_on_sole_tenant_nodes(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one({"name": "web-1", "sole_tenant": True})
    maintenance.simulate_maintenance(instance)
    assert history(instance, manual_time, 100) == [(0, "NONE")]


@pytest.mark.parametrize(
    "spec, event, boots",
    [
        ({"name": "web-1"}, MIGRATE, 1),
        (GPU, TERMINATE, 2),
        (
            {"name": "web-1", "scheduling": {"on_host_maintenance": "TERMINATE", "automatic_restart": False}},
            TERMINATE,
            1,
        ),
    ],
)
async def test_simulated_maintenance_follows_the_policy(
    spec: dict[str, Any], event: str, boots: int, one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one(spec)
    run = maintenance.simulate_maintenance(instance)
    assert instance.maintenance_event == event
    manual_time.advance(10_000)
    assert run.done.done()
    assert instance.boot_count == boots


async def test_performed_maintenance_begins_now_and_replaces_the_window(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    instance.asked_directly = True
    catalogue.start(instance, "window-announced")
    run = maintenance.perform_maintenance(instance)
    assert instance.maintenance_event == MIGRATE
    manual_time.advance(61)
    window = instance.upcoming_maintenance
    assert window is not None
    assert window.maintenance_status == "ONGOING"
    manual_time.advance(20)
    assert instance.upcoming_maintenance is None
    assert run.done.done()
    assert history(instance, manual_time, 30 * DAY) == [(0, "NONE")]


async def test_maintenance_can_be_performed_only_when_it_is_pending_and_can_be_rescheduled(
    one: Callable[..., Instance],
) -> None:
    instance = one()
    with pytest.raises(Refused, match="has no pending maintenance"):
        maintenance.perform_maintenance(instance)
    catalogue.start(instance, "window-announced", {"can_reschedule": False})
    with pytest.raises(Refused, match="cannot be rescheduled"):
        maintenance.perform_maintenance(instance)


async def test_a_migration_beside_a_pending_window_leaves_the_window(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    catalogue.start(instance, "window-announced", {"starts_in": DAY})
    catalogue.start(instance, "live-migration")
    manual_time.advance(100)
    window = instance.upcoming_maintenance
    assert window is not None
    assert window.maintenance_status == "PENDING"


async def test_second_event_waits_for_the_first(one: Callable[..., Instance]) -> None:
    instance = one()
    catalogue.start(instance, "live-migration")
    with pytest.raises(Refused, match="web-1 is already in live-migration, at the step 'migrate'"):
        catalogue.start(instance, "host-termination")


async def test_scenarios_need_a_running_vm(one: Callable[..., Instance]) -> None:
    instance = one()
    instance.stop()
    with pytest.raises(Refused, match="web-1 is TERMINATED"):
        catalogue.start(instance, "live-migration")


@pytest.mark.parametrize("name", ["live-migration", "preemption", "window-announced"])
async def test_a_cancelled_scenario_is_withdrawn(
    name: str, one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    instance.asked_directly = True
    run = catalogue.start(instance, name)
    maintenance.withdraw(instance, run)
    assert run.done.done()
    assert (instance.maintenance_event, instance.preempted, instance.upcoming_maintenance) == ("NONE", False, None)
    assert instance.status == "RUNNING"
    assert history(instance, manual_time, 30 * DAY) == [(0, "NONE")]


async def test_cancelling_an_outage_boots_the_vm(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one()
    run = catalogue.start(instance, "preemption", {"notice": 0})
    assert instance.status == "TERMINATED"
    maintenance.withdraw(instance, run)
    assert (instance.status, instance.boot_count) == ("RUNNING", 2)
    manual_time.advance(1000)
    assert instance.boot_count == 2


@pytest.mark.parametrize(
    "name, options, problem",
    [
        ("meteorite", {}, "there is no scenario 'meteorite'; there is live-migration, "),
        ("live-migration", {"loud": True}, "live-migration has no option 'loud'; it has notice, migration, blackout"),
        ("live-migration", {"notice": -1}, "live-migration: notice is -1; it must be a number of seconds, 0 to 1e9"),
        ("live-migration", {"notice": True}, "live-migration: notice is True; it must be a number of seconds"),
        ("preemption", {"restart": 1}, "preemption: restart is 1; it must be true or false"),
    ],
)
async def test_wrong_options_are_refused(
    name: str, options: dict[str, Any], problem: str, one: Callable[..., Instance]
) -> None:
    with pytest.raises(BadOption) as raised:
        catalogue.start(one(), name, options)
    assert str(raised.value).startswith(problem)


async def test_changes_of_a_boot_are_reported_together(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one()
    catalogue.start(instance, "host-termination", {"notice": 0})
    seen: list[tuple[str, bool]] = []
    instance.on_change(
        lambda path: seen.append((path, instance.maintenance_event == "NONE" and not instance.preempted))
    )
    manual_time.advance(60)
    assert (MAINTENANCE_EVENT, True) in seen
    assert all(complete for _unused, complete in seen)


@pytest.mark.parametrize("sole_tenant", [False, True])
async def test_a_migration_changes_the_drift_token_announced_or_not(
    sole_tenant: bool, one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one({"name": "web-1", "sole_tenant": sole_tenant})
    instance.asked_directly = True
    catalogue.start(instance, "live-migration")
    manual_time.advance(59.9)
    assert instance.get(DRIFT_TOKEN) == "0"
    manual_time.advance(0.2)
    assert instance.get(DRIFT_TOKEN) != "0"
    assert (instance.maintenance_event == MIGRATE) is not sole_tenant


async def test_a_termination_leaves_the_drift_token(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one()
    catalogue.start(instance, "host-termination")
    manual_time.advance(DAY)
    assert instance.get(DRIFT_TOKEN) == "0"
