# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations of the Compute API: the answers to writes, which later report how the writes ended.

`Operation` is a value; each status (PENDING, RUNNING, DONE) is a new one. `Operations` keeps the newest value of each,
runs its work on the platform's clock, and wakes those who wait for its end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
import random
import uuid
from collections.abc import Awaitable
from typing import Any, Callable

from ..state.clock import Clock
from .resources import SERVICE_URL
from .timestamps import pacific_time

GLOBAL = "global"

_log = logging.getLogger(__name__)

# Share of an operation's duration.
PENDING_SHARE = 0.1
# Platform seconds. The description of zoneOperations.wait: "near the 2 minutes deadline".
LONGEST_WAIT = 115.0

# The API forgets done operations after days.
REMEMBERED = 20_000


@dataclasses.dataclass(frozen=True)
class OperationError:
    """The entry of `error.errors` and the HTTP status of a failed operation."""

    code: str
    message: str
    http_status: int = 400
    http_message: str = "BAD REQUEST"


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation. `scope` is "global", "zones/ZONE" or "regions/REGION", `target` a path below the service's URL."""

    project: str
    scope: str
    name: str
    id: int
    operation_type: str
    target: str
    target_id: int
    user: str
    insert_time: datetime.datetime
    request_id: str | None = None
    start_time: datetime.datetime | None = None
    end_time: datetime.datetime | None = None
    error: OperationError | None = None

    @property
    def status(self) -> str:
        if self.end_time is not None:
            return "DONE"
        return "PENDING" if self.start_time is None else "RUNNING"

    def started(self, moment: datetime.datetime) -> Operation:
        return dataclasses.replace(self, start_time=moment)

    def finished(self, moment: datetime.datetime, error: OperationError | None = None) -> Operation:
        return dataclasses.replace(self, start_time=self.start_time or moment, end_time=moment, error=error)

    def to_api(self) -> dict[str, Any]:
        """The Operation resource, without fields that are not known yet."""
        scope_url = f"{SERVICE_URL}/projects/{self.project}/{self.scope}"
        shown: dict[str, Any] = {
            "kind": "compute#operation",
            "id": str(self.id),
            "name": self.name,
            "zone": scope_url if self.scope.startswith("zones/") else None,
            "region": scope_url if self.scope.startswith("regions/") else None,
            "clientOperationId": self.request_id,
            "operationType": self.operation_type,
            "targetLink": f"{SERVICE_URL}/{self.target}",
            "targetId": str(self.target_id),
            "status": self.status,
            "user": self.user,
            "progress": 100 if self.end_time is not None else 0,
            "insertTime": pacific_time(self.insert_time),
            "startTime": self.start_time and pacific_time(self.start_time),
            "endTime": self.end_time and pacific_time(self.end_time),
            "selfLink": f"{scope_url}/operations/{self.name}",
        }
        if self.error is not None:
            shown["error"] = {"errors": [{"code": self.error.code, "message": self.error.message}]}
            shown["httpErrorStatusCode"] = self.error.http_status
            shown["httpErrorMessage"] = self.error.http_message
        return {key: value for key, value in shown.items() if value is not None}


Work = Callable[[], Awaitable["OperationError | None"]]
"""What an operation does while it is RUNNING; returns its error, if any."""


