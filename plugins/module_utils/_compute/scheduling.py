# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance's scheduling: what changes, and what the Compute API would refuse. Pure.

Private to the collection: it may change at any time.

https://cloud.google.com/compute/docs/reference/rest/v1/instances/setScheduling
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .._vm.maintenance import format_time, parse_time
from .._vm.reach import obstacle_to_migration, traits_of
from .errors import ComputeBadRequest

HOUR, DAY = 3600, 86400
# Seconds. https://cloud.google.com/compute/docs/instances/graceful-shutdown-overview
GRACEFUL_SHUTDOWN = range(1, HOUR + 1)
HOST_ERROR_TIMEOUT = range(90, 331, 30)
LOCAL_SSD_RECOVERY = range(0, 168 * HOUR + 1, HOUR)
RUN_DURATION = range(30, 120 * DAY + 1)

# The fields of an instance that are read.
FIELDS = "status,machineType,guestAccelerators,scheduling"


@dataclass(frozen=True)
class _Field:
    """A field of the API's Scheduling resource. `default` is its value if it is not set."""

    name: str
    default: Any = None
    from_api: Callable[[Any], Any] = lambda value: value
    to_api: Callable[[Any], Any] = lambda value: value


def _seconds(duration: Mapping[str, Any]) -> int:
    return int(duration.get("seconds", 0))


def _duration(seconds: int) -> dict[str, str]:
    """64-bit numbers are strings in the API's JSON."""
    return {"seconds": str(seconds)}


def _from_graceful_shutdown(value: Mapping[str, Any]) -> dict[str, Any]:
    longest = value.get("maxDuration")
    return {
        "enabled": bool(value.get("enabled", False)),
        "max_duration": None if longest is None else _seconds(longest),
    }


def _to_graceful_shutdown(value: Mapping[str, Any]) -> dict[str, Any]:
    longest = value["max_duration"]
    return {"enabled": value["enabled"], **({} if longest is None else {"maxDuration": _duration(longest)})}


def _normal_time(value: str) -> str:
    """A time in UTC, as it is if it cannot be read."""
    return format_time(parse_time(value)) or value


# By the names of the options.
_FIELDS: Mapping[str, _Field] = {
    "on_host_maintenance": _Field("onHostMaintenance", "MIGRATE"),
    "automatic_restart": _Field("automaticRestart", True),
    "provisioning_model": _Field("provisioningModel", "STANDARD"),
    "instance_termination_action": _Field("instanceTerminationAction"),
    "host_error_timeout": _Field("hostErrorTimeoutSeconds"),
    "local_ssd_recovery_timeout": _Field("localSsdRecoveryTimeout", None, _seconds, _duration),
    "max_run_duration": _Field("maxRunDuration", None, _seconds, _duration),
    "termination_time": _Field("terminationTime", None, _normal_time),
    "graceful_shutdown": _Field(
        "gracefulShutdown", {"enabled": False, "max_duration": None}, _from_graceful_shutdown, _to_graceful_shutdown
    ),
    "preemption_notice_duration": _Field("preemptionNoticeDuration", None, _seconds, _duration),
}
# Cleared by 0 or by an empty text.
_CLEARABLE = ("host_error_timeout", "max_run_duration", "preemption_notice_duration", "termination_time")

# Terraform's provider stops the instance to change the last ones, and replaces it for the first.
_WHILE_STOPPED = ("provisioning_model", "instance_termination_action", "max_run_duration", "termination_time")


