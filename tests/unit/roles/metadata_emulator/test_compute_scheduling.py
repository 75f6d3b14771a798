# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""instances.setScheduling: changes and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from support.compute_api import ComputeApi, compute_api

FLEET = {
    "instances": [
        {"name": "web-1"},
        {"name": "gpu-1", "accelerators": [{"type": "nvidia-l4"}]},
        {"name": "spot-1", "scheduling": {"preemptible": True}},
    ],
}
ZONE = "zones/us-central1-a"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


async def schedule(api: ComputeApi, name: str, body: Any) -> tuple[int, Any]:
    status, operation = await api.post(f"{ZONE}/instances/{name}/setScheduling", body)
    return status, await api.done(operation) if status == 200 else operation


async def scheduling(api: ComputeApi, name: str) -> Any:
    return (await api.get(f"{ZONE}/instances/{name}"))[1]["scheduling"]


async def test_only_named_fields_change(api: ComputeApi) -> None:
    status, operation = await schedule(api, "web-1", {"onHostMaintenance": "TERMINATE", "hostErrorTimeoutSeconds": 120})
    assert (status, operation["operationType"]) == (200, "setScheduling")
    assert await scheduling(api, "web-1") == {
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": True,
        "preemptible": False,
        "provisioningModel": "STANDARD",
        "hostErrorTimeoutSeconds": 120,
    }


async def test_the_guest_sees_it(api: ComputeApi) -> None:
    told: list[str] = []
    instance = api.project.instances["web-1"]
    instance.on_change(told.append)
    await schedule(api, "web-1", {"automaticRestart": False})
    assert instance.get("instance/scheduling/automatic-restart") == "FALSE"
    assert "instance/scheduling/automatic-restart" in told


async def test_null_resets_a_field(api: ComputeApi) -> None:
    await schedule(api, "web-1", {"onHostMaintenance": "TERMINATE", "hostErrorTimeoutSeconds": 120})
    await schedule(api, "web-1", {"onHostMaintenance": None, "hostErrorTimeoutSeconds": None})
    after = await scheduling(api, "web-1")
    assert after["onHostMaintenance"] == "MIGRATE"
    assert "hostErrorTimeoutSeconds" not in after


async def test_the_provisioning_model_can_change_on_a_stopped_instance(api: ComputeApi) -> None:
    api.project.instances["web-1"].stop()
    body = {"provisioningModel": "SPOT", "automaticRestart": False, "onHostMaintenance": "TERMINATE"}
    status, _operation = await schedule(api, "web-1", {**body, "instanceTerminationAction": "DELETE"})
    assert status == 200
    assert await scheduling(api, "web-1") == {**body, "preemptible": True, "instanceTerminationAction": "DELETE"}
    assert api.project.instances["web-1"].get("instance/scheduling/preemptible") == "TRUE"


async def test_a_reset_restores_the_fleet_file(api: ComputeApi) -> None:
    before = await scheduling(api, "web-1")
    await schedule(api, "web-1", {"hostErrorTimeoutSeconds": 120, "automaticRestart": False})
    api.project.reset()
    assert await scheduling(api, "web-1") == before


async def test_shutdown_options_can_change_on_a_running_instance(api: ComputeApi) -> None:
    body = {
        "gracefulShutdown": {"enabled": True, "maxDuration": {"seconds": "300"}},
        "localSsdRecoveryTimeout": {"seconds": "7200"},
        "onInstanceStopAction": {"discardLocalSsd": True},
        "skipGuestOsShutdown": False,
    }
    assert (await schedule(api, "web-1", body))[0] == 200
    after = await scheduling(api, "web-1")
    assert {key: after[key] for key in body} == body


async def test_a_spot_vm_can_show_its_preemption_notice_to_the_guest() -> None:
    spot = {"name": "spot-1", "scheduling": {"preemptible": True}, "preemption_notice_shown": True}
    async with compute_api({"instances": [spot], "speed": 10}) as api:
        await schedule(api, "spot-1", {"preemptionNoticeDuration": {"seconds": "120"}})
        assert (await scheduling(api, "spot-1"))["preemptionNoticeDuration"] == {"seconds": "120"}
        path = "instance/scheduling/preemption-notice-duration"
        assert api.project.instances["spot-1"].get(path) == "12"
        await schedule(api, "spot-1", {"preemptionNoticeDuration": None})
        assert api.project.instances["spot-1"].get(path) is None


@pytest.mark.parametrize(
    "limit", [{"maxRunDuration": {"seconds": "864000"}}, {"terminationTime": "2099-01-01T00:00:00Z"}], ids=str
)
async def test_a_limited_run_shows_its_end(api: ComputeApi, limit: Any) -> None:
    instance = api.project.instances["web-1"]
    instance.stop()
    graceful = {"gracefulShutdown": {"enabled": True, "maxDuration": {"seconds": "600"}}}
    assert (await schedule(api, "web-1", {**limit, **graceful}))[0] == 200
    instance.start()
    shown = (await api.get(f"{ZONE}/instances/web-1"))[1]["resourceStatus"]["scheduling"]
    assert set(shown) == {"terminationTimestamp", "gracefulShutdownTimestamp"}
    assert shown["gracefulShutdownTimestamp"] < shown["terminationTimestamp"]


