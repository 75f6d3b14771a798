# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a maintenance handler's status means for rolling maintenance: is the VM well, and what was begun on it. Pure.

Private to the collection: it may change at any time.

The verdict counts, not only the state: a handler that is idle can be unhealthy, because a restore failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.gce.guest.plugins.module_utils._vm.drains import standing_drains, unsuccessful

# The start of the reason of each drain. It is how a later run recognizes the VMs of an earlier one.
MARK = "gce.guest.rolling_maintenance"
# In these states, nothing is drained.
RESTED = ("idle", "announced")


@dataclass(frozen=True)
class Verdict:
    """The state of a VM by its handler. `problem` says why the handler did not answer; the rest is unknown then.

    `drained_by` and `drained_for` are the user and the reason of a drain by hand, None without one. `events` are the
    other events of the open incident, `reasons` those of its past drains by hand. `incidents` are the open one, which
    an announced window keeps open for days, and the last one, as far as there are any.
    """

    problem: str = ""
    running: bool = False
    healthy: bool = False
    state: str = "unknown"
    problems: tuple[str, ...] = ()
    drained_by: str | None = None
    drained_for: str | None = None
    events: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    not_restored: tuple[str, ...] = ()
    drain_failed: bool = False
    incidents: Sequence[Mapping[str, Any]] = ()

    def unrest(self) -> str:
        """Why the VM is not well, or not at rest. Empty if it is."""
        if self.problem:
            return self.problem
        if self.not_restored:
            return f"not restored: {', '.join(self.not_restored)}"
        if self.drained_by is not None:
            why = f": {self.drained_for}" if self.drained_for else ""
            return f"drained by {self.drained_by}{why}"
        if not self.healthy:
            return f"its maintenance handler is not well: {'; '.join(self.problems)}"
        if self.state not in RESTED:
            return f"its maintenance handler is {self.state}" + (f", {', '.join(self.events)}" if self.events else "")
        return ""

    def is_over(self) -> bool:
        """Whether the handler runs, and no event is left but a drain by hand and windows, which can be days ahead."""
        return self.running and not [event for event in self.events if event != "window"]

    def was_done(self, reason: str, since: float) -> bool:
        """Whether a drain for this reason has ended well since then (epoch seconds)."""
        return any(
            one["reason"] == reason and one["ended_by"] and one["ended_at"] >= since and not one["drain_failed"]
            for incident in self.incidents
            if not incident.get("acknowledged")
            for one in _past_orders(incident)
        )

    def seconds(self) -> float | None:
        """How long the last rolling maintenance of the VM took, from drained to restored."""
        for incident in self.incidents:
            orders = [one for one in _past_orders(incident) if one["reason"].startswith(MARK)]
            if orders and not orders[-1]["drain_failed"]:
                ends = [step["started_at"] + (step["seconds"] or 0) for step in incident.get("steps", ())]
                began = float(orders[-1]["noticed_at"])
                return float(max([*ends, began])) - began
        return None


def verdict_of(result: Mapping[str, Any]) -> Verdict:
    """From the result of `gce-maintenance-handler status --json`, run by ansible.builtin.command."""
    if result.get("unreachable"):
        return Verdict(f"the VM does not answer: {_line(result.get('msg'))}")
    try:
        status = json.loads(result.get("stdout") or "")
        return _verdict(status)
    except (ValueError, TypeError, KeyError, AttributeError):
        said = _line(result.get("stderr") or result.get("msg") or result.get("stdout"))
        return Verdict(f"its maintenance handler does not show its status: {said}")


def reason_of(action: str, note: str) -> str:
    """The reason of the drains of one rolling maintenance."""
    return f"{MARK}: {action}" + (f", {note}" if note else "")


def is_of(action: str, reason: str) -> bool:
    """Whether a drain for this reason is of rolling maintenance with this action, with any note."""
    return reason == reason_of(action, "") or reason.startswith(f"{reason_of(action, '')}, ")


def _verdict(status: Mapping[str, Any]) -> Verdict:
    incident = status["incident"] or {}
    order = next((one["order"] for one in incident.get("signals", ()) if one.get("order")), None)
    return Verdict(
        running=bool(status["running"]),
        healthy=bool(status["healthy"]),
        state=str(status["state"]),
        problems=tuple(map(str, status["problems"])),
        drained_by=None if order is None else str(order["by"]),
        drained_for=None if order is None else str(order["reason"]),
        events=tuple(str(one["event"]) for one in incident.get("signals", ()) if not one.get("order")),
        reasons=tuple(one["reason"] for one in _past_orders(incident)),
        not_restored=tuple(
            f"{one['task']} ({one['detail']})" if one["detail"] else str(one["task"])
            for one in incident.get("not_restored", ())
        ),
        drain_failed=_has_failed_drain(incident.get("steps", ())),
        incidents=tuple(one for one in (status["incident"], status.get("last_incident")) if one),
    )


def _past_orders(incident: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The past drains by hand of an incident.

    Each has `reason`, `noticed_at`, `ended_at`, `ended_by` (empty if its time was over), and `drain_failed`, whether a
    task was not drained when it ended.
    """
    for past in incident.get("past", ()):
        if past.get("order"):
            ended_at = float(past["ended_at"])
            yield {
                "reason": str(past["order"]["reason"]),
                "noticed_at": float(past["noticed_at"]),
                "ended_at": ended_at,
                "ended_by": past.get("ended_by", ""),
                "drain_failed": _has_failed_drain(
                    step for step in incident.get("steps", ()) if step["started_at"] < ended_at
                ),
            }


def _has_failed_drain(steps: Iterable[Mapping[str, Any]]) -> bool:
    return bool(unsuccessful(standing_drains(steps)))


def _line(text: Any) -> str:
    return " ".join(str(text or "it printed nothing").split())[:300]
