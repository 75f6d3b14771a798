# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of each VM of a fleet: its handler's guest attribute, joined with what the API shows. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from .._vm.maintenance import (
    DEFAULT_NOTICE,
    EVENTS,
    MANUAL,
    MIGRATE,
    PREEMPT,
    TERMINATE,
    WINDOW,
    format_time,
    parse_scheduling,
    parse_time,
    window_document,
)
from .._vm.reach import Applicability, applicability, traits_of
from .errors import ComputeError, ConstraintViolated, PerimeterViolated, PermissionDenied
from .guest_attributes import FIELDS as ENABLED_FIELDS
from .guest_attributes import Attributes, is_enabled
from .handler_status import HandlerStatus, UnreadableStatus, parse_handler_status
from .host_maintenance import announced
from .instances import zone_of

FIELDS = (
    "id,status,machineType,lastStartTimestamp,guestAccelerators(acceleratorCount),"
    "confidentialInstanceConfig(enableConfidentialCompute),"
    "scheduling(onHostMaintenance,automaticRestart,preemptible,provisioningModel,preemptionNoticeDuration),"
    f"resourceStatus(upcomingMaintenance),{ENABLED_FIELDS}"
)
NAMESPACE, KEY = "maintenance-handler", "status"

# The states of a row, besides those that the handler reports.
STALE = "stale"
NO_HANDLER = "no handler"
DISABLED = "guest attributes disabled"
DENIED = "denied"
FAILED = "failed"
UNREADABLE = "unreadable"
NOT_RUNNING = "not running"

IN_SERVICE, ANNOUNCED, OUT_OF_SERVICE = ("idle",), ("announced",), ("draining", "drained", "restoring")
# Groups of states in the order of their urgency.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "attention": ("not restored", STALE, "stopped", UNREADABLE),
    "out of service": OUT_OF_SERVICE,
    "announced": ANNOUNCED,
    "no status": (NO_HANDLER, DISABLED, DENIED, FAILED),
    "in service": IN_SERVICE,
    "not running": (NOT_RUNNING,),
}
GROUP_OF = {state: group for group, states in GROUPS.items() for state in states}

# The fields of an event of the platform (of `fleet_maintenance.history`) that a row has.
HOST_EVENT = ("time", "event", "message")

# Seconds that a status may be late: a write that fails is retried after up to 5 minutes, and clocks differ.
LATE = 900.0


@dataclass(frozen=True)
class State:
    """The state of a VM, since when (epoch seconds), and why if not obvious. `in_service`: None if unknown."""

    word: str
    in_service: bool | None
    since: float | None = None
    reason: str = ""


def may_have_status(instance: Mapping[str, Any]) -> bool:
    """Whether it is worth a request: the VM runs, and guest attributes may be enabled."""
    return instance.get("status") == "RUNNING" and is_enabled(instance) is not False


def row_of(
    instance: Mapping[str, Any],
    outcome: Attributes | ComputeError | None,
    host_event: Mapping[str, Any] | None,
    now: float,
) -> dict[str, Any]:
    """The row of an instance. `outcome` is None without a request, `host_event` the last one of the platform's."""
    status, state = _status_and_state(instance, outcome, now)
    window = announced(instance)
    left = None if window is None else window.seconds_until_start(now)
    shown = {**window_document(window), "starts_in": None if left is None else int(left)}
    last = None if status is None else status.last_incident
    return {
        "name": str(instance["name"]),
        "zone": zone_of(instance),
        "instance_status": instance.get("status"),
        "machine_type": str(instance.get("machineType", "")).rpartition("/")[2],
        "group": GROUP_OF[state.word],
        "state": state.word,
        "since": format_time(state.since),
        "reason": state.reason,
        "in_service": state.in_service,
        "handler": None if status is None else status.document(),
        "next_event": _next_event(instance, _announced_to(status, state, now), window is not None, left),
        "window": None if window is None else shown,
        "last_incident": None if last is None else dict(last),
        "last_host_event": None if host_event is None else {key: host_event[key] for key in HOST_EVENT},
    }


