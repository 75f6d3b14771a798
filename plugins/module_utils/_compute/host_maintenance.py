# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host maintenance that is asked for through the Compute API: when that is possible, and how it is done.

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

# What an operation ends in when there is no host to migrate to just now. Google's own tests of its images try again,
# too: https://github.com/GoogleCloudPlatform/cloud-image-tests
TEMPORARY = "MIGRATION_TEMPORARILY_UNAVAILABLE"

# What has to be known of an instance.
FIELDS = "status,scheduling(onHostMaintenance,preemptible,provisioningModel),resourceStatus(upcomingMaintenance)"


@dataclass(frozen=True)
class Done:
    """What was asked for has begun; and is over, if it was waited for."""

    operation: str
    # How often it had to be asked for again.
    retries: int


def announced(instance: Mapping[str, Any]) -> Window | None:
    """The window that is announced for an instance, None for none."""
    value = instance.get("resourceStatus", {}).get("upcomingMaintenance")
    if not value:
        return None
    try:
        return parse_window(value)
    except UnreadableWindow:
        # Something is announced all the same.
        return Window(start=None)


def is_spot(instance: Mapping[str, Any]) -> bool:
    scheduling = instance.get("scheduling", {})
    return bool(scheduling.get("preemptible")) or scheduling.get("provisioningModel") == "SPOT"


def effect(instance: Mapping[str, Any], action: str) -> str:
    """The event that the guest will see."""
    if instance.get("scheduling", {}).get("onHostMaintenance") == "MIGRATE":
        return MIGRATE
    return PREEMPT if action == SIMULATE and is_spot(instance) else TERMINATE


def obstacle(instance: Mapping[str, Any]) -> str | None:
    """Why nothing can be done with an instance in its state."""
    status = instance.get("status")
    return None if status == "RUNNING" else f"it is {status}, and only a running instance has a host to maintain."


def nothing_to_perform(window: Window | None) -> str | None:
    """Why there is no maintenance that could be performed now."""
    if window is None:
        return "no maintenance is announced for it."
    if window.status == "ONGOING":
        return "its maintenance is already going on."
    if not window.can_reschedule:
        when = f", and begins between {_interval(window)}" if window.start is not None else ""
        return f"its maintenance cannot be rescheduled (canReschedule is not true){when}."
    return None


def maintain(api: ComputeApi, instance: Mapping[str, Any], action: str, *, deadline: float, wait: bool = True) -> Done:
    """Ask for it, again if it is unavailable for the time being, and wait until it is over. Raises ComputeError."""
    api = api.until(deadline)
    path, verb = path_of(instance), _VERBS[action]
    pauses, retries = backoff(api.random), 0
    while True:
        operation = api.write("POST", f"{path}/{_METHODS[action]}", verb, resource=path)
        done = Done(str(operation.get("name", "")), retries)
        if not wait:
            return done
        try:
            api.finish(operation, verb, path, deadline=deadline)
        except OperationError as error:
            pause = next(pauses)
            if TEMPORARY not in error.codes or api.clock() + pause >= deadline:
                raise
            api.sleep(pause)
            retries += 1
        else:
            return done


def refusal(api: ComputeApi, instance: Mapping[str, Any], action: str, why: str) -> str:
    """The sentence that a user gets, as those of the API begin."""
    return f"Cannot {_VERBS[action]} projects/{api.project}/{path_of(instance)}: {why}"


def _interval(window: Window) -> str:
    return f"{format_time(window.start)} and {format_time(window.latest_start or window.start)}"
