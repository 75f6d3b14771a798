# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An incident as others see it: in the status, which everybody can read, and in the history. Pure."""

from __future__ import annotations

from typing import Any

from .incident import Incident, Moment, Order, held, not_restored

# The part of `public` that readers rely on (`checked.fits`).
_ORDER = {"by": "str", "as_event": "str", "reason": "str", "until": "float | None"}
_HOLD = {"by": "str", "at": "float", "reason": "str", "released_by": "str", "released_at": "float | None"}
_SLOT = {
    "wanted": "bool",
    "held": "bool",
    "exceeded": "bool",
    "since": "float",
    "waiting": ["str"],
    "until": "float | None",
    "outcome": "str",
    "detail": "str",
    "holders": [{"id": "str", "reason": "str", "since": "str"}],
    "entries": [{"at": "float", "what": "str", "event": "str", "detail": "str"}],
}
_PAST = {
    "event": "str",
    "value": "str",
    "rehearsal": "bool",
    "noticed_at": "float",
    # Not written by earlier versions.
    "order?": (_ORDER, "None"),
}
PUBLIC = {
    "id": "str",
    "opened_at": "float",
    "signals": [{**_PAST, "seconds_left": "float | None"}],
    "past": [{**_PAST, "ended_at": "float", "ended_by?": "str"}],
    "steps": [
        {
            "task": "str",
            "phase": "str",
            "event": "str",
            "attempt": "int",
            "started_at": "float",
            "seconds_left": "float | None",
            "seconds": "float | None",
            "outcome": "str",
            "detail": "str",
            # Not written by earlier versions.
            "number?": "int",
            "output?": "str",
            "over?": "bool",
        }
    ],
    "skips": [{"task": "str", "reason": "str", "at": "float"}],
    "held": ["str"],
    "not_restored?": [{"task": "str", "detail": "str", "attempts": "int", "next_attempt_at": "float | None"}],
    "hold?": (_HOLD, "None"),
    "slot?": _SLOT,
    "acknowledged?": [{"task": "str", "by": "str", "at": "float"}],
}


def recorded(incident: Incident, now: Moment) -> dict[str, Any]:
    """An incident for the history: the public part, and the last line of output of each failed step."""
    shown = public(incident, now)
    steps = [{**one, "output": step.output} for one, step in zip(shown["steps"], incident.steps)]
    return {**shown, "steps": steps}


def public(incident: Incident, now: Moment) -> dict[str, Any]:
    """An incident for the status, which all users can read: no command, no environment, no output of a task."""
    return {
        "id": incident.id,
        "phase": incident.phase,
        "opened_at": incident.opened.at,
        "signals": [
            {
                "event": signal.event,
                "value": signal.value,
                "rehearsal": signal.rehearsal,
                "noticed_at": signal.noticed.at,
                "seconds_left": None if signal.deadline is None else round(signal.deadline - now.clock, 3),
                "order": order_document(signal.order, now),
            }
            for signal in incident.signals
        ],
        "past": [
            {
                "event": past.event,
                "value": past.value,
                "rehearsal": past.rehearsal,
                "noticed_at": past.noticed_at,
                "ended_at": past.ended_at,
                "cancelled": past.cancelled,
                "order": order_document(past.order, now),
                "ended_by": past.ended_by,
            }
            for past in incident.past_as_noticed
        ],
        "steps": [
            {
                "number": step.number,
                "task": step.task,
                "phase": step.phase,
                "event": step.event,
                "attempt": step.attempt,
                "started_at": step.started.at,
                "seconds_left": None if step.left is None else round(step.left, 3),
                "limit": round(step.limit, 3),
                "seconds": None if step.finished is None else round(step.finished.clock - step.started.clock, 3),
                "outcome": step.outcome,
                "detail": step.detail,
                "over": step.over,
            }
            for step in incident.steps
        ],
        "skips": [dict(vars(skip)) for skip in incident.skips],
        "held": list(held(incident)),
        "hold": incident.hold and dict(vars(incident.hold)),
        "not_restored": [
            {
                "task": step.task,
                "detail": step.detail,
                "attempts": step.attempt,
                "next_attempt_at": None if step.again_at is None else now.at + step.again_at - now.clock,
            }
            for step in not_restored(incident)
        ],
        "acknowledged": [
            {"task": step.task, "by": step.acknowledged_by, "at": step.acknowledged_at or step.started.at}
            for step in incident.steps
            if step.acknowledged_by
        ],
        **({"slot": incident.slot.public(now)} if incident.slot is not None else {}),
        "past_dropped": incident.past_dropped,
        "steps_dropped": incident.steps_dropped,
    }


def order_document(order: Order | None, now: Moment) -> dict[str, Any] | None:
    """An operator's order to drain; `until` is when it ends by itself, in epoch seconds."""
    if order is None:
        return None
    until = None if order.ends is None else round(now.at + order.ends - now.clock, 3)
    return {"by": order.by, "as_event": order.as_event, "reason": order.reason, "until": until}
