# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incident's state machine: (state, observation, now) -> (state, actions). Pure.

The rules, each once:

- A task is wanted while one of its events is on and due. A wanted task that was not started is drained, lowest stage
  first. A started task that is no longer wanted is restored, highest stage first, when no drain is left.
- A step that was interrupted or ended early is run again if the task is still wanted; otherwise the task is restored.
  An interrupted restore is run again as well. A step that succeeded is never run again, apart from the drain of a task
  without a restore, before the next event.
- A failed restore is retried with growing pauses until it succeeds or is acknowledged. If its task is wanted again in
  the meantime, it is drained again, unless the restore could not even be started.
- A task that is drained repeatedly stays drained for a while after its event. What an operator holds stays drained
  until it is released.
- With a fleet limit, a task at rest waits until the limit's gate admits it.
- The nearest deadline of all events that are on applies to all drains. If the time does not suffice for all stages,
  each gets a share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._vm.records import dataclass, field, replace
from .actions import Action, Close, End, Limit, Start
from .condition import (
    HOLDS,
    REST,
    RETRY_PAUSE,
    RUNS_DRAIN,
    RUNS_RESTORE,
    UNRESTORED,
    is_still_drained,
    retrying,
    time_to_retry,
)
from .incident import (
    ANNOUNCED,
    CLOSED,
    DRAINED,
    DRAINING,
    NOT_RESTORED,
    NOT_STARTED,
    RESTORING,
    Incident,
    Moment,
    Step,
)
from .observations import Observation, Reconfigured, observed, without_expired, without_signal
from .patience import Drains, Patience, calm_until, counted
from .plan import fraction, reserve
from .survey import Survey, surveyed, told, waits_for_restore
from .tasks import DRAIN, RESTORE, Task, with_grace
from .trimming import trimmed

if TYPE_CHECKING:
    from .fleet_limit import FleetLimit
    from .slot import Slot
    from .survey import Applies

# Seconds. A smaller difference is rounding, not a deadline that moved.
_TOLERANCE = 0.05


@dataclass(frozen=True)
class State:
    """The configured tasks and the open incident, if any. At `wake_at`, on the monotonic clock, a `Tick` is due."""

    tasks: tuple[Task, ...]
    incident: Incident | None = None
    wake_at: float | None = None
    patience: Patience = field(default_factory=Patience)
    # By task. Kept across incidents, because events may come and go quickly.
    drains: Mapping[str, Drains] = field(default_factory=dict)
    fleet_limit: FleetLimit | None = None


def step(state: State, observation: Observation, now: Moment, applies: Applies) -> tuple[State, list[Action]]:
    """The new state after an observation, and the actions that it requires."""
    tasks = observation.tasks if isinstance(observation, Reconfigured) else state.tasks
    state = replace(state, tasks=tasks, wake_at=None)
    incident = observed(state.incident, tasks, observation, now, state.patience)
    if incident is None:
        return state, []
    incident = without_expired(incident, now)
    calm_at = {task.name: calm_until(state.patience, state.drains.get(task.name)) for task in incident.tasks}
    incident, wake_at, actions = _advanced(trimmed(incident), now, applies, calm_at, state.fleet_limit)
    if actions and isinstance(actions[-1], Close):
        return replace(state, incident=None), actions
    return replace(state, incident=incident, wake_at=wake_at, drains=counted(state.drains, actions, now)), actions


