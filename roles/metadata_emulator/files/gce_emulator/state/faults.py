# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Injected faults: which requests they hit, and how long or how often."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Mapping
from typing import Any, Callable

from .clock import Clock, Timer

METADATA_KINDS = {
    "503": "answers 503",
    "429": "answers 429",
    "reset": "resets the connection instead of an answer",
    "refuse": "closes the listening socket and every connection, so that connecting is refused",
    "hang": "never answers, as over a half-open connection",
    "html": "answers 200 with an HTML page and without Metadata-Flavor",
    "truncate": "ends the connection in the middle of the body",
    "garbage": "answers with bytes that are not HTTP",
    "dribble": "sends the answer a byte at a time, `delay` seconds apart",
    "etag-flap": "changes the etag with each answer, and answers hanging GETs at once",
    "delay": "answers `delay` seconds late",
}
COMPUTE_KINDS = {
    "503": "answers 503 backendError",
    "429": "answers 429",
    "rate-limit": "answers 403 rateLimitExceeded",
    "reset": "resets the connection instead of an answer",
    "lost-answer": "serves the request, but resets the connection instead of answering",
    "hang": "never answers",
    "html": "answers 502 with an HTML page",
    "delay": "answers `delay` seconds late",
    "conflict": "refuses a write of metadata with 412 conditionNotMet",
    "operation-conflict": "fails the operation of a write of metadata with CONDITION_NOT_MET",
    "operation-error": "fails the operation of maintenance with MIGRATION_TEMPORARILY_UNAVAILABLE, and that of a "
    "change of a load balancer's group with RESOURCE_NOT_READY",
    "propagation-delay": "delays what guests see of a write of metadata by `delay` seconds",
    "unreachable": "leaves `zone` (without it, all zones) out of an aggregated list, with a warning",
    "unauthenticated": "answers 401, as for an expired token",
    "forbidden": "answers 403 and names the missing permission; `permission` restricts it to one, such as "
    "compute.instances.setMetadata, which testIamPermissions then denies as well",
    "disabled": "answers 403 accessNotConfigured: the API is not enabled in the project",
    "quota": "answers 403 quotaExceeded",
    "constraint": "answers 412: an organization policy forbids access to guest attributes",
}
KINDS: Mapping[str, Mapping[str, str]] = {"metadata": METADATA_KINDS, "compute": COMPUTE_KINDS}


@dataclasses.dataclass
class Fault:
    """A fault for `count` requests, for `seconds` of real time, or until it is removed. `Faults.inject` sets `id`."""

    kind: str
    face: str = "metadata"
    instance: str | None = None
    path: str | None = None
    count: int | None = None
    seconds: float | None = None
    delay: float = 1.0
    zone: str | None = None
    permission: str | None = None
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def hits(self, face: str, instance: str | None, path: str, permission: str = "") -> bool:
        return (
            self.face == face
            and self.permission in (None, permission)
            and self.instance in (None, instance)
            and (self.path is None or path.strip("/").startswith(self.path.strip("/")))
        )


class Faults:
    """Faults in the order of their injection. The first that matches a request hits it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults: dict[str, Fault] = {}
        self._timers: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a fault begins or ends."""
        self._listeners.append(listener)

    def inject(self, fault: Fault) -> Fault:
        """Begin to apply a fault, under a new id."""
        fault.id = str(next(self._numbers))
        self._faults[fault.id] = fault
        if fault.seconds is not None:
            # The client's time is real, whatever the speed of the platform's clock.
            seconds = fault.seconds * self._clock.speed
            self._timers[fault.id] = self._clock.call_later(seconds, self.remove, fault.id)
        self._notify()
        return fault

    def all(self) -> list[Fault]:
        return list(self._faults.values())

    def get(self, fault_id: str) -> Fault | None:
        return self._faults.get(fault_id)

    def active(self, kind: str, face: str, instance: str | None, path: str = "") -> bool:
        """Whether there is a fault of this kind, without counting a request."""
        return any(fault.kind == kind and fault.hits(face, instance, path) for fault in self._faults.values())

    def take(
        self,
        face: str,
        instance: str | None,
        path: str,
        kinds: Collection[str] | None = None,
        permission: str = "",
    ) -> Fault | None:
        """The fault that hits this request, or None; counts the request. `path` is below /compute(Metadata)/v1/.

        `kinds` restricts the kinds of faults, for requests that are checked at more than one point. `permission` is
        what the request needs.
        """
        for fault in self._faults.values():
            if fault.kind == "refuse" or (kinds is not None and fault.kind not in kinds):
                continue
            if fault.hits(face, instance, path, permission):
                if fault.count is not None:
                    fault.count -= 1
                    if fault.count <= 0:
                        self.remove(fault.id)
                return fault
        return None

    def remove(self, fault_id: str) -> bool:
        timer: Timer | None = self._timers.pop(fault_id, None)
        if timer is not None:
            timer.cancel()
        removed = self._faults.pop(fault_id, None) is not None
        if removed:
            self._notify()
        return removed

    def clear(self) -> None:
        for fault_id in list(self._faults):
            self.remove(fault_id)

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()
