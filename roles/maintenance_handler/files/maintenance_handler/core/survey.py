# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A survey of an incident at one time: the condition of each task, and what it is wanted for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

from .._vm.records import dataclass
from .condition import HOLDS, REST, condition_of, own_steps
from .incident import OK, Incident, Moment, Signal, Skip, Step
from .tasks import DRAIN, RESTORE, Task

if TYPE_CHECKING:
    from .fleet_limit import FleetLimit, Gate

    # Whether a task's `when` holds for an event.
    Applies = Callable[[Task, Mapping[str, Any]], bool]


@dataclass
class Survey:
    """The condition of each task of an incident at one time."""

    own: dict[str, tuple[Step, ...]]
    condition: dict[str, str]
    trigger: dict[str, Signal]
    # The tasks that an operator holds drained.
    kept: set[str]
    skips: list[Skip]
    wake_at: list[float]
    gate: Gate | None


def surveyed(incident: Incident, now: Moment, applies: Applies, limit: FleetLimit | None) -> Survey:
    """The survey of an incident now. A task that is not to be started for an announcement is in its `skips`."""
    own = {task.name: own_steps(incident, task) for task in incident.tasks}
    condition = {task.name: condition_of(task, own[task.name]) for task in incident.tasks}
    survey = Survey(
        own=own,
        condition=condition,
        trigger={},
        kept={name for name in own if incident.is_held and waits_for_restore(incident.task(name), own[name])},
        skips=[],
        wake_at=[],
        gate=None if limit is None else limit.gate(incident, condition, now),
    )
    skipped = {(skip.task, skip.serial) for skip in incident.skips}
    confirmed = [signal for signal in incident.signals if signal.confirmed]
    soonest_first = sorted(confirmed, key=lambda one: float("inf") if one.deadline is None else one.deadline)
    survey.wake_at += [one.order.ends for one in confirmed if one.order is not None and one.order.ends is not None]
    for task in sorted(incident.tasks, key=lambda one: one.stage):
        for signal in soonest_first:
            if not signal.event_for(task) or (task.name, signal.serial) in skipped:
                continue
            due = _due(task, signal)
            if due > now.clock:
                survey.wake_at.append(due)
                continue
            reason = _reason_to_skip(task, signal, incident, survey, applies)
            if reason:
                survey.skips.append(Skip(task.name, signal.event, signal.serial, reason, now.at))
            elif task.name not in survey.trigger and _is_admitted(task, signal, due, survey):
                survey.trigger[task.name] = signal
    survey.wake_at += [] if survey.gate is None else survey.gate.wake_at()
    return survey


def waits_for_restore(task: Task, own: tuple[Step, ...]) -> bool:
    """Whether a task with these steps of its own is drained, or being drained, and has something to restore then."""
    last = own[-1:]
    return bool(last) and last[0].phase == DRAIN and (last[0].open or task.has(RESTORE))


def told(document: Mapping[str, Any], event: str) -> Mapping[str, Any]:
    """The document of an event as a task sees that runs as for this one."""
    return {**document, "name": event}


def _due(task: Task, signal: Signal) -> float:
    lead = task.lead_for(signal.event)
    if lead is None or signal.deadline is None or signal.rehearsal or signal.begun:
        return signal.noticed.clock
    return signal.deadline - lead


def _reason_to_skip(task: Task, signal: Signal, incident: Incident, survey: Survey, applies: Applies) -> str:
    if survey.condition[task.name] != REST:
        return ""
    for other in incident.tasks:
        if other.stage < task.stage and other.name in survey.trigger and survey.condition[other.name] == HOLDS:
            last = survey.own[other.name][-1]
            if last.outcome != OK and other.stops_after_failure(last.task_event):
                return f"{other.name} failed"
    return "" if applies(task, told(signal.document, signal.event_for(task))) else "when is false"


def _is_admitted(task: Task, signal: Signal, due: float, survey: Survey) -> bool:
    """Whether the fleet limit lets a task start; what is drained already does not wait."""
    is_at_rest = survey.condition[task.name] == REST
    return survey.gate is None or not is_at_rest or survey.gate.admits(task, signal, due, survey.skips)
