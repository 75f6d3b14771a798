# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance requested by the Compute API, and its operations."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gce_emulator.state.faults import Fault
from gce_emulator.state.guest_metadata import MAINTENANCE_EVENT, PREEMPTED, UPCOMING_MAINTENANCE
from gce_emulator.state.instance import Instance
from support.compute_api import PROJECT, SERVICE, ComputeApi, compute_api

FLEET = {
    "notice": {"terminate": 60},
    "instances": [
        {"name": "web-1"},
        {"name": "gpu-1", "accelerators": [{"type": "nvidia-l4"}]},
        {"name": "spot-1", "scheduling": {"preemptible": True}},
    ],
}
ZONE = "zones/us-central1-a"
WINDOW = {"window_start_time": "2099-12-01T10:00:00Z", "can_reschedule": True}


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


def follow(instance: Instance) -> list[tuple[str, Any]]:
    """Every future change of the guest's maintenance keys."""
    told: list[tuple[str, Any]] = []
    last = {path: instance.get(path) for path in (MAINTENANCE_EVENT, PREEMPTED)}

    def note(path: str) -> None:
        if path in last and last[path] != instance.get(path):
            last[path] = instance.get(path)
            told.append((path, last[path]))

    instance.on_change(note)
    return told


async def simulate(api: ComputeApi, name: str, **query: str) -> Any:
    status, operation = await api.post(f"{ZONE}/instances/{name}/simulateMaintenanceEvent", **query)
    assert status == 200, operation
    return operation


async def test_simulated_maintenance_migrates_and_reaches_the_guest(api: ComputeApi) -> None:
    """The same call as in production, to try out a handler (aws/aws-node-termination-handler#110, #208)."""
    instance = api.project.instances["web-1"]
    told = follow(instance)
    operation = await simulate(api, "web-1")
    target = f"projects/{PROJECT}/{ZONE}/instances/web-1"
    assert operation["status"] == "PENDING"
    assert operation["operationType"] == "simulateMaintenanceEvent"
    assert (operation["targetLink"], operation["targetId"]) == (SERVICE + target, str(instance.id))
    done = await api.done(operation)
    assert "error" not in done
    assert told == [(MAINTENANCE_EVENT, "MIGRATE_ON_HOST_MAINTENANCE"), (MAINTENANCE_EVENT, "NONE")]
    assert (instance.status, instance.boot_count) == ("RUNNING", 1)


async def test_operation_runs_as_long_as_the_migration() -> None:
    async with compute_api({**FLEET, "speed": 1, "durations": {"operation": 0}}) as api:
        instance = api.project.instances["web-1"]
        instance.asked_directly = True
        operation = await simulate(api, "web-1")
        while instance.maintenance_event == "NONE":
            await api.get(f"{ZONE}/operations/{operation['name']}")
        _unused, seen = await api.get(f"{ZONE}/operations/{operation['name']}")
        assert (seen["status"], seen["progress"]) == ("RUNNING", 0)
        api.project.clock.speed = 1e6
        assert (await api.done(seen))["progress"] == 100
        assert instance.maintenance_event == "NONE"


async def test_simulated_maintenance_restarts_a_vm_that_cannot_migrate(api: ComputeApi) -> None:
    instance = api.project.instances["gpu-1"]
    told = follow(instance)
    statuses: list[str] = []
    instance.on_power(lambda: statuses.append(instance.status))
    assert "error" not in await api.done(await simulate(api, "gpu-1"))
    assert told == [(MAINTENANCE_EVENT, "TERMINATE_ON_HOST_MAINTENANCE"), (MAINTENANCE_EVENT, "NONE")]
    assert statuses == ["TERMINATED", "RUNNING"]
    assert instance.boot_count == 2


async def test_simulated_maintenance_preempts_a_spot_vm(api: ComputeApi) -> None:
    told = follow(api.project.instances["spot-1"])
    assert "error" not in await api.done(await simulate(api, "spot-1"))
    assert told == [(PREEMPTED, "TRUE")]
    _unused, spot = await api.get(f"{ZONE}/instances/spot-1")
    assert spot["status"] == "TERMINATED"
    assert "lastStopTimestamp" in spot


