# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incident's state machine: (state, observation, now) -> (state, actions). Pure.

The rules, each once:

- A task is wanted while an event it is for is on and due. What is wanted and was not started is drained, lowest stage
  first. What was started and is no longer wanted is restored, highest stage first, once nothing is left to drain.
- A step that was interrupted, or ended early, is run again if the task is still wanted; else the task is restored. So
  is a restore that was interrupted. A finished step is never run again.
- The nearest deadline of all events that are on holds for everything that drains. If what is left does not suffice for
  all stages, each gets its part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .condition import (
    HOLDS,
    REST,
    RETRY_PAUSE,
    RUNS_DRAIN,
    RUNS_RESTORE,
    condition_of,
    own_steps,
    retrying,
    time_to_retry,
)
from .incident import ANNOUNCED, DRAINED, DRAINING, OK, RESTORING, Incident, Moment, Signal, Skip, Step
from .observations import Observation, Reconfigured, observed, without_signal
from .plan import fraction
from .tasks import DRAIN, RESTORE, STOP, Task

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable

    # Whether a task's `when` holds for an event.
    Applies = Callable[[Task, Mapping[str, Any]], bool]

# What is kept free before a deadline, so that nothing of ours is still running when the event comes.
RESERVE_SHARE = 0.05
RESERVE_MOST = 1.0

# Less than this is rounding, not a deadline that moved.
_TOLERANCE = 0.05


class Action:
    """What is to be done."""


@dataclass(frozen=True)
class Start(Action):
    """Run a step's command. The step is in the state already: write that down first."""

    step: Step
    task: Task
    event: Mapping[str, Any]


@dataclass(frozen=True)
class Limit(Action):
    """A running step has less time than it was given: end it by `until`."""

    number: int
    until: float


@dataclass(frozen=True)
class End(Action):
    """End a running step now."""

    number: int


@dataclass(frozen=True)
class Close(Action):
    """The incident is over; this is the last of it."""

    incident: Incident


@dataclass(frozen=True)
class State:
    """The configured tasks, and the incident there is, if any. `wake_at` is when (on the clock) time alone matters."""

    tasks: tuple[Task, ...]
    incident: Incident | None = None
    wake_at: float | None = None


def step(state: State, observation: Observation, now: Moment, applies: Applies) -> tuple[State, list[Action]]:
    """What an observation makes of the state, and what is to be done about it."""
    tasks = observation.tasks if isinstance(observation, Reconfigured) else state.tasks
    incident = observed(state.incident, tasks, observation, now)
    if incident is None:
        return State(tasks), []
    incident, wake_at, actions = _advanced(incident, now, applies)
    if actions and isinstance(actions[-1], Close):
        return State(tasks), actions
    return State(tasks, incident, wake_at), actions


@dataclass
class _Survey:
    """Where each task of an incident stands at one moment."""

    own: dict[str, tuple[Step, ...]]
    condition: dict[str, str]
    trigger: dict[str, Signal]
    skips: list[Skip]
    wake_at: list[float]


def _advanced(incident: Incident, now: Moment, applies: Applies) -> tuple[Incident, float | None, list[Action]]:
    survey = _surveyed(incident, now, applies)
    incident = replace(incident, skips=(*incident.skips, *survey.skips))
    actions: list[Action] = []
    incident = _end_unwanted(incident, survey, actions)
    to_drain = [task for task in incident.tasks if _is_to_drain(task, survey)]
    if to_drain:
        incident = _drain(incident, to_drain, survey, now, actions)
        return replace(incident, phase=DRAINING), min(survey.wake_at, default=None), actions
    for signal in incident.signals:
        if signal.ends_by_itself:
            incident, wake_at, more = _advanced(without_signal(incident, signal, now), now, applies)
            return incident, wake_at, actions + more
    holds = any(condition != REST for condition in survey.condition.values())
    at_rest = DRAINED if holds else ANNOUNCED
    if any(not signal.confirmed for signal in incident.signals):
        # After a reboot: whether it goes on, or is to be put back, only the metadata server can say.
        return replace(incident, phase=at_rest), min(survey.wake_at, default=None), actions
    to_restore = [task for task in incident.tasks if _is_to_restore(task, survey)]
    if to_restore:
        incident = _restore(incident, to_restore, survey, now, actions)
        return replace(incident, phase=RESTORING), min(survey.wake_at, default=None), actions
    if not incident.signals:
        actions.append(Close(incident))
    return replace(incident, phase=at_rest), min(survey.wake_at, default=None), actions


