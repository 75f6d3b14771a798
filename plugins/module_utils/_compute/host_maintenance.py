# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host maintenance on demand through the Compute API: when it is possible, and how it is done.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._vm.backoff import backoff
from .._vm.machine_families import family_of
from .._vm.maintenance import (
    MIGRATE,
    PREEMPT,
    TERMINATE,
    WINDOW,
    UnreadableWindow,
    Window,
    format_time,
    parse_window,
)
from .api import FIRST_PAUSE, LONGEST_PAUSE, ComputeApi
from .errors import ComputeBadRequest, OperationError
from .instances import path_of

SIMULATE, PERFORM, REPORT_FAULTY = "simulate", "perform", "report_faulty"

_METHODS = {SIMULATE: "simulateMaintenanceEvent", PERFORM: "performMaintenance", REPORT_FAULTY: "reportHostAsFaulty"}
_VERBS = {
    SIMULATE: "simulate host maintenance of",
    PERFORM: "perform the host maintenance of",
    REPORT_FAULTY: "report as faulty the host of",
}

# The error of an operation when there is temporarily no host to migrate to. Google's tests of its images also retry:
# https://github.com/GoogleCloudPlatform/cloud-image-tests
TEMPORARY = "MIGRATION_TEMPORARILY_UNAVAILABLE"

# The fields of an instance that are read.
FIELDS = (
    "status,machineType,scheduling(onHostMaintenance,preemptible,provisioningModel),resourceStatus(upcomingMaintenance)"
)

# https://cloud.google.com/compute/docs/reference/rest/v1/instances/reportHostAsFaulty
FAULTS = ("chip_error", "performance", "silent_data_corruption", "unrecoverable_gpu_error")
IMMEDIATE, FUTURE = "immediate", "future"


@dataclass(frozen=True)
class Maintenance:
    """The maintenance of an instance or of a group of hosts: planned, or with `operation` started.

    `problem` is why it is not possible for the resource, or for part of it.
    """

    window: Window | None
    # Without a body, there is nothing to do.
    body: Mapping[str, Any] | None
    problem: str | None = None
    # What the guest of an instance sees.
    event: str | None = None
    nodes: tuple[str, ...] = ()
    operation: str | None = None
    retries: int = 0

    @property
    def changed(self) -> bool:
        return self.body is not None


def plan_instance(instance: Mapping[str, Any], action: str, report: Mapping[str, Any]) -> Maintenance:
    """`report` is the body for REPORT_FAULTY, see fault_report."""
    window = announced(instance)
    problem = nothing_to_perform(window) if action == PERFORM else None
    body = None if problem else dict(report) if action == REPORT_FAULTY else {}
    return Maintenance(window, body, problem, effect(instance, action, report))


def fault_report(disruption: str, faults: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The body of reportHostAsFaulty."""
    reasons = [
        {
            "behavior": fault["behavior"].upper(),
            **({"description": fault["description"]} if fault["description"] else {}),
        }
        for fault in faults
    ]
    return {"disruptionSchedule": disruption.upper(), "faultReasons": reasons}


def maintain(api: ComputeApi, path: str, action: str, plan: Maintenance, *, wait: bool = True) -> Maintenance:
    """Start maintenance and wait until it ends.

    While there is temporarily no host to migrate to, tries again until the client's deadline. Raises ComputeError.
    """
    verb, body = _VERBS[action], plan.body or None
    pauses, retries = backoff(FIRST_PAUSE, LONGEST_PAUSE, api.random), 0
    while True:
        operation = api.write("POST", f"{path}/{_METHODS[action]}", verb, body, resource=path)
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
        return replace(plan, operation=str(operation.get("name", "")), retries=retries)


def failure(api: ComputeApi, path: str, action: str, why: str) -> ComputeBadRequest:
    """An error in the form of the API's."""
    return ComputeBadRequest(f"Cannot {_VERBS[action]} projects/{api.project}/{path}: {why}")


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


def effect(instance: Mapping[str, Any], action: str, report: Mapping[str, Any]) -> str:
    """The event that the guest will see."""
    if action == REPORT_FAULTY:
        return WINDOW if report.get("disruptionSchedule") == FUTURE.upper() else TERMINATE
    scheduling = instance.get("scheduling", {})
    if scheduling.get("onHostMaintenance") == "MIGRATE":
        return MIGRATE
    is_spot = bool(scheduling.get("preemptible")) or scheduling.get("provisioningModel") == "SPOT"
    return PREEMPT if action == SIMULATE and is_spot else TERMINATE


def obstacle(instance: Mapping[str, Any]) -> str | None:
    """Why the instance's status does not allow maintenance, or None."""
    status = instance.get("status")
    return None if status == "RUNNING" else f"it is {status}, and only a running instance has a host."


def simulation_warning(instance: Mapping[str, Any]) -> str | None:
    """A warning if Google documents that maintenance of the machine type cannot be simulated. The API decides."""
    machine_type = path_of(instance), str(instance.get("machineType", "")).rpartition("/")[2]
    if not family_of(machine_type[1]).refuses_simulation:
        return None
    return (
        f"Google documents that maintenance cannot be simulated for the machine type {machine_type[1]} of "
        f"{machine_type[0]}."
    )


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


def _interval(window: Window) -> str:
    return f"{format_time(window.start)} and {format_time(window.latest_start or window.start)}"