async def test_stopped_vm_is_not_ready_for_maintenance(api: ComputeApi) -> None:
    api.project.instances["web-1"].stop()
    for method in ("simulateMaintenanceEvent", "performMaintenance"):
        api.project.instances["web-1"].set(UPCOMING_MAINTENANCE, WINDOW)
        status, answer = await api.post(f"{ZONE}/instances/web-1/{method}")
        assert status == 400
        assert answer["error"]["errors"][0]["reason"] == "resourceNotReady"


async def test_second_simulation_during_the_first_ends_in_an_operation_error() -> None:
    async with compute_api({**FLEET, "speed": 1, "durations": {"operation": 0}}) as api:
        api.project.instances["web-1"].asked_directly = True
        first = await simulate(api, "web-1")
        second = await api.done(await simulate(api, "web-1"))
        assert second["error"]["errors"][0]["code"] == "MIGRATION_TEMPORARILY_UNAVAILABLE"
        api.project.clock.speed = 1e6
        assert "error" not in await api.done(first)


async def test_fault_of_an_operation_affects_the_next_write_only(api: ComputeApi) -> None:
    told = follow(api.project.instances["web-1"])
    api.project.faults.inject(Fault("operation-error", face="compute", instance="web-1", count=1))
    assert (await api.get(f"{ZONE}/instances/web-1"))[0] == 200
    failed = await api.done(await simulate(api, "web-1"))
    assert (failed["status"], failed["httpErrorStatusCode"], failed["httpErrorMessage"]) == (
        "DONE",
        503,
        "SERVICE UNAVAILABLE",
    )
    assert failed["error"]["errors"][0]["code"] == "MIGRATION_TEMPORARILY_UNAVAILABLE"
    assert told == []
    assert "error" not in await api.done(await simulate(api, "web-1"))


@pytest.mark.parametrize(
    "window, why",
    [
        (None, "web-1 has no pending maintenance."),
        ({**WINDOW, "can_reschedule": False}, "cannot be rescheduled (canReschedule is false)."),
        ({**WINDOW, "maintenance_status": "ONGOING"}, "is ONGOING, not PENDING."),
    ],
)
async def test_perform_is_refused_unless_the_customer_may_reschedule(api: ComputeApi, window: Any, why: str) -> None:
    api.project.instances["web-1"].set(UPCOMING_MAINTENANCE, window)
    status, answer = await api.post(f"{ZONE}/instances/web-1/performMaintenance")
    assert (status, answer["error"]["code"]) == (400, 400)
    assert answer["error"]["message"].endswith(why)
    assert (await api.get(f"{ZONE}/operations"))[1].get("items") is None


async def test_performed_maintenance_is_ongoing_and_then_removed(api: ComputeApi) -> None:
    instance = api.project.instances["web-1"]
    instance.set(UPCOMING_MAINTENANCE, WINDOW)
    statuses: list[str | None] = []

    def note(path: str) -> None:
        window = instance.upcoming_maintenance
        status = window.maintenance_status if window else None
        if not statuses or statuses[-1] != status:
            statuses.append(status)

    instance.on_change(note)
    _unused, operation = await api.post(f"{ZONE}/instances/web-1/performMaintenance")
    assert operation["operationType"] == "performMaintenance"
    assert "error" not in await api.done(operation)
    assert statuses == ["PENDING", "ONGOING", None]
    _unused, web = await api.get(f"{ZONE}/instances/web-1")
    assert "upcomingMaintenance" not in web["resourceStatus"]


@pytest.mark.parametrize("method", ["simulateMaintenanceEvent", "performMaintenance"])
async def test_a_repeated_request_id_is_written_once(api: ComputeApi, method: str) -> None:
    instance = api.project.instances["web-1"]
    instance.set(UPCOMING_MAINTENANCE, WINDOW)
    told = follow(instance)
    request_id = str(uuid.uuid4())
    _unused, first = await api.post(f"{ZONE}/instances/web-1/{method}", requestId=request_id)
    assert first["clientOperationId"] == request_id
    await api.done(first)
    status, again = await api.post(f"{ZONE}/instances/web-1/{method}", requestId=request_id)
    assert (status, again["name"], again["status"]) == (200, first["name"], "DONE")
    assert told == [(MAINTENANCE_EVENT, "MIGRATE_ON_HOST_MAINTENANCE"), (MAINTENANCE_EVENT, "NONE")]