def order(row: Mapping[str, Any]) -> tuple[int, int, str, str]:
    """By urgency, then by zone and name."""
    group = list(GROUPS).index(row["group"])
    return group, GROUPS[row["group"]].index(row["state"]), row["zone"], row["name"]


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many instances there are, in total, by service, by group and by state."""
    by_service = Counter(row["in_service"] for row in rows)
    by_group, by_state = Counter(row["group"] for row in rows), Counter(row["state"] for row in rows)
    return {
        "instances": len(rows),
        "in_service": by_service[True],
        "out_of_service": by_service[False],
        "unknown": by_service[None],
        "windows": sum(row["window"] is not None for row in rows),
        "groups": {group: by_group[group] for group in GROUPS},
        "states": {state: by_state[state] for state in GROUP_OF if by_state[state]},
    }


def _status_and_state(
    instance: Mapping[str, Any], outcome: Attributes | ComputeError | None, now: float
) -> tuple[HandlerStatus | None, State]:
    if instance.get("status") != "RUNNING":
        return None, State(NOT_RUNNING, False, reason=str(instance.get("status", "")))
    if isinstance(outcome, ComputeError):
        is_denied = isinstance(outcome, (PermissionDenied, ConstraintViolated, PerimeterViolated))
        return None, State(DENIED if is_denied else FAILED, None, reason=str(outcome))
    text = (outcome or {}).get(NAMESPACE, {}).get(KEY)
    if text is None:
        return None, State(DISABLED if is_enabled(instance) is False else NO_HANDLER, None)
    try:
        status = parse_handler_status(text)
    except UnreadableStatus as error:
        return None, State(UNREADABLE, None, reason=str(error))
    started = parse_time(instance.get("lastStartTimestamp"))
    if started is not None and status.at < started:
        return status, State(STALE, None, started, "the last report is from before the last start of the VM")
    if status.is_running and status.every is not None and now - status.at > status.every + LATE:
        return status, State(STALE, None, status.at, f"a report is due every {status.every:g} s")
    is_held = bool(status.held or status.not_restored)
    in_service = status.state not in OUT_OF_SERVICE and not is_held
    return status, State(status.state, in_service, status.at, _reason(status))


def _reason(status: HandlerStatus) -> str:
    if status.not_restored:
        return f"not restored: {', '.join(status.not_restored)}"
    rehearsal = "rehearsal of " if status.rehearsal else ""
    events = [event for event in status.events if event != MANUAL or status.order is None]
    parts = [rehearsal + ", ".join(events) if events else ""]
    parts += [_by_hand("drained", status.order), _by_hand("held", status.hold)]
    parts.append(f"drained: {', '.join(status.held)}" if status.held else "")
    return "; ".join(part for part in parts if part)


def _by_hand(what: str, order: Mapping[str, Any] | None) -> str:
    """Who has ordered it, and why."""
    if order is None:
        return ""
    return f"{what} by {order['by'] or 'an operator'}" + (f": {order['reason']}" if order["reason"] else "")


def _is_current(state: State) -> bool:
    return state.word not in (STALE, "stopped")


def _announced_to(status: HandlerStatus | None, state: State, now: float) -> dict[str, float | None]:
    """The events that the platform has announced to the handler, and how many seconds are left, None if unknown."""
    if status is None or status.rehearsal or not _is_current(state):
        return {}
    # Others, such as a drain by hand, are not announced by the platform.
    events = [event for event in status.events if event in EVENTS]
    return {event: max(0.0, status.deadlines[event] - now) if event in status.deadlines else None for event in events}


def _next_event(
    instance: Mapping[str, Any], told: Mapping[str, float | None], has_window: bool, left: float | None
) -> dict[str, Any] | None:
    """What is announced now, else an announced window, else the possible event with the shortest notice.

    `told` is from `_announced_to`, and `left` are the seconds until the window that the API shows. `notice` is in
    seconds; of an announced event, until it begins.
    """
    if instance.get("status") != "RUNNING":
        return None
    lefts = {**told, WINDOW: told.get(WINDOW) if left is None else left} if has_window else dict(told)
    if lefts:
        # A window is last, because the others are part of it, or nearer.
        event = min(lefts, key=lambda one: (one == WINDOW, inf if lefts[one] is None else lefts[one]))
        left = lefts[event]
        notice = None if left is None else int(left)
        return {"event": event, "notice": notice, "announced": True, "possible": True, "reason": "it is announced"}
    reach = _reach(instance)
    notices = {**DEFAULT_NOTICE, PREEMPT: _preemption_notice(instance)}
    # A window is not among them, because its notice is days.
    for possible in (True, None):
        for event in (PREEMPT, MIGRATE, TERMINATE):
            if reach[event].possible is possible:
                found = {"event": event, "announced": False, "possible": possible, "reason": reach[event].reason}
                return {**found, "notice": int(notices[event])}
    return None


def _reach(instance: Mapping[str, Any]) -> dict[str, Applicability]:
    raw = instance.get("scheduling", {})
    is_spot = bool(raw.get("preemptible")) or raw.get("provisioningModel") == "SPOT"
    hardware: dict[str, bool | None] = {
        "gpu": bool(instance.get("guestAccelerators")),
        "confidential_vm": bool(instance.get("confidentialInstanceConfig", {}).get("enableConfidentialCompute")),
    }
    machine_type = str(instance.get("machineType", ""))
    return applicability(machine_type, parse_scheduling(raw), traits_of(machine_type, is_spot, hardware))


def _preemption_notice(instance: Mapping[str, Any]) -> float:
    return parse_scheduling(instance.get("scheduling", {})).preemption_notice or DEFAULT_NOTICE[PREEMPT]
