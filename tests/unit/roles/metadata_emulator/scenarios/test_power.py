# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stops, deletions, preemptions and host errors of a VM, in time that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gce_emulator.scenarios import catalogue, maintenance, power
from gce_emulator.scenarios.runs import Refused
from gce_emulator.state.instance import Instance
from gce_emulator.state.project import Project
from support.manual_time import ManualTime

GPU = {"name": "web-1", "accelerators": [{"type": "nvidia-l4"}]}
SPOT = {"name": "web-1", "scheduling": {"provisioning_model": "SPOT"}}
DETAILS = "instance/shutdown-details"

# Runs have a future, which needs a loop.
pytestmark = pytest.mark.asyncio


@pytest.fixture
def one(make_project: Callable[..., Project]) -> Callable[..., Instance]:
    def make(instance: dict[str, Any] | None = None, **fleet: Any) -> Instance:
        return make_project(instance or {"name": "web-1"}, **fleet).instances["web-1"]

    return make


def events(instance: Instance) -> list[str]:
    """The platform's records of this instance from now on."""
    seen: list[str] = []
    instance.project.on_system_event(lambda _instance, event: seen.append(event))
    return seen


def stop_state(instance: Instance) -> Any:
    return instance.get("instance/shutdown-details/stop-state")


async def test_a_stop_shuts_the_guest_down_and_powers_off(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    run = power.stop(instance)
    assert (instance.status, stop_state(instance), instance.is_up) == ("STOPPING", "STOPPING", True)
    manual_time.advance(19.9)
    assert instance.status == "STOPPING"
    manual_time.advance(0.2)
    assert (instance.status, instance.is_up, run.done.done()) == ("TERMINATED", False, True)
    instance.start()
    assert (instance.status, instance.boot_count, stop_state(instance)) == ("RUNNING", 2, "UNSPECIFIED")


async def test_a_graceful_stop_lets_the_guest_run(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one(speed=10)
    instance.more_scheduling["gracefulShutdown"] = {"enabled": True, "maxDuration": {"seconds": "300"}}
    power.stop(instance)
    details = "instance/shutdown-details"
    assert (instance.status, stop_state(instance)) == ("PENDING_STOP", "PENDING_STOP")
    assert instance.get(f"{details}/max-duration") == "30"
    assert instance.get(f"{details}/target-state") == "STOPPED"
    assert instance.get(f"{details}/request-timestamp").endswith("Z")
    manual_time.advance(29.9)
    assert instance.status == "PENDING_STOP"
    manual_time.advance(0.2)
    assert (instance.status, stop_state(instance)) == ("STOPPING", "STOPPING")
    manual_time.advance(2.1)
    assert instance.status == "TERMINATED"


async def test_a_second_stop_can_end_the_wait_for_the_guest(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    instance.more_scheduling["gracefulShutdown"] = {"enabled": True}
    first = power.stop(instance)
    assert power.stop(instance) is first
    power.stop(instance, graceful=False)
    assert (instance.status, first.done.done()) == ("STOPPING", False)
    manual_time.advance(20.1)
    assert (instance.status, first.done.done()) == ("TERMINATED", True)


async def test_a_withdrawn_stop_leaves_the_vm_running(one: Callable[..., Instance]) -> None:
    instance = one()
    maintenance.withdraw(instance, catalogue.start(instance, "stop", {"graceful": 60}))
    assert (instance.status, stop_state(instance), instance.boot_count) == ("RUNNING", "UNSPECIFIED", 1)


async def test_a_stop_does_not_create_shutdown_details(one: Callable[..., Instance]) -> None:
    instance = one()
    instance.remove("instance/shutdown-details")
    catalogue.start(instance, "stop", {"graceful": 60})
    assert stop_state(instance) is None


async def test_a_stop_ends_other_scenarios(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    instance = one(GPU)
    catalogue.start(instance, "host-termination")
    power.stop(instance)
    manual_time.advance(20.1)
    assert (instance.status, instance.runs) == ("TERMINATED", {})
    instance.start()
    assert instance.maintenance_event == "NONE"


async def test_the_scenario_graceful_stop_needs_no_configuration(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    catalogue.start(instance, "graceful-stop")
    manual_time.advance(599)
    assert stop_state(instance) == "PENDING_STOP"
    manual_time.advance(30)
    assert instance.status == "TERMINATED"


async def test_a_graceful_deletion_is_announced_and_deletes_the_vm(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    run = catalogue.start(instance, "graceful-delete", {"graceful": 60})
    assert instance.get(f"{DETAILS}/target-state") == "DELETED"
    manual_time.advance(81)
    assert (instance.exists, run.done.done()) == (False, True)
    assert "web-1" not in instance.project.instances


async def test_a_graceful_stop_is_cut_short_by_a_second_stop(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    catalogue.start(instance, "graceful-stop-cancelled", {"after": 30})
    requested = instance.get(f"{DETAILS}/request-timestamp")
    assert instance.get(f"{DETAILS}/max-duration") == "600"
    manual_time.advance(29)
    assert stop_state(instance) == "PENDING_STOP"
    manual_time.advance(2)
    assert (stop_state(instance), instance.get(f"{DETAILS}/request-timestamp")) == ("STOPPING", requested)
    manual_time.advance(20)
    assert instance.status == "TERMINATED"


async def test_a_deletion_during_a_stop_changes_the_target(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    first = catalogue.start(instance, "graceful-stop", {"graceful": 60})
    assert power.stop(instance, target="DELETED") is first
    assert (stop_state(instance), instance.get(f"{DETAILS}/target-state")) == ("PENDING_STOP", "DELETED")
    manual_time.advance(81)
    assert not instance.exists


async def test_a_guest_that_shuts_down_ends_the_wait(one: Callable[..., Instance]) -> None:
    instance = one()
    recorded = events(instance)
    run = catalogue.start(instance, "graceful-stop")
    power.shut_down_by_guest(instance)
    assert (instance.status, run.done.done(), recorded) == ("TERMINATED", True, [])


async def test_a_guest_that_shuts_down_by_itself_is_recorded(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one(GPU)
    recorded = events(instance)
    catalogue.start(instance, "host-termination")
    power.shut_down_by_guest(instance)
    manual_time.advance(10_000)
    assert (instance.status, instance.boot_count, recorded) == ("TERMINATED", 1, ["guestTerminate"])


async def test_vm_that_skips_the_guest_shutdown_stops_at_once(one: Callable[..., Instance]) -> None:
    instance = one()
    instance.more_scheduling.update({"gracefulShutdown": {"enabled": True}, "skipGuestOsShutdown": True})
    power.stop(instance)
    assert instance.status == "TERMINATED"


@pytest.mark.parametrize("idle", ["UNSPECIFIED", "UNKNOWN", "404"])
async def test_the_fleet_file_sets_the_idle_state(idle: str, one: Callable[..., Instance]) -> None:
    instance = one({"name": "web-1", "shutdown_details": idle})
    assert stop_state(instance) == (None if idle == "404" else idle)
    catalogue.start(instance, "graceful-stop")
    assert stop_state(instance) == (None if idle == "404" else "PENDING_STOP")
    instance.reset()
    assert stop_state(instance) == (None if idle == "404" else idle)


@pytest.mark.parametrize(
    "style, shown", [("seconds", "600"), ("suffix", "600s"), ("object", {"seconds": "600"})], ids=str
)
async def test_the_fleet_file_sets_the_form_of_durations(style: str, shown: Any, one: Callable[..., Instance]) -> None:
    instance = one(
        {
            "name": "web-1",
            "duration_style": style,
            "scheduling": {"provisioning_model": "SPOT", "preemption_notice": 600},
            "preemption_notice_shown": True,
        }
    )
    catalogue.start(instance, "graceful-stop")
    assert instance.get(f"{DETAILS}/max-duration") == shown
    assert instance.get("instance/scheduling/preemption-notice-duration") == shown


async def test_the_preemption_notice_is_hidden_by_default(one: Callable[..., Instance]) -> None:
    instance = one({"name": "web-1", "scheduling": {"provisioning_model": "SPOT", "preemption_notice": 120}})
    assert instance.find("instance/scheduling/preemption-notice-duration") is None


async def test_spot_notice_comes_two_minutes_before_the_acpi_signal(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one(SPOT)
    recorded = events(instance)
    catalogue.start(instance, "spot-notice")
    assert (instance.preempted, instance.status) == (True, "RUNNING")
    manual_time.advance(119.9)
    assert instance.status == "RUNNING"
    manual_time.advance(0.2)
    assert (instance.status, recorded) == ("STOPPING", ["preempted"])
    manual_time.advance(30)
    assert instance.status == "TERMINATED"
    manual_time.advance(60)
    assert (instance.preempted, instance.boot_count) == (False, 2)


async def test_a_preemption_gives_the_notice_that_the_vm_has(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one({"name": "web-1", "scheduling": {"provisioning_model": "SPOT", "preemption_notice": 90}})
    catalogue.start(instance, "preemption")
    manual_time.advance(89)
    assert (instance.preempted, instance.status) == (True, "RUNNING")
    manual_time.advance(2)
    assert instance.status == "STOPPING"


async def test_a_guest_that_shuts_down_during_its_notice_is_still_preempted(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one(SPOT)
    recorded = events(instance)
    catalogue.start(instance, "spot-notice")
    power.shut_down_by_guest(instance)
    assert (instance.status, recorded) == ("TERMINATED", ["preempted"])
    manual_time.advance(61)
    assert instance.boot_count == 2


async def test_a_preempted_vm_is_deleted_if_configured(one: Callable[..., Instance], manual_time: ManualTime) -> None:
    termination = {"provisioning_model": "SPOT", "instance_termination_action": "DELETE"}
    instance = one({"name": "web-1", "scheduling": termination})
    catalogue.start(instance, "preemption")
    manual_time.advance(31)
    assert not instance.exists


async def test_a_host_error_cuts_the_power_without_notice(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one()
    recorded = events(instance)
    catalogue.start(instance, "live-migration")
    with pytest.raises(Refused, match="already in live-migration"):
        catalogue.start(instance, "live-migration")
    catalogue.start(instance, "host-error")
    assert (instance.status, list(instance.runs)) == ("TERMINATED", [next(iter(instance.runs))])
    manual_time.advance(61)
    assert (instance.status, instance.boot_count, instance.maintenance_event) == ("RUNNING", 2, "NONE")
    assert recorded == ["migrateOnHostMaintenance", "hostError", "automaticRestart"]


async def test_after_a_host_error_a_vm_without_automatic_restart_stays_off(
    one: Callable[..., Instance], manual_time: ManualTime
) -> None:
    instance = one({"name": "web-1", "scheduling": {"automatic_restart": False}})
    catalogue.start(instance, "host-error")
    manual_time.advance(1000)
    assert (instance.status, instance.boot_count) == ("TERMINATED", 1)