@pytest.mark.parametrize("action, exists", [(None, True), ("STOP", True), ("DELETE", False)])
async def test_the_end_of_a_limited_run_stops_or_deletes_the_vm(
    api: ComputeApi, action: str | None, exists: bool
) -> None:
    instance = api.project.instances["web-1"]
    instance.stop()
    body: dict[str, Any] = {
        "maxRunDuration": {"seconds": "30"},
        "gracefulShutdown": {"enabled": True, "maxDuration": {"seconds": "10"}},
    }
    if action is not None:
        body["instanceTerminationAction"] = action
    assert (await schedule(api, "web-1", body))[0] == 200
    statuses: list[str] = []
    instance.on_change(lambda _path: statuses.append(instance.status))
    over = asyncio.Event()
    instance.on_power(lambda: None if instance.is_up else over.set())
    instance.start()
    await asyncio.wait_for(over.wait(), 20)
    await asyncio.sleep(0)
    assert "PENDING_STOP" in statuses
    assert (instance.is_up, instance.exists) == (False, exists)


async def test_a_reset_takes_back_the_limit_of_a_run(api: ComputeApi) -> None:
    """The VM was stopped in the next test of a suite."""
    instance = api.project.instances["web-1"]
    instance.stop()
    assert (await schedule(api, "web-1", {"maxRunDuration": {"seconds": "30"}}))[0] == 200
    instance.start()
    stopped = asyncio.Event()
    instance.on_change(lambda _path: stopped.set() if instance.status != "RUNNING" else None)
    instance.on_power(lambda: None if instance.is_up else stopped.set())
    api.project.reset()
    with pytest.raises(asyncio.TimeoutError):
        # Longer than the limit.
        await asyncio.wait_for(stopped.wait(), 2 * 30 / api.project.clock.speed)


@pytest.mark.parametrize(
    "name, body, words",
    [
        (
            "spot-1",
            {"automaticRestart": True},
            "Scheduling must have preemptible be false when AutomaticRestart is true.",
        ),
        ("spot-1", {"onHostMaintenance": "MIGRATE"}, "when OnHostMaintenance isn't TERMINATE."),
        ("gpu-1", {"onHostMaintenance": "MIGRATE"}, "Instances with guest accelerators do not support live migration."),
        ("web-1", {"maxRunDuration": {"seconds": "60"}}, "can only be changed on a stopped instance"),
        ("web-1", {"onHostMaintenance": "SLEEP"}, "Must be one of MIGRATE, TERMINATE."),
        ("web-1", {"hostErrorTimeoutSeconds": 100}, "Must be one of 90, 120"),
        ("web-1", {"automaticRestart": 1}, "Must be one of True, False"),
        ("web-1", {"maintenanceInterval": "PERIODIC"}, "Unknown name 'maintenanceInterval'"),
        ("web-1", {"instanceTerminationAction": "STOP"}, "You can only set it for Spot VMs"),
        ("web-1", {"preemptionNoticeDuration": {"seconds": "120"}}, "You can only set it for Spot VMs"),
        ("spot-1", {"preemptionNoticeDuration": "120s"}, "Must be 1 second to 1 hour."),
        ("web-1", {"localSsdRecoveryTimeout": {"seconds": "5400"}}, "with hour granularity"),
        ("web-1", {"localSsdRecoveryTimeout": {"seconds": "608400"}}, "0 to 168 hours"),
        ("web-1", {"maxRunDuration": {"seconds": "29"}}, "Must be 30 seconds to 120 days."),
        ("web-1", {"terminationTime": "tomorrow"}, "Must be an RFC 3339 timestamp."),
        ("web-1", {"terminationTime": "2020-01-01T00:00:00Z"}, "Must be in the future."),
        ("web-1", {"gracefulShutdown": {"enabled": "yes"}}, "Must be an object with enabled and maxDuration."),
        ("web-1", {"gracefulShutdown": {"enabled": True, "maxDuration": {"seconds": "3601"}}}, "1 second to 1 hour"),
        ("web-1", {"gracefulShutdown": {"enabled": True, "maxDuration": {"seconds": "0"}}}, "1 second to 1 hour"),
        ("web-1", {"onInstanceStopAction": True}, "Must be an object with discardLocalSsd"),
        ("web-1", {"skipGuestOsShutdown": "yes"}, "Must be one of True, False"),
    ],
)
async def test_invalid_scheduling_is_refused(api: ComputeApi, name: str, body: Any, words: str) -> None:
    before = await scheduling(api, name)
    status, error = await schedule(api, name, body)
    assert status == 400
    assert words in error["error"]["message"]
    assert await scheduling(api, name) == before
