# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Scheduling resource: what instances.setScheduling changes and refuses, and a requested stop. Pure.

https://cloud.google.com/compute/docs/reference/rest/v1/instances/setScheduling
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from .errors import ApiError, invalid
from .upcoming import parse_time

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "automaticRestart": (True, False),
    "preemptible": (True, False),
    "onHostMaintenance": ("MIGRATE", "TERMINATE"),
    "provisioningModel": ("STANDARD", "SPOT", "FLEX_START", "RESERVATION_BOUND"),
    "instanceTerminationAction": ("STOP", "DELETE"),
    "hostErrorTimeoutSeconds": tuple(range(90, 331, 30)),
    "skipGuestOsShutdown": (True, False),
    "exposeHostTopology": (True, False),
}
# The value after null; fields without a default are removed.
_DEFAULTS: Mapping[str, Any] = {
    "automaticRestart": True,
    "preemptible": False,
    "onHostMaintenance": "MIGRATE",
    "provisioningModel": "STANDARD",
}
# Seconds: https://cloud.google.com/compute/docs/instances/graceful-shutdown-overview
GRACEFUL_DEFAULT, _GRACEFUL_MOST = 600, 3600
_HOUR, _DAY = 3600, 86400


class _Range(NamedTuple):
    """Seconds that a Duration can have: a multiple of `step`, from `least` to `most`."""

    least: int
    most: int
    step: int
    words: str


_DURATIONS: Mapping[str, _Range] = {
    "maxRunDuration": _Range(30, 120 * _DAY, 1, "Must be 30 seconds to 120 days."),
    "localSsdRecoveryTimeout": _Range(0, 168 * _HOUR, _HOUR, "Must be 0 to 168 hours, with hour granularity."),
    # Google documents 120 s and no limits (preview).
    "preemptionNoticeDuration": _Range(1, _HOUR, 1, "Must be 1 second to 1 hour."),
}
_OTHERS = {
    "availabilityDomain",
    "gracefulShutdown",
    "locationHint",
    "minNodeCpus",
    "nodeAffinities",
    "onInstanceStopAction",
    "protectionTier",
    "terminationTime",
}
# Terraform's provider stops or replaces the instance to change these.
_WHILE_STOPPED = {
    "preemptible",
    "provisioningModel",
    "instanceTerminationAction",
    "maxRunDuration",
    "minNodeCpus",
    "nodeAffinities",
    "terminationTime",
}


@dataclasses.dataclass(frozen=True)
class Shutdown:
    """`state` is PENDING_STOP or STOPPING, `target` STOPPED or DELETED.

    `seconds` is how long the guest may keep running from `requested_at` on, in real seconds.
    """

    state: str
    target: str
    requested_at: datetime
    seconds: float


def merged(
    current: Mapping[str, Any], body: Mapping[str, Any], *, has_accelerators: bool, is_stopped: bool, now: datetime
) -> dict[str, Any]:
    """The Scheduling resource after a request with this body. Raises ApiError."""
    wanted = dict(current)
    for field, value in body.items():
        _check(field, value)
        if field == "terminationTime" and value is not None and _termination_time(value) <= now:
            raise invalid("scheduling.terminationTime", value, "Must be in the future.")
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


def graceful_shutdown(scheduling: Mapping[str, Any]) -> float:
    """Seconds that a guest keeps running after a stop was requested; 0 if graceful shutdown is off or skipped."""
    wanted = scheduling.get("gracefulShutdown")
    if not isinstance(wanted, Mapping) or wanted.get("enabled") is not True or skips_guest_shutdown(scheduling):
        return 0.0
    return seconds_of(wanted.get("maxDuration"), GRACEFUL_DEFAULT)


def skips_guest_shutdown(scheduling: Mapping[str, Any]) -> bool:
    """Whether the VM is powered off without an ACPI signal."""
    return scheduling.get("skipGuestOsShutdown") is True


def seconds_of(duration: Any, default: float = 0.0) -> float:
    """The seconds of a Duration, `{"seconds": "600", "nanos": 0}`."""
    if not isinstance(duration, Mapping):
        return default
    return float(duration.get("seconds", default)) + float(duration.get("nanos", 0)) / 1e9


def termination_time(scheduling: Mapping[str, Any], started: datetime, speed: float = 1.0) -> datetime | None:
    """When the VM's run ends by `terminationTime` or `maxRunDuration`; None if it has no limit."""
    if "terminationTime" in scheduling:
        return _termination_time(scheduling["terminationTime"])
    if "maxRunDuration" in scheduling:
        return started + timedelta(seconds=seconds_of(scheduling["maxRunDuration"]) / speed)
    return None


def _termination_time(value: Any) -> datetime:
    try:
        return parse_time(value, "terminationTime")
    except ValueError:
        raise invalid("scheduling.terminationTime", str(value), "Must be an RFC 3339 timestamp.") from None


def _check(field: str, value: Any) -> None:
    if field not in _CHOICES and field not in _DURATIONS and field not in _OTHERS:
        why = f"Invalid JSON payload received. Unknown name '{field}' at 'scheduling': Cannot find field."
        raise ApiError(400, "invalid", why)
    if value is None:
        return
    name = f"scheduling.{field}"
    if field in _DURATIONS:
        _check_duration(name, value, _DURATIONS[field])
    if field == "gracefulShutdown":
        _check_graceful_shutdown(name, value)
    if field == "onInstanceStopAction" and not (
        isinstance(value, Mapping) and isinstance(value.get("discardLocalSsd", False), bool)
    ):
        raise invalid(name, str(value), "Must be an object with discardLocalSsd, a boolean.")
    choices = _CHOICES.get(field)
    # 1 == True in Python, but not in JSON.
    if choices and not any(value == each and type(value) is type(each) for each in choices):
        raise invalid(name, str(value), f"Must be one of {', '.join(map(str, choices))}.")


def _check_graceful_shutdown(name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not isinstance(value.get("enabled", False), bool):
        raise invalid(name, str(value), "Must be an object with enabled and maxDuration.")
    if value.get("maxDuration") is not None:
        within = _Range(1, _GRACEFUL_MOST, 1, "Must be 1 second to 1 hour.")
        _check_duration(f"{name}.maxDuration", value["maxDuration"], within)


def _check_duration(name: str, value: Any, within: _Range) -> None:
    seconds = value.get("seconds", 0) if isinstance(value, Mapping) else ""
    nanos = value.get("nanos", 0) if isinstance(value, Mapping) else 0
    # An int64 is a string in Google's JSON; a number is accepted as well.
    is_whole = not isinstance(seconds, bool) and re.fullmatch(r"[0-9]{1,12}", str(seconds)) and nanos == 0
    if not is_whole or not within.least <= int(seconds) <= within.most or int(seconds) % within.step:
        raise invalid(name, str(value), within.words)


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
    if "preemptionNoticeDuration" in wanted and not wanted["preemptible"]:
        why = "You can only set it for Spot VMs."
        raise invalid("scheduling.preemptionNoticeDuration", str(wanted["preemptionNoticeDuration"]), why)
    if "maxRunDuration" in wanted and "terminationTime" in wanted:
        why = "You can set either maxRunDuration or terminationTime."
        raise invalid("scheduling.terminationTime", str(wanted["terminationTime"]), why)
    is_limited = "maxRunDuration" in wanted or "terminationTime" in wanted
    if "instanceTerminationAction" in wanted and not wanted["preemptible"] and not is_limited:
        why = "You can only set it for Spot VMs, and with maxRunDuration or terminationTime."
        raise invalid("scheduling.instanceTerminationAction", wanted["instanceTerminationAction"], why)