class Operations:
    """All operations of one project."""

    def __init__(self, project: str, clock: Clock, *, user: str, duration: float) -> None:
        """`duration` is in platform seconds, and without the operation's own work."""
        self._project = project
        self._clock = clock
        self._user = user
        self._duration = duration
        self._operations: dict[str, Operation] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self._requests: dict[tuple[str, str], str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, scope: str, operation_type: str, target: str, target_id: int, work: Work, request_id: str | None = None
    ) -> Operation:
        """A new PENDING operation; its `work` begins after the duration."""
        operation = Operation(
            project=self._project,
            scope=scope,
            name=_new_name(self._clock.time()),
            id=random.getrandbits(62) | 1 << 62,
            operation_type=operation_type,
            target=target,
            target_id=target_id,
            user=self._user,
            insert_time=self._clock.now(),
            request_id=request_id,
        )
        self._forget_oldest()
        self._operations[operation.name] = operation
        self._ends[operation.name] = asyncio.Event()
        if request_id is not None:
            self._requests[_request_key(operation)] = operation.name
        task = asyncio.ensure_future(self._run(operation, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return operation

    def record(self, scope: str, event: str, target: str, target_id: int) -> None:
        """Add a DONE operation for an action of the platform, such as `compute.instances.preempted`."""
        now = self._clock.now()
        operation = Operation(
            project=self._project,
            scope=scope,
            name=_new_name(self._clock.time(), "systemevent"),
            id=random.getrandbits(62) | 1 << 62,
            operation_type=f"compute.instances.{event}",
            target=target,
            target_id=target_id,
            user="system",
            insert_time=now,
        ).finished(now)
        self._forget_oldest()
        self._operations[operation.name] = operation
        self._ends[operation.name] = asyncio.Event()
        self._ends[operation.name].set()

    def replayed(self, request_id: str, operation_type: str, target: str) -> Operation | None:
        """The operation of an earlier identical request, or None."""
        name = self._requests.get((request_id, f"{operation_type} {target}"))
        return self._operations[name] if name is not None else None

    def find(self, scope: str, name_or_id: str) -> Operation | None:
        operation = self._operations.get(name_or_id)
        if operation is None and name_or_id.isdigit():
            operation = next((each for each in self._operations.values() if each.id == int(name_or_id)), None)
        return operation if operation is not None and operation.scope == scope else None

    def all(self) -> list[Operation]:
        return list(self._operations.values())

    def in_scope(self, scope: str) -> list[Operation]:
        return [operation for operation in self._operations.values() if operation.scope == scope]

    async def wait(self, operation: Operation) -> Operation:
        """The operation once it is DONE, or after nearly two minutes."""
        end = asyncio.ensure_future(self._ends[operation.name].wait())
        deadline = asyncio.ensure_future(self._clock.sleep(LONGEST_WAIT))
        try:
            await asyncio.wait({end, deadline}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
            deadline.cancel()
        return self._operations.get(operation.name, operation)

    def reset(self) -> None:
        """Forget all operations, cancel their work, and wake those who wait."""
        for task in self._tasks:
            task.cancel()
        for end in self._ends.values():
            end.set()
        self._operations.clear()
        self._ends.clear()
        self._requests.clear()

    async def close(self) -> None:
        """Cancel all work."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, operation: Operation, work: Work) -> None:
        await self._clock.sleep(self._duration * PENDING_SHARE)
        operation = operation.started(self._clock.now())
        self._operations[operation.name] = operation
        await self._clock.sleep(self._duration * (1 - PENDING_SHARE))
        try:
            error = await work()
        except Exception:
            # Reported to those who wait as well.
            _log.exception("%s on %s failed in the emulator", operation.operation_type, operation.target)
            error = OperationError("INTERNAL_ERROR", "Internal error.", 500, "INTERNAL SERVER ERROR")
        self._operations[operation.name] = operation.finished(self._clock.now(), error)
        self._ends[operation.name].set()

    def _forget_oldest(self) -> None:
        if len(self._operations) < REMEMBERED:
            return
        oldest = next((each for each in self._operations.values() if each.status == "DONE"), None)
        if oldest is not None:
            del self._operations[oldest.name], self._ends[oldest.name]
            self._requests.pop(_request_key(oldest), None)


def is_request_id(text: str) -> bool:
    """Whether this is a valid requestId: a UUID, but not the zero UUID."""
    try:
        return uuid.UUID(text).int != 0
    except ValueError:
        return False


def _request_key(operation: Operation) -> tuple[str, str]:
    return (operation.request_id or "", f"{operation.operation_type} {operation.target}")


def _new_name(now: float, kind: str = "operation") -> str:
    noise = (random.getrandbits(52), random.getrandbits(32), random.getrandbits(32))
    return "{}-{}-{:013x}-{:08x}-{:08x}".format(kind, int(now * 1000), *noise)