def _advanced(
    incident: Incident, now: Moment, applies: Applies, calm_at: Mapping[str, float], limit: FleetLimit | None
) -> tuple[Incident, float | None, list[Action]]:
    survey = surveyed(incident, now, applies, limit)
    incident = replace(incident, skips=(*incident.skips, *survey.skips))
    incident = replace(incident, slot=_slot(incident, survey))
    if survey.gate is not None and survey.gate.given_up:
        return _advanced(without_signal(incident, survey.gate.given_up[0], now), now, applies, calm_at, limit)
    actions: list[Action] = []
    restless_until = max((calm_at[task.name] for task in incident.tasks if _is_unwanted(task, survey)), default=0.0)
    is_restless = restless_until > now.clock
    if is_restless:
        survey.wake_at.append(restless_until)
    spare_drains = is_restless or incident.is_held
    incident = _end_unwanted(incident, survey, actions, spare_drains=spare_drains)
    to_drain = [task for task in incident.tasks if _is_to_drain(task, survey)]
    if to_drain:
        # Later stages wait for drains that are spared, too.
        unwanted = [task for task in incident.tasks if _is_unwanted(task, survey)] if spare_drains else []
        to_drain += [task for task in unwanted if survey.condition[task.name] == RUNS_DRAIN]
        incident = _drain(incident, to_drain, survey, now, actions)
        return replace(incident, phase=DRAINING), min(survey.wake_at, default=None), actions
    for signal in incident.signals:
        if signal.ends_by_itself and not (survey.gate is not None and survey.gate.is_waited_at(signal)):
            incident, wake_at, more = _advanced(without_signal(incident, signal, now), now, applies, calm_at, limit)
            return incident, wake_at, actions + more
    conditions = survey.condition.values()
    at_rest = DRAINED if any(condition != REST for condition in conditions) else ANNOUNCED
    at_rest = DRAINING if RUNS_DRAIN in conditions else at_rest
    if any(not signal.confirmed for signal in incident.signals):
        # After a reboot, only the metadata server knows whether the event is still on.
        return replace(incident, phase=at_rest), min(survey.wake_at, default=None), actions
    if is_restless:
        runs = {RUNS_DRAIN: DRAINING, RUNS_RESTORE: RESTORING}
        phase = next((runs[condition] for condition in conditions if condition in runs), DRAINED)
        return replace(incident, phase=phase), min(survey.wake_at, default=None), actions
    to_restore = [task for task in incident.tasks if _is_to_restore(task, survey)]
    over = [task for task in incident.tasks if _is_over(task, survey)]
    if over and (to_restore or incident.signals or survey.kept):
        for task in over:
            incident = incident.with_step(replace(survey.own[task.name][-1], over=True))
        incident, wake_at, more = _advanced(incident, now, applies, calm_at, limit)
        return incident, wake_at, actions + more
    due = [task for task in to_restore if not _waits_to_restore(task, survey, now)]
    if due:
        incident = _restore(incident, due, survey, now, actions)
        return replace(incident, phase=RESTORING), min(survey.wake_at, default=None), actions
    if to_restore:
        return replace(incident, phase=NOT_RESTORED), min(survey.wake_at, default=None), actions
    if not incident.signals and not survey.kept:
        actions.append(Close(replace(incident, phase=CLOSED)))
    return replace(incident, phase=at_rest), min(survey.wake_at, default=None), actions


def _slot(incident: Incident, survey: Survey) -> Slot | None:
    if survey.gate is None:
        return incident.slot and incident.slot.unwanted()
    return survey.gate.settled(frozenset(survey.trigger))


def _is_to_drain(task: Task, survey: Survey) -> bool:
    if task.name not in survey.trigger:
        return False
    condition = survey.condition[task.name]
    return condition == REST or not is_still_drained(condition, survey.own[task.name][-1])


def _is_unwanted(task: Task, survey: Survey) -> bool:
    """Whether a task was drained, or is being drained, for events that are over, and its restore has not started."""
    return task.name not in survey.trigger and waits_for_restore(task, survey.own[task.name])


def _waits_to_restore(task: Task, survey: Survey, now: Moment) -> bool:
    """Whether the next attempt at a failed restore is not due yet."""
    again_at = survey.own[task.name][-1].again_at
    if survey.condition[task.name] != UNRESTORED or again_at is None or again_at <= now.clock:
        return False
    survey.wake_at.append(again_at)
    return True


def _is_to_restore(task: Task, survey: Survey) -> bool:
    condition = survey.condition[task.name]
    if task.name in survey.trigger or task.name in survey.kept or condition == REST:
        return False
    return task.has(RESTORE) or condition in (RUNS_DRAIN, RUNS_RESTORE)


def _is_over(task: Task, survey: Survey) -> bool:
    """Whether a task without a restore was drained for events that are over, and runs again before the next one."""
    return task.name not in survey.trigger and survey.condition[task.name] == HOLDS and not task.has(RESTORE)


def _end_unwanted(incident: Incident, survey: Survey, actions: list[Action], *, spare_drains: bool) -> Incident:
    """End drains of events that are over, and restores of tasks that are wanted again or acknowledged."""
    for task in incident.tasks:
        condition = survey.condition[task.name]
        if condition not in (RUNS_DRAIN, RUNS_RESTORE):
            continue
        wanted = task.name in survey.trigger
        last = survey.own[task.name][-1]
        if condition == RUNS_DRAIN:
            is_unwanted = not wanted and not spare_drains
        else:
            is_unwanted = wanted or bool(last.acknowledged_by)
        if is_unwanted and not last.ending:
            incident = incident.with_step(replace(last, ending=True))
            actions.append(End(last.number))
    return incident


