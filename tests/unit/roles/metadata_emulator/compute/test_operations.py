# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of the emulated Compute API's operations."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gce_emulator.compute.operations import Operation, OperationError, Operations, is_request_id
from gce_emulator.state.clock import Clock

T0 = datetime.datetime.fromisoformat("2026-04-23T23:41:19.561+00:00")
TARGET = "projects/p/zones/us-east1-b/instances/web-1"
ZONE = "zones/us-east1-b"
REQUEST = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"

NEW = Operation(
    project="p",
    scope=ZONE,
    name="operation-1",
    id=7684,
    operation_type="setMetadata",
    target=TARGET,
    target_id=41,
    user="ops@example.com",
    insert_time=T0,
)
CONFLICT = OperationError("CONDITION_NOT_MET", "Supplied fingerprint does not match.", 412, "PRECONDITION FAILED")


def later(seconds: float) -> datetime.datetime:
    return T0 + datetime.timedelta(seconds=seconds)


def test_pending_operation_has_the_shape_of_the_api() -> None:
    assert NEW.to_api() == {
        "kind": "compute#operation",
        "id": "7684",
        "name": "operation-1",
        "zone": "https://www.googleapis.com/compute/v1/projects/p/zones/us-east1-b",
        "operationType": "setMetadata",
        "targetLink": "https://www.googleapis.com/compute/v1/projects/p/zones/us-east1-b/instances/web-1",
        "targetId": "41",
        "status": "PENDING",
        "user": "ops@example.com",
        "progress": 0,
        "insertTime": "2026-04-23T16:41:19.561-07:00",
        "selfLink": "https://www.googleapis.com/compute/v1/projects/p/zones/us-east1-b/operations/operation-1",
    }


def test_running_operation_has_a_start() -> None:
    shown = NEW.started(later(1)).to_api()
    assert (shown["status"], shown["progress"], shown["startTime"]) == ("RUNNING", 0, "2026-04-23T16:41:20.561-07:00")
    assert "endTime" not in shown


def test_done_operation_has_an_end_and_no_error() -> None:
    shown = NEW.started(later(1)).finished(later(2)).to_api()
    assert (shown["status"], shown["progress"], shown["endTime"]) == ("DONE", 100, "2026-04-23T16:41:21.561-07:00")
    assert "error" not in shown


def test_failed_operation_is_done_and_has_the_error() -> None:
    shown = NEW.started(later(1)).finished(later(2), CONFLICT).to_api()
    assert shown["status"] == "DONE"
    assert shown["error"] == {
        "errors": [{"code": "CONDITION_NOT_MET", "message": "Supplied fingerprint does not match."}]
    }
    assert (shown["httpErrorStatusCode"], shown["httpErrorMessage"]) == (412, "PRECONDITION FAILED")


def test_global_operation_has_no_zone() -> None:
    shown = dataclasses.replace(NEW, scope="global").to_api()
    assert "zone" not in shown
    assert shown["selfLink"] == "https://www.googleapis.com/compute/v1/projects/p/global/operations/operation-1"


@pytest.mark.parametrize(
    "text, is_one",
    [(REQUEST, True), ("00000000-0000-0000-0000-000000000000", False), ("again", False), ("", False)],
)
def test_request_id_is_a_uuid_but_not_zero(text: str, is_one: bool) -> None:
    assert is_request_id(text) is is_one


@pytest_asyncio.fixture
async def clock() -> Clock:
    """Real time, in which `wait` does not return before the end of an operation."""
    return Clock()


@pytest_asyncio.fixture
async def operations(clock: Clock) -> AsyncIterator[Operations]:
    made = Operations("p", clock, user="ops@example.com", duration=0.002)
    yield made
    await made.close()


async def nothing() -> None:
    return None


async def test_work_is_done_between_running_and_done(operations: Operations) -> None:
    seen: list[str] = []

    async def work() -> None:
        current = operations.find(ZONE, operation.name)
        seen.append(current.status if current else "gone")

    operation = operations.start(ZONE, "setMetadata", TARGET, 41, work)
    assert operation.status == "PENDING"
    assert (await operations.wait(operation)).status == "DONE"
    assert seen == ["RUNNING"]


async def test_an_error_of_the_work_fails_the_operation(operations: Operations) -> None:
    async def work() -> OperationError:
        return CONFLICT

    assert (await operations.wait(operations.start(ZONE, "setMetadata", TARGET, 41, work))).error == CONFLICT


async def test_an_exception_in_the_work_fails_the_operation(operations: Operations) -> None:
    async def work() -> None:
        raise RuntimeError("a bug")

    ended = await operations.wait(operations.start(ZONE, "setMetadata", TARGET, 41, work))
    assert ended.error is not None
    assert ended.error.code == "INTERNAL_ERROR"


async def test_wait_returns_after_nearly_two_minutes(operations: Operations, clock: Clock) -> None:
    clock.speed = 1000.0
    operation = operations.start(ZONE, "setMetadata", TARGET, 41, asyncio.Event().wait)  # type: ignore[arg-type]
    assert (await operations.wait(operation)).status == "RUNNING"


async def test_operation_is_found_by_name_and_by_id_in_its_scope_only(operations: Operations) -> None:
    operation = operations.start(ZONE, "setMetadata", TARGET, 41, nothing)
    assert re.fullmatch(r"operation-\d{13}-[0-9a-f]{13}-[0-9a-f]{8}-[0-9a-f]{8}", operation.name)
    assert operations.find(ZONE, operation.name) == operation
    assert operations.find(ZONE, str(operation.id)) == operation
    assert operations.find("global", operation.name) is None
    assert operations.find(ZONE, "operation-0") is None
    assert operations.in_scope(ZONE) == [operation]
    assert operations.in_scope("global") == []


async def test_only_the_same_request_is_replayed(operations: Operations) -> None:
    operation = operations.start(ZONE, "setMetadata", TARGET, 41, nothing, REQUEST)
    await operations.wait(operation)
    replayed = operations.replayed(REQUEST, "setMetadata", TARGET)
    assert replayed is not None
    assert (replayed.name, replayed.status) == (operation.name, "DONE")
    assert operations.replayed(REQUEST, "setScheduling", TARGET) is None
    assert operations.replayed(REQUEST.replace("6", "7"), "setMetadata", TARGET) is None


async def test_the_oldest_done_operations_are_forgotten(
    operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gce_emulator.compute.operations.REMEMBERED", 2)
    first = operations.start(ZONE, "setMetadata", TARGET, 41, nothing, REQUEST)
    await operations.wait(first)
    running = operations.start(ZONE, "setMetadata", TARGET, 41, asyncio.Event().wait)  # type: ignore[arg-type]
    last = operations.start(ZONE, "setMetadata", TARGET, 41, nothing)
    assert operations.find(ZONE, first.name) is None
    assert operations.replayed(REQUEST, "setMetadata", TARGET) is None
    assert [operation.name for operation in operations.in_scope(ZONE)] == [running.name, last.name]