@dataclass(frozen=True)
class SchedulingChange:
    """Current and planned scheduling, by the names of the options. None is an unset field."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.changes)

    @property
    def changes(self) -> list[str]:
        return [name for name in _FIELDS if self.before[name] != self.after[name]]

    @property
    def body(self) -> dict[str, Any]:
        """The request: only differences. null clears a field."""
        return {
            _FIELDS[name].name: None if self.after[name] is None else _FIELDS[name].to_api(self.after[name])
            for name in self.changes
        }


def checked(options: Mapping[str, Any], *, now: float) -> dict[str, Any]:
    """The options that are set. Raises ComputeBadRequest for a value that the API would refuse at `now` (epoch)."""
    wanted = {name: options[name] for name in _FIELDS if options[name] is not None}
    if not wanted:
        raise ComputeBadRequest(f"There is nothing to do: give one of {', '.join(_FIELDS)}.")
    _check("host_error_timeout", wanted, HOST_ERROR_TIMEOUT, can_clear=True)
    _check("local_ssd_recovery_timeout", wanted, LOCAL_SSD_RECOVERY)
    _check("max_run_duration", wanted, RUN_DURATION, can_clear=True)
    notice = wanted.get("preemption_notice_duration", 0)
    if notice < 0:
        raise ComputeBadRequest(f"preemption_notice_duration is {notice}. Give seconds, such as 120, or 0 to clear it.")
    graceful = wanted.get("graceful_shutdown")
    if graceful is not None and graceful["max_duration"] is not None:
        _check("max_duration", graceful, GRACEFUL_SHUTDOWN, of="graceful_shutdown.")
    if wanted.get("termination_time"):
        wanted["termination_time"] = _checked_time(wanted["termination_time"], now)
    return wanted


def _check(name: str, values: Mapping[str, Any], allowed: range, *, can_clear: bool = False, of: str = "") -> None:
    value = values.get(name)
    if value is None or value in allowed or (can_clear and value == 0):
        return
    steps = f" in steps of {allowed.step}" if allowed.step > 1 else ""
    clear = ", and 0 to clear it" if can_clear else ""
    raise ComputeBadRequest(
        f"{of}{name} is {value}, but the API takes {allowed[0]} to {allowed[-1]} seconds{steps}{clear}."
    )


def _checked_time(text: str, now: float) -> str:
    when = parse_time(text)
    if when is None:
        raise ComputeBadRequest(
            f"termination_time is {text!r}. Give a time in RFC 3339, such as 2027-01-31T22:00:00Z, or an empty text to "
            "clear it."
        )
    if when <= now:
        raise ComputeBadRequest(f"termination_time is {text}, which is in the past.")
    return str(format_time(when))


def plan(instance: Mapping[str, Any], wanted: Mapping[str, Any]) -> SchedulingChange:
    scheduling = instance.get("scheduling", {})
    before = {
        name: field.default if scheduling.get(field.name) is None else field.from_api(scheduling[field.name])
        for name, field in _FIELDS.items()
    }
    after = {**before, **wanted}
    for name in _CLEARABLE:
        after[name] = after[name] or None
    if wanted.get("graceful_shutdown"):
        # What is not given stays, such as the longest duration.
        given = {name: value for name, value in wanted["graceful_shutdown"].items() if value is not None}
        after["graceful_shutdown"] = {**before["graceful_shutdown"], **given}
    # Fields that depend on another one are cleared with it.
    if "instance_termination_action" not in wanted and not _allows_termination_action(after):
        after["instance_termination_action"] = None
    if "preemption_notice_duration" not in wanted and after["provisioning_model"] != "SPOT":
        after["preemption_notice_duration"] = None
    return SchedulingChange(before, after)


def refusals(instance: Mapping[str, Any], change: SchedulingChange) -> list[str]:
    """Why the API would refuse the change: sentences with a remedy."""
    if not change.changed:
        return []
    after, found = change.after, []
    is_spot = after["provisioning_model"] == "SPOT"
    if is_spot and after["automatic_restart"]:
        found.append("A Spot VM is not restarted automatically. Set automatic_restart=false.")
    reason = _obstacle_to_migration(instance, change)
    if reason:
        found.append(f"{reason[:1].upper()}{reason[1:]}. Set on_host_maintenance=TERMINATE.")
    if after["instance_termination_action"] and not _allows_termination_action(after):
        found.append(
            "instance_termination_action applies only to Spot VMs, and with max_run_duration or termination_time. Omit "
            "it, or set one of these."
        )
    if after["preemption_notice_duration"] and not is_spot:
        found.append("preemption_notice_duration applies only to Spot VMs. Omit it, or set provisioning_model=SPOT.")
    if after["max_run_duration"] and after["termination_time"]:
        found.append(
            "max_run_duration and termination_time exclude each other. Clear one of them, with max_run_duration=0 or "
            "an empty termination_time."
        )
    fixed = [name for name in change.changes if name in _WHILE_STOPPED]
    if fixed and instance.get("status") != "TERMINATED":
        found.append(
            f"To change {' and '.join(fixed)}, the instance has to be stopped, and it is {instance.get('status')}. "
            "Stop it first."
        )
    return found


def _obstacle_to_migration(instance: Mapping[str, Any], change: SchedulingChange) -> str:
    """Why the instance can never be migrated by Google's documentation. The rest is left to the API."""
    if change.after["on_host_maintenance"] != "MIGRATE":
        return ""
    if not {"on_host_maintenance", "provisioning_model"}.intersection(change.changes):
        # Its current policy takes precedence over any table.
        return ""
    machine_type = str(instance.get("machineType", ""))
    is_spot = change.after["provisioning_model"] == "SPOT"
    traits = traits_of(machine_type, is_spot, {"gpu": bool(instance.get("guestAccelerators"))})
    return obstacle_to_migration(machine_type, traits)


def _allows_termination_action(scheduling: Mapping[str, Any]) -> bool:
    is_limited = scheduling["max_run_duration"] or scheduling["termination_time"]
    return scheduling["provisioning_model"] == "SPOT" or bool(is_limited)
