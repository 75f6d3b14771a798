# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host maintenance on demand through the Compute API: when it is possible, and how it is done.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._vm.maintenance import MIGRATE, PREEMPT, TERMINATE, UnreadableWindow, Window, format_time, parse_window
from .api import ComputeApi, backoff
from .errors import OperationError
from .instances import path_of

SIMULATE, PERFORM = "simulate", "perform"

_METHODS = {SIMULATE: "simulateMaintenanceEvent", PERFORM: "performMaintenance"}
_VERBS = {SIMULATE: "simulate host maintenance of", PERFORM: "perform the host maintenance of"}

# The error of an operation when there is temporarily no host to migrate to. Google's tests of its images also retry:
# https://github.com/GoogleCloudPlatform/cloud-image-tests
TEMPORARY = "MIGRATION_TEMPORARILY_UNAVAILABLE"

# The fields of an instance that are read.
FIELDS = "status,scheduling(onHostMaintenance,preemptible,provisioningModel),resourceStatus(upcomingMaintenance)"


@dataclass(frozen=True)
class Maintenance:
    """The maintenance of an instance: planned, and with `operation` started, or finished if it was waited for."""

    event: str
    window: Window | None
    # Why the instance is left alone.
    skipped: str | None = None
    operation: str | None = None
    # How often it was tried again.
    retries: int = 0

    @property
    def changed(self) -> bool:
        return self.skipped is None


def announced(instance: Mapping[str, Any]) -> Window | None:
    """The announced window of an instance, or None."""
    return window_of(instance.get("resourceStatus", {}).get("upcomingMaintenance"))


def window_of(value: Any) -> Window | None:
    """The window in an UpcomingMaintenance, or None."""
    if not value:
        return None
    try:
        return parse_window(value)
    except UnreadableWindow:
        # It is announced, even if its time is unknown.
        return Window(start=None)


def group_maintenance(summary: Mapping[str, Any] | None) -> Window | None:
    """The window in the GroupMaintenanceInfo of a reservation, a block or a sub-block, or None.

    If hosts are maintained independently, there are only counts, and the window has no times.
    """
    if not summary:
        return None
    window = window_of(summary.get("upcomingGroupMaintenance"))
    if window is not None:
        return window
    for status, word in (("ONGOING", "Ongoing"), ("PENDING", "Pending")):
        names = (f"maintenance{word}Count", f"instanceMaintenance{word}Count", f"subblockInfraMaintenance{word}Count")
        if any(int(summary.get(name, 0)) > 0 for name in names):
            return Window(start=None, status=status)
    return None


def is_spot(instance: Mapping[str, Any]) -> bool:
    scheduling = instance.get("scheduling", {})
    return bool(scheduling.get("preemptible")) or scheduling.get("provisioningModel") == "SPOT"


def effect(instance: Mapping[str, Any], action: str) -> str:
    """The event that the guest will see."""
    if instance.get("scheduling", {}).get("onHostMaintenance") == "MIGRATE":
        return MIGRATE
    return PREEMPT if action == SIMULATE and is_spot(instance) else TERMINATE


def obstacle(instance: Mapping[str, Any]) -> str | None:
    """Why the instance's status does not allow maintenance, or None."""
    status = instance.get("status")
    return None if status == "RUNNING" else f"it is {status}, and only a running instance has a host."


def nothing_to_perform(window: Window | None) -> str | None:
    """Why no maintenance can be performed now, or None."""
    if window is None:
        return "no maintenance is announced for it."
    if window.status == "ONGOING":
        return "its maintenance is already in progress."
    if not window.can_reschedule:
        when = f", and starts between {_interval(window)}" if window.start is not None else ""
        return f"its maintenance cannot be rescheduled (canReschedule is not true){when}."
    return None


def maintain(api: ComputeApi, instance: Mapping[str, Any], action: str, *, wait: bool = True) -> tuple[str, int]:
    """Start maintenance and wait until it ends; the operation's name and the number of retries.

    While there is temporarily no host to migrate to, tries again until the client's deadline. Raises ComputeError.
    """
    path, verb = path_of(instance), _VERBS[action]
    pauses, retries = backoff(api.random), 0
    while True:
        operation = api.write("POST", f"{path}/{_METHODS[action]}", verb, resource=path)
        if wait:
            try:
                api.finish(operation, verb, path)
            except OperationError as error:
                pause = next(pauses)
                if TEMPORARY not in error.codes or api.clock() + pause >= api.deadline:
                    raise
                api.sleep(pause)
                retries += 1
                continue
        return str(operation.get("name", "")), retries


def refusal(api: ComputeApi, instance: Mapping[str, Any], action: str, why: str) -> str:
    """An error message in the form of the API's."""
    return f"Cannot {_VERBS[action]} projects/{api.project}/{path_of(instance)}: {why}"


def _interval(window: Window) -> str:
    return f"{format_time(window.start)} and {format_time(window.latest_start or window.start)}"
