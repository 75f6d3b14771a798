# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What instances.setScheduling makes of an instance's scheduling, and what it refuses. Pure.

https://cloud.google.com/compute/docs/reference/rest/v1/instances/setScheduling
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .errors import ApiError, invalid

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "automaticRestart": (True, False),
    "preemptible": (True, False),
    "onHostMaintenance": ("MIGRATE", "TERMINATE"),
    "provisioningModel": ("STANDARD", "SPOT", "FLEX_START", "RESERVATION_BOUND"),
    "instanceTerminationAction": ("STOP", "DELETE"),
    "hostErrorTimeoutSeconds": tuple(range(90, 331, 30)),
}
# What a null takes a field back to, where that is something.
_DEFAULTS: Mapping[str, Any] = {
    "automaticRestart": True,
    "preemptible": False,
    "onHostMaintenance": "MIGRATE",
    "provisioningModel": "STANDARD",
}
# Seconds: https://cloud.google.com/compute/docs/instances/graceful-shutdown-overview
_GRACEFUL_DEFAULT, _GRACEFUL_MOST = 600, 3600
_OTHERS = {
    "availabilityDomain",
    "gracefulShutdown",
    "localSsdRecoveryTimeout",
    "locationHint",
    "maxRunDuration",
    "minNodeCpus",
    "nodeAffinities",
    "onInstanceStopAction",
    "skipGuestOsShutdown",
    "terminationTime",
}
# Terraform's provider stops the instance for some of these, and replaces it for others.
_WHILE_STOPPED = {
    "preemptible",
    "provisioningModel",
    "instanceTerminationAction",
    "maxRunDuration",
    "minNodeCpus",
    "nodeAffinities",
    "terminationTime",
}


def merged(
    current: Mapping[str, Any], body: Mapping[str, Any], *, has_accelerators: bool, is_stopped: bool
) -> dict[str, Any]:
    """The Scheduling resource after a request with this body; raises ApiError."""
    wanted = dict(current)
    for field, value in body.items():
        _check(field, value)
        if value is None:
            wanted.pop(field, None)
            wanted.update({field: _DEFAULTS[field]} if field in _DEFAULTS else {})
        else:
            wanted[field] = value
    if "provisioningModel" in body and "preemptible" not in body:
        wanted["preemptible"] = wanted["provisioningModel"] == "SPOT"
    _refuse_combinations(wanted, has_accelerators)
    if not is_stopped:
        for field in sorted(_WHILE_STOPPED):
            if wanted.get(field) != current.get(field):
                raise ApiError(
                    400, "failedPrecondition", f"Field 'scheduling.{field}' can only be changed on a stopped instance."
                )
    return wanted


def graceful_shutdown(current: Mapping[str, Any]) -> float:
    """Seconds that a guest is left running when its stop is asked for; 0 where that is not enabled."""
    wanted = current.get("gracefulShutdown")
    if not isinstance(wanted, Mapping) or wanted.get("enabled") is not True:
        return 0.0
    return float((wanted.get("maxDuration") or {}).get("seconds", _GRACEFUL_DEFAULT))


def _check_graceful_shutdown(value: Any) -> None:
    field = "scheduling.gracefulShutdown"
    if not isinstance(value, Mapping) or not isinstance(value.get("enabled", False), bool):
        raise invalid(field, str(value), "Must be an object with enabled and maxDuration.")
    duration = value.get("maxDuration") or {}
    seconds = duration.get("seconds", _GRACEFUL_DEFAULT) if isinstance(duration, Mapping) else duration
    if not re.fullmatch(r"[0-9]{1,4}", str(seconds)) or not 1 <= int(seconds) <= _GRACEFUL_MOST:
        raise invalid(f"{field}.maxDuration", str(duration), "Must be 1 second to 1 hour.")


def _check(field: str, value: Any) -> None:
    if field not in _CHOICES and field not in _OTHERS:
        why = f"Invalid JSON payload received. Unknown name '{field}' at 'scheduling': Cannot find field."
        raise ApiError(400, "invalid", why)
    if field == "gracefulShutdown" and value is not None:
        _check_graceful_shutdown(value)
    choices = _CHOICES.get(field)
    # 1 == True, but is no boolean of JSON.
    if choices and value is not None and not any(value == each and type(value) is type(each) for each in choices):
        raise invalid(f"scheduling.{field}", str(value), f"Must be one of {', '.join(map(str, choices))}.")


def _refuse_combinations(wanted: Mapping[str, Any], has_accelerators: bool) -> None:
    migrates = wanted["onHostMaintenance"] == "MIGRATE"
    if wanted["preemptible"]:
        if wanted["automaticRestart"]:
            why = "Scheduling must have preemptible be false when AutomaticRestart is true."
            raise invalid("scheduling.preemptible", "true", why)
        if migrates:
            why = "Scheduling must have preemptible be false when OnHostMaintenance isn't TERMINATE."
            raise invalid("scheduling.preemptible", "true", why)
    if has_accelerators and migrates:
        raise ApiError(400, "badRequest", "Instances with guest accelerators do not support live migration.")
    is_limited = "maxRunDuration" in wanted or "terminationTime" in wanted
    if "instanceTerminationAction" in wanted and not wanted["preemptible"] and not is_limited:
        why = "You can only set it for Spot VMs, and with maxRunDuration or terminationTime."
        raise invalid("scheduling.instanceTerminationAction", wanted["instanceTerminationAction"], why)
