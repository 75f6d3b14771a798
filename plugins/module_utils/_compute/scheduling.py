# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance's scheduling: what is to change, and what the Compute API would refuse. Pure.

Private to the collection: it may change at any time.

https://cloud.google.com/compute/docs/reference/rest/v1/instances/setScheduling
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._vm.reach import obstacle_to_migration, traits_of
from .errors import ComputeBadRequest

# The names of the options, and the API's for them.
_FIELDS = {
    "on_host_maintenance": "onHostMaintenance",
    "automatic_restart": "automaticRestart",
    "provisioning_model": "provisioningModel",
    "instance_termination_action": "instanceTerminationAction",
    "host_error_timeout": "hostErrorTimeoutSeconds",
    "local_ssd_recovery_timeout": "localSsdRecoveryTimeout",
    "max_run_duration": "maxRunDuration",
}
_DURATIONS = ("local_ssd_recovery_timeout", "max_run_duration")
# For which 0 means that there is none.
_REMOVED_BY_ZERO = ("host_error_timeout", "max_run_duration")
_DEFAULTS = {"on_host_maintenance": "MIGRATE", "automatic_restart": True, "provisioning_model": "STANDARD"}

# Terraform's provider stops the instance to change the last of these, and replaces it for the first.
_WHILE_STOPPED = ("provisioning_model", "instance_termination_action", "max_run_duration")

HOST_ERROR_TIMEOUTS = range(90, 331, 30)
LONGEST_RECOVERY = 168 * 3600
RUN_DURATIONS = (30, 120 * 86400)

# What has to be known of an instance.
FIELDS = "status,machineType,guestAccelerators,scheduling"


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
        return {_FIELDS[name]: _to_api(name, self.after[name]) for name in self.changes}


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are given; raises ComputeBadRequest for a value that the API would refuse."""
    wanted = {name: options[name] for name in _FIELDS if options[name] is not None}
    if not wanted:
        raise ComputeBadRequest(f"There is nothing to do: give one of {', '.join(_FIELDS)}.")
    timeout = wanted.get("host_error_timeout", 0)
    if timeout and timeout not in HOST_ERROR_TIMEOUTS:
        raise ComputeBadRequest(
            f"host_error_timeout is {timeout}, but the API takes {HOST_ERROR_TIMEOUTS[0]} to {HOST_ERROR_TIMEOUTS[-1]} "
            f"seconds in steps of {HOST_ERROR_TIMEOUTS.step}, and 0 to have none set."
        )
    recovery = wanted.get("local_ssd_recovery_timeout", 0)
    if not 0 <= recovery <= LONGEST_RECOVERY:
        raise ComputeBadRequest(
            f"local_ssd_recovery_timeout is {recovery}, but the API takes 0 to {LONGEST_RECOVERY} seconds (168 hours)."
        )
    shortest, longest = RUN_DURATIONS
    duration = wanted.get("max_run_duration", 0)
    if duration and not shortest <= duration <= longest:
        raise ComputeBadRequest(
            f"max_run_duration is {duration}, but the API takes {shortest} to {longest} seconds (120 days), and 0 to "
            "have none set."
        )
    return wanted


def plan(instance: Mapping[str, Any], wanted: Mapping[str, Any]) -> SchedulingChange:
    scheduling = instance.get("scheduling", {})
    before = {name: _from_api(name, scheduling.get(field)) for name, field in _FIELDS.items()}
    after = {**before, **wanted}
    for name in _REMOVED_BY_ZERO:
        after[name] = after[name] or None
    if "instance_termination_action" not in wanted and not _takes_termination_action(after):
        # It came with what is taken away, and goes with it.
        after["instance_termination_action"] = None
    return SchedulingChange(before, after)


def refusals(instance: Mapping[str, Any], change: SchedulingChange) -> list[str]:
    """Why the API would refuse the plan, each as a sentence with what to do."""
    if not change.changed:
        return []
    after, found = change.after, []
    if after["provisioning_model"] == "SPOT" and after["automatic_restart"]:
        found.append("A Spot VM is not restarted automatically. Set automatic_restart=false.")
    reason = _obstacle_to_migration(instance, change)
    if reason:
        found.append(f"{reason[:1].upper()}{reason[1:]}. Set on_host_maintenance=TERMINATE.")
    if after["instance_termination_action"] and not _takes_termination_action(after):
        found.append(
            "An instance_termination_action is for Spot VMs, and for a max_run_duration. Leave it out, or set one of "
            "these."
        )
    fixed = [name for name in change.changes if name in _WHILE_STOPPED]
    if fixed and instance.get("status") != "TERMINATED":
        found.append(
            f"To change {' and '.join(fixed)}, the instance has to be stopped, and it is {instance.get('status')}. "
            "Stop it first."
        )
    return found


def _obstacle_to_migration(instance: Mapping[str, Any], change: SchedulingChange) -> str:
    """Why the instance is documented never to be migrated. What is not documented, the API decides."""
    if change.after["on_host_maintenance"] != "MIGRATE":
        return ""
    if not {"on_host_maintenance", "provisioning_model"}.intersection(change.changes):
        # It has this policy, whatever tables say.
        return ""
    machine_type = str(instance.get("machineType", ""))
    is_spot = change.after["provisioning_model"] == "SPOT"
    traits = traits_of(machine_type, is_spot, {"gpu": bool(instance.get("guestAccelerators"))})
    return obstacle_to_migration(machine_type, traits)


def _takes_termination_action(scheduling: Mapping[str, Any]) -> bool:
    return scheduling["provisioning_model"] == "SPOT" or bool(scheduling["max_run_duration"])


def _from_api(name: str, value: Any) -> Any:
    if value is None:
        return _DEFAULTS.get(name)
    # 64-bit numbers are strings in the API's JSON.
    return int(value["seconds"]) if name in _DURATIONS else value


def _to_api(name: str, value: Any) -> Any:
    return {"seconds": str(value)} if name in _DURATIONS and value is not None else value