def _drain(incident: Incident, tasks: list[Task], survey: Survey, now: Moment, actions: list[Action]) -> Incident:
    stage = min(task.stage for task in tasks)
    needs: dict[int, float] = {}
    for task in tasks:
        needs[task.stage] = max(needs.get(task.stage, 0.0), _need(task, survey, now))
    deadline = incident.deadline()
    left = None if deadline is None else deadline - now.clock
    scale = 1.0 if left is None else fraction(sum(needs.values()), left - _reserve(incident, deadline))
    for task in tasks:
        condition = survey.condition[task.name]
        # A short task is not shortened for a long one beside it.
        until = now.clock + min(_need(task, survey, now), needs[task.stage] * scale)
        if condition == RUNS_DRAIN:
            incident = _limited(incident, survey.own[task.name][-1], deadline, until, actions)
        elif condition != RUNS_RESTORE and task.stage == stage and _is_ready(task, survey, now, DRAIN):
            signal = survey.trigger[task.name]
            occasion = _Occasion(signal.event, signal.event_for(task), signal.document, now, until, deadline)
            incident = _started(incident, task, DRAIN, occasion, survey, actions)
    return incident


def _restore(incident: Incident, tasks: list[Task], survey: Survey, now: Moment, actions: list[Action]) -> Incident:
    if RUNS_DRAIN in survey.condition.values():
        return incident
    stage = max(task.stage for task in tasks)
    for task in tasks:
        runs = survey.condition[task.name] == RUNS_RESTORE
        if task.stage == stage and not runs and _is_ready(task, survey, now, RESTORE):
            last = survey.own[task.name][-1]
            until = now.clock + _need(task, survey, now, RESTORE)
            occasion = _Occasion(last.event, last.task_event, _document(incident, last.event), now, until)
            incident = _started(incident, task, RESTORE, occasion, survey, actions)
    return incident


def _document(incident: Incident, event: str) -> Mapping[str, Any]:
    """The newest document of an event."""
    past = [one.document for one in incident.past if one.event == event]
    present = [one.document for one in incident.signals if one.event == event]
    return (past + present)[-1]


def _need(task: Task, survey: Survey, now: Moment, phase: str = DRAIN) -> float:
    """Seconds that a task may still take in a phase, including the time between SIGTERM and SIGKILL."""
    own = survey.own[task.name]
    condition = survey.condition[task.name]
    if condition == RUNS_DRAIN and phase == DRAIN:
        return max(0.0, own[-1].until - now.clock)
    if condition == retrying(phase):
        return with_grace(time_to_retry(task, own[-1]))
    event = survey.trigger[task.name].event_for(task) if phase == DRAIN else own[-1].task_event
    return with_grace(task.limit(phase, event))


def _is_ready(task: Task, survey: Survey, now: Moment, phase: str) -> bool:
    """Whether a task may start in a phase; after a failure it waits for RETRY_PAUSE."""
    if survey.condition[task.name] != retrying(phase):
        return True
    last = survey.own[task.name][-1]
    ready_at = RETRY_PAUSE + (last.finished.clock if last.finished else now.clock)
    if ready_at > now.clock:
        survey.wake_at.append(ready_at)
    return ready_at <= now.clock


def _reserve(incident: Incident, deadline: float | None) -> float:
    noticed = max((one.noticed.clock for one in incident.signals if one.deadline == deadline), default=0.0)
    return reserve((deadline or noticed) - noticed)


def _limited(
    incident: Incident, running: Step, deadline: float | None, until: float, actions: list[Action]
) -> Incident:
    """Shorten a running step to `until` if the deadline is nearer than when the step started."""
    if deadline is None or (running.deadline is not None and deadline >= running.deadline - _TOLERANCE):
        return incident
    if until < running.until - _TOLERANCE:
        actions.append(Limit(running.number, until))
        running = replace(running, until=until)
    return incident.with_step(replace(running, deadline=deadline))


@dataclass(frozen=True)
class _Occasion:
    """For which event a task is started, as for which, and how much time it has (`until`, `deadline`: on the clock)."""

    event: str
    task_event: str
    document: Mapping[str, Any]
    now: Moment
    until: float
    deadline: float | None = None


def _started(
    incident: Incident, task: Task, phase: str, occasion: _Occasion, survey: Survey, actions: list[Action]
) -> Incident:
    now, deadline = occasion.now, occasion.deadline
    own = survey.own[task.name]
    last = own[-1] if own and own[-1].phase == phase else None
    again = survey.condition[task.name] in (retrying(phase), UNRESTORED)
    new = Step(
        number=1 + max((one.number for one in incident.steps), default=0),
        task=task.name,
        phase=phase,
        event=occasion.event,
        as_event="" if occasion.task_event == occasion.event else occasion.task_event,
        attempt=last.attempt + 1 if last is not None and again else 1,
        started=now,
        until=occasion.until,
        left=None if deadline is None else deadline - now.clock,
        deadline=deadline,
        began=last.attempts_began if last is not None and again else now.clock,
        failing=last is not None and last.failing,
        partial=last is not None and phase == RESTORE and (last.partial or last.outcome != NOT_STARTED),
    )
    actions.append(Start(new, task, told(occasion.document, occasion.task_event)))
    return replace(incident, steps=(*incident.steps, new))
