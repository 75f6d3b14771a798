# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of incidents: announced events, drained tasks, and results of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._vm.maintenance import EVENTS, MANUAL
from ..core.incident import Incident, Moment, Step, held, not_restored
from ..core.tasks import DRAIN
from ..io.metrics import Metrics

if TYPE_CHECKING:
    from ..core.slot import Entry


def show_incident(metrics: Metrics, incident: Incident | None, now: Moment) -> None:
    """Set the gauges of announced events, drained tasks and failed restores."""
    signals = incident.signals if incident else ()
    on = {(one.event, one.rehearsal) for one in signals}
    for event in (*EVENTS, MANUAL):
        for rehearsed in (False, True):
            metrics.set("event", float((event, rehearsed) in on), event=event, rehearsal=_word(rehearsed))
    metrics.clear("event_deadline_timestamp_seconds")
    for one in signals:
        if one.deadline is not None:
            at = round(now.at + one.deadline - now.clock, 3)
            of = {"event": one.event, "rehearsal": _word(one.rehearsal)}
            metrics.set("event_deadline_timestamp_seconds", at, **of)
    metrics.set("held_tasks", float(len(held(incident)) if incident else 0))
    metrics.set("not_restored_tasks", float(len(not_restored(incident)) if incident else 0))


def count_steps(metrics: Metrics, before: Incident | None, seen: Incident, closed: Incident | None) -> None:
    """Count the steps that have ended since `before`, and the incident if it is closed."""
    open_before = {one.number for one in before.steps if one.open} if before else set()
    for step in seen.steps:
        if step.number in open_before and not step.open:
            _count_step(metrics, seen, step)
    if closed is not None:
        # A closed incident has no signals left.
        first = closed.past_as_noticed[0]
        metrics.count("incidents_total", event=first.event, rehearsal=_word(first.rehearsal))


def show_slot(metrics: Metrics, incident: Incident | None) -> None:
    """Set the gauges of the fleet limit."""
    slot = incident.slot if incident is not None else None
    metrics.set("fleet_limit_waiting_tasks", float(len(slot.waiting) if slot is not None else 0))
    metrics.set("fleet_limit_slot_held", float(slot is not None and slot.is_held))


def went_ahead(before: Incident | None, seen: Incident) -> list[Entry]:
    """The entries of the slot, since `before`, about events whose tasks are drained without one."""
    known = before.slot.entries if before is not None and before.slot is not None else ()
    new = [one for one in seen.slot.entries if one not in known] if seen.slot is not None else []
    return [one for one in new if one.is_excess]


def is_rehearsed(incident: Incident, event: str | None = None) -> bool:
    """Whether an incident, or one of its events, was only a rehearsal."""
    real = [one.event for one in incident.signals if not one.rehearsal]
    real += [one.event for one in incident.past if not one.rehearsal]
    return not real if event is None else event not in real


def _count_step(metrics: Metrics, incident: Incident, step: Step) -> None:
    of = {"event": step.event, "rehearsal": _word(is_rehearsed(incident, step.event))}
    metrics.count("steps_total", phase=step.phase, outcome=step.outcome, **of)
    if step.finished is None:
        return
    seconds = step.finished.clock - step.started.clock
    metrics.add("step_seconds_total", round(seconds, 3), phase=step.phase, outcome=step.outcome, **of)
    if step.phase != DRAIN:
        return
    noticed = [one.noticed.clock for one in incident.signals if one.event == step.event]
    if noticed:
        metrics.set("last_drain_seconds", round(step.finished.clock - min(noticed), 3), **of)
    if step.deadline is not None:
        metrics.set("last_drain_notice_left_seconds", round(step.deadline - step.finished.clock, 3), **of)


def _word(value: bool) -> str:
    return "true" if value else "false"