async def test_request_id_finds_a_write_whose_answer_was_lost(api: ComputeApi) -> None:
    told = follow(api.project.instances["web-1"])
    api.project.faults.inject(Fault("lost-answer", face="compute", instance="web-1", count=1))
    request_id = str(uuid.uuid4())
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await simulate(api, "web-1", requestId=request_id)
    assert "error" not in await api.done(await simulate(api, "web-1", requestId=request_id))
    assert told == [(MAINTENANCE_EVENT, "MIGRATE_ON_HOST_MAINTENANCE"), (MAINTENANCE_EVENT, "NONE")]


@pytest.mark.parametrize("request_id", ["00000000-0000-0000-0000-000000000000", "again"])
async def test_a_request_id_must_be_a_uuid(api: ComputeApi, request_id: str) -> None:
    status, answer = await api.post(f"{ZONE}/instances/web-1/simulateMaintenanceEvent", requestId=request_id)
    assert status == 400
    assert answer["error"]["message"].startswith(f"Invalid value for field 'requestId': '{request_id}'.")


async def test_wait_returns_after_two_minutes_while_the_operation_runs() -> None:
    async with compute_api({**FLEET, "notice": {"terminate": 3600}}) as api:
        operation = await simulate(api, "gpu-1")
        status, waited = await api.post(f"{ZONE}/operations/{operation['name']}/wait")
        assert (status, waited["name"], waited["status"]) == (200, operation["name"], "RUNNING")


async def test_operations_are_listed_by_type_and_by_scope(api: ComputeApi) -> None:
    operation = await api.done(await simulate(api, "web-1"))
    _unused, listed = await api.get(
        f"{ZONE}/operations", filter="operationType=simulateMaintenanceEvent AND status=DONE"
    )
    path = f"projects/{PROJECT}/{ZONE}/operations"
    assert (listed["kind"], listed["id"], listed["selfLink"]) == ("compute#operationList", path, SERVICE + path)
    assert listed["items"] == [operation]
    assert "items" not in (await api.get(f"{ZONE}/operations", filter="operationType=setMetadata"))[1]
    assert "items" not in (await api.get("global/operations"))[1]
    assert (await api.get(f"global/operations/{operation['name']}"))[0] == 404
    assert (await api.get(f"{ZONE}/operations/{operation['id']}")) == (200, operation)


@pytest.mark.parametrize(
    "name, events",
    [
        ("web-1", ["migrateOnHostMaintenance"]),
        ("gpu-1", ["terminateOnHostMaintenance", "automaticRestart"]),
        ("spot-1", ["preempted"]),
    ],
)
async def test_actions_of_the_platform_are_in_the_list_of_operations(
    api: ComputeApi, name: str, events: list[str]
) -> None:
    await api.done(await simulate(api, name))
    _status, listed = await api.get(f"{ZONE}/operations", filter="user=system")
    assert [each["operationType"] for each in listed["items"]] == [f"compute.instances.{event}" for event in events]
    assert {each["status"] for each in listed["items"]} == {"DONE"}
    assert listed["items"][0]["targetLink"].endswith(f"/{ZONE}/instances/{name}")
    status, one = await api.get(f"{ZONE}/operations/{listed['items'][0]['name']}")
    assert (status, one["user"]) == (200, "system")


async def test_a_reset_cancels_operations(api: ComputeApi) -> None:
    api.project.clock.speed = 0.01
    operation = await simulate(api, "web-1")
    waiting = asyncio.ensure_future(api.post(f"{ZONE}/operations/{operation['name']}/wait"))
    while len(api.project.journal.select(face="compute")) < 2:
        await asyncio.sleep(0)
    api.project.reset()
    assert (await waiting)[0] in (200, 404)
    assert (await api.get(f"{ZONE}/operations/{operation['name']}"))[0] == 404
    again = await api.done(await simulate(api, "web-1"))
    assert "error" not in again