def _surveyed(incident: Incident, now: Moment, applies: Applies) -> _Survey:
    own = {task.name: own_steps(incident, task) for task in incident.tasks}
    survey = _Survey(
        own=own,
        condition={task.name: condition_of(task, own[task.name]) for task in incident.tasks},
        trigger={},
        skips=[],
        wake_at=[],
    )
    skipped = {(skip.task, skip.serial) for skip in incident.skips}
    confirmed = [signal for signal in incident.signals if signal.confirmed]
    soonest_first = sorted(confirmed, key=lambda one: float("inf") if one.deadline is None else one.deadline)
    for task in sorted(incident.tasks, key=lambda one: one.stage):
        for signal in soonest_first:
            if signal.event not in task.on or (task.name, signal.serial) in skipped:
                continue
            due = _due(task, signal)
            if due > now.clock:
                survey.wake_at.append(due)
                continue
            reason = _reason_to_skip(task, signal, incident, survey, applies)
            if reason:
                survey.skips.append(Skip(task.name, signal.event, signal.serial, reason, now.at))
            elif task.name not in survey.trigger:
                survey.trigger[task.name] = signal
    return survey


def _due(task: Task, signal: Signal) -> float:
    lead = task.lead_for(signal.event)
    if lead is None or signal.deadline is None or signal.rehearsal or signal.begun:
        return signal.noticed.clock
    return signal.deadline - lead


def _reason_to_skip(task: Task, signal: Signal, incident: Incident, survey: _Survey, applies: Applies) -> str:
    if survey.condition[task.name] != REST:
        return ""
    for other in incident.tasks:
        if other.on_failure == STOP and other.stage < task.stage and other.name in survey.trigger:
            last = survey.own[other.name][-1:]
            if survey.condition[other.name] == HOLDS and last[0].outcome != OK:
                return f"{other.name} failed"
    return "" if applies(task, signal.document) else "when is false"


def _is_to_drain(task: Task, survey: _Survey) -> bool:
    return task.name in survey.trigger and survey.condition[task.name] != HOLDS


def _is_to_restore(task: Task, survey: _Survey) -> bool:
    condition = survey.condition[task.name]
    if task.name in survey.trigger or condition == REST:
        return False
    return task.has(RESTORE) or condition in (RUNS_DRAIN, RUNS_RESTORE)


def _end_unwanted(incident: Incident, survey: _Survey, actions: list[Action]) -> Incident:
    """End drains of events that are over, and restores of tasks that are wanted again."""
    for task in incident.tasks:
        wanted = task.name in survey.trigger
        condition = survey.condition[task.name]
        if condition == (RUNS_RESTORE if wanted else RUNS_DRAIN) and not survey.own[task.name][-1].ending:
            last = survey.own[task.name][-1]
            incident = incident.with_step(replace(last, ending=True))
            actions.append(End(last.number))
    return incident


def _drain(incident: Incident, tasks: list[Task], survey: _Survey, now: Moment, actions: list[Action]) -> Incident:
    stage = min(task.stage for task in tasks)
    needs: dict[int, float] = {}
    for task in tasks:
        needs[task.stage] = max(needs.get(task.stage, 0.0), _need(task, survey, now))
    deadline = incident.deadline()
    left = None if deadline is None else deadline - now.clock
    scale = 1.0 if left is None else fraction(sum(needs.values()), left - _reserve(incident, deadline))
    for task in tasks:
        condition = survey.condition[task.name]
        if condition == RUNS_DRAIN:
            incident = _limited(incident, survey.own[task.name][-1], deadline, scale, now, actions)
        elif condition != RUNS_RESTORE and task.stage == stage and _is_ready(task, survey, now, DRAIN):
            until = now.clock + _need(task, survey, now) * scale
            signal = survey.trigger[task.name]
            incident = _started(
                incident, task, DRAIN, signal.event, signal.document, survey, (now, until, deadline), actions
            )
    return incident


def _restore(incident: Incident, tasks: list[Task], survey: _Survey, now: Moment, actions: list[Action]) -> Incident:
    if any(survey.condition[task.name] == RUNS_DRAIN for task in tasks):
        return incident
    stage = max(task.stage for task in tasks)
    for task in tasks:
        runs = survey.condition[task.name] == RUNS_RESTORE
        if task.stage == stage and not runs and _is_ready(task, survey, now, RESTORE):
            event = survey.own[task.name][-1].event
            document = _document(incident, event)
            until = now.clock + _need(task, survey, now, RESTORE)
            incident = _started(incident, task, RESTORE, event, document, survey, (now, until, None), actions)
    return incident


def _document(incident: Incident, event: str) -> Mapping[str, Any]:
    """The newest that was known of an event."""
    past = [one.document for one in incident.past if one.event == event]
    present = [one.document for one in incident.signals if one.event == event]
    return (past + present)[-1]


def _need(task: Task, survey: _Survey, now: Moment, phase: str = DRAIN) -> float:
    """Seconds that a task may still take in a phase."""
    own = survey.own[task.name]
    condition = survey.condition[task.name]
    if condition == RUNS_DRAIN and phase == DRAIN:
        return max(0.0, own[-1].until - now.clock)
    if condition == retrying(phase):
        return time_to_retry(task, own)
    return task.limit(phase)


def _is_ready(task: Task, survey: _Survey, now: Moment, phase: str) -> bool:
    """Whether a task may start in a phase; one that failed in it waits a moment."""
    if survey.condition[task.name] != retrying(phase):
        return True
    last = survey.own[task.name][-1]
    ready_at = RETRY_PAUSE + (last.finished.clock if last.finished else now.clock)
    if ready_at > now.clock:
        survey.wake_at.append(ready_at)
    return ready_at <= now.clock


def _reserve(incident: Incident, deadline: float | None) -> float:
    noticed = max((one.noticed.clock for one in incident.signals if one.deadline == deadline), default=0.0)
    return min(RESERVE_MOST, RESERVE_SHARE * ((deadline or noticed) - noticed))


def _limited(
    incident: Incident, running: Step, deadline: float | None, scale: float, now: Moment, actions: list[Action]
) -> Incident:
    """Shorten a running step if the event comes sooner than was known when it got its time."""
    if deadline is None or (running.deadline is not None and deadline >= running.deadline - _TOLERANCE):
        return incident
    until = now.clock + (running.until - now.clock) * scale
    if until < running.until - _TOLERANCE:
        actions.append(Limit(running.number, until))
        running = replace(running, until=until)
    return incident.with_step(replace(running, deadline=deadline))


def _started(
    incident: Incident,
    task: Task,
    phase: str,
    event: str,
    document: Mapping[str, Any],
    survey: _Survey,
    times: tuple[Moment, float, float | None],
    actions: list[Action],
) -> Incident:
    now, until, deadline = times
    own = survey.own[task.name]
    again = survey.condition[task.name] == retrying(phase)
    new = Step(
        number=1 + max((one.number for one in incident.steps), default=0),
        task=task.name,
        phase=phase,
        event=event,
        attempt=own[-1].attempt + 1 if again else 1,
        started=now,
        until=until,
        left=None if deadline is None else deadline - now.clock,
        deadline=deadline,
    )
    actions.append(Start(new, task, document))
    return replace(incident, steps=(*incident.steps, new))
