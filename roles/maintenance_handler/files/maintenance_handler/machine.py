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

from ._maintenance import WINDOW
from .incident import (
    ANNOUNCED,
    CANCELLED,
    DRAINED,
    DRAINING,
    FAILED,
    INTERRUPTED,
    OK,
    RESTORING,
    TIMEOUT,
    Incident,
    Moment,
    PastSignal,
    Signal,
    Skip,
    Step,
    last_steps,
)
from .plan import fraction
from .tasks import DRAIN, RESTORE, STOP, Task

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable

    # Whether a task's `when` holds for an event.
    Applies = Callable[[Task, Mapping[str, Any]], bool]

# A program that failed at once gets a moment before it is tried again.
RETRY_PAUSE = 1.0

# What is kept free before a deadline, so that nothing of ours is still running when the event comes.
RESERVE_SHARE = 0.05
RESERVE_MOST = 1.0

# Less than this is rounding, not a deadline that moved.
_TOLERANCE = 0.05


class Observation:
    """What the handler sees happen."""


class Reading(Observation):
    """What a source of signals says."""


@dataclass(frozen=True)
class Announced(Reading):
    """A signal is on."""

    signal: Signal


@dataclass(frozen=True)
class Withdrawn(Reading):
    """A source says that there is nothing (any more)."""

    source: str


@dataclass(frozen=True)
class Finished(Observation):
    """A step's process has ended. A step that was asked to end reports what it came to all the same."""

    number: int
    outcome: str
    detail: str = ""


@dataclass(frozen=True)
class Reconfigured(Observation):
    """There are new tasks. Those that were started keep the definition they were started with."""

    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Tick(Observation):
    """Time has passed."""


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
    state = _observed(state, observation, now)
    if state.incident is None:
        return replace(state, wake_at=None), []
    incident, wake_at, actions = _advanced(state.incident, now, applies)
    if actions and isinstance(actions[-1], Close):
        return replace(state, incident=None, wake_at=None), actions
    return replace(state, incident=incident, wake_at=wake_at), actions


def recovered(incident: Incident, now: Moment, same_boot: bool) -> Incident:
    """An incident out of the journal, as the next handler takes it up.

    What was running is interrupted. A rehearsal ends with the handler that held it. After a reboot the clock starts
    anew, so all times are carried over by the wall clock, and no signal counts until it has been seen again.
    """

    def carried(moment: Moment) -> Moment:
        # Never into the future: the wall clock may have been set back meanwhile.
        return moment if same_boot else Moment(now.clock - max(0.0, now.at - moment.at), moment.at)

    def carried_signal(signal: Signal) -> Signal:
        noticed = carried(signal.noticed)
        deadline = None if signal.deadline is None else signal.deadline - signal.noticed.clock + noticed.clock
        return replace(signal, noticed=noticed, deadline=deadline, confirmed=same_boot and signal.confirmed)

    def carried_step(step: Step) -> Step:
        started = carried(step.started)
        until = step.until - step.started.clock + started.clock
        if step.finished is None:
            return replace(step, started=started, until=until, finished=now, outcome=INTERRUPTED, ending=False)
        return replace(step, started=started, until=until, finished=carried(step.finished))

    incident = replace(
        incident,
        opened=carried(incident.opened),
        signals=tuple(carried_signal(signal) for signal in incident.signals),
        steps=tuple(carried_step(step) for step in incident.steps),
    )
    for signal in incident.signals:
        if signal.rehearsal or (signal.ends_by_itself and not same_boot):
            incident = _without_signal(incident, signal, now)
    return incident


def _observed(state: State, observation: Observation, now: Moment) -> State:
    incident = state.incident
    if isinstance(observation, Announced):
        incident = incident or _opened(state.tasks, observation.signal)
        return replace(state, incident=_with_signal(incident, observation.signal, now))
    if isinstance(observation, Reconfigured):
        return State(observation.tasks, incident and _adopted(incident, observation.tasks))
    if incident is not None and isinstance(observation, Withdrawn):
        for signal in incident.signals:
            if signal.source == observation.source:
                incident = _without_signal(incident, signal, now)
    if incident is not None and isinstance(observation, Finished):
        incident = _with_finished(incident, observation, now)
    return replace(state, incident=incident)


def _opened(tasks: tuple[Task, ...], signal: Signal) -> Incident:
    return Incident(id=f"{int(signal.noticed.at * 1000):x}-{signal.event}", opened=signal.noticed, tasks=tasks)


def _with_signal(incident: Incident, signal: Signal, now: Moment) -> Incident:
    # Above that of every decision made so far: none of them is about this announcement.
    decided = [known.serial for known in incident.signals] + [skip.serial for skip in incident.skips]
    fresh = replace(signal, serial=1 + max(decided, default=0))
    old = next((known for known in incident.signals if known.source == signal.source), None)
    if old is None:
        return replace(incident, signals=(*incident.signals, fresh))
    if old.event != signal.event:
        incident = _without_signal(incident, old, now)
        return replace(incident, signals=(*incident.signals, fresh))
    merged = replace(fresh, noticed=old.noticed)
    if old.document == signal.document:
        merged = replace(merged, serial=old.serial)
        if not _is_adjustable(incident, old, signal):
            merged = replace(merged, deadline=old.deadline, begun=old.begun)
    return replace(incident, signals=tuple(merged if known is old else known for known in incident.signals))


def _is_adjustable(incident: Incident, old: Signal, new: Signal) -> bool:
    """Whether the same announcement, read again, may say another time.

    Days before a window the wall clock may still be set right. Once the window is acted upon, or has begun, its
    deadline stays where it is on the monotonic clock.
    """
    acted_upon = any(one.event == WINDOW and one.phase == DRAIN for one in last_steps(incident.steps).values())
    if old.event != WINDOW or old.begun or acted_upon:
        return False
    if old.deadline is None or new.deadline is None:
        return True
    return abs(old.deadline - new.deadline) > 1.0


def _without_signal(incident: Incident, signal: Signal, now: Moment) -> Incident:
    past = PastSignal(signal.event, signal.value, signal.rehearsal, signal.noticed.at, now.at, signal.document)
    return replace(
        incident,
        signals=tuple(known for known in incident.signals if known is not signal),
        past=(*incident.past, past),
    )


def _with_finished(incident: Incident, finished: Finished, now: Moment) -> Incident:
    for known in incident.steps:
        if known.number == finished.number and known.open:
            outcome = CANCELLED if known.ending and finished.outcome != OK else finished.outcome
            return incident.with_step(replace(known, finished=now, outcome=outcome, detail=finished.detail))
    return incident


def _adopted(incident: Incident, tasks: tuple[Task, ...]) -> Incident:
    started = tuple(task for task in incident.tasks if _condition(task, _own_steps(incident, task)) != _REST)
    names = {task.name for task in started}
    return replace(
        incident,
        tasks=started + tuple(task for task in tasks if task.name not in names),
        # What was decided about the tasks as they were is decided anew.
        skips=tuple(skip for skip in incident.skips if skip.task in names),
    )


# Conditions of a task, derived from its newest steps.
_REST = "at rest"  # never started, or restored (or given up restoring)
_RUNS_DRAIN = "drain runs"
_RUNS_RESTORE = "restore runs"
_HOLDS = "holds"  # drained, or failed to for good
_AGAIN = "again"  # neither: was ended or interrupted half way
_RETRY_DRAIN = "drain retries"
_RETRY_RESTORE = "restore retries"


def _own_steps(incident: Incident, task: Task) -> tuple[Step, ...]:
    return tuple(one for one in incident.steps if one.task == task.name)


def _condition(task: Task, steps: tuple[Step, ...]) -> str:
    """Where a task stands, by its own steps."""
    if not steps:
        return _REST
    last = steps[-1]
    if last.open:
        return _RUNS_DRAIN if last.phase == DRAIN else _RUNS_RESTORE
    if last.outcome in (INTERRUPTED, CANCELLED):
        return _AGAIN
    if last.outcome in (FAILED, TIMEOUT) and _time_to_retry(task, steps) > 0:
        return _retrying(last.phase)
    return _HOLDS if last.phase == DRAIN else _REST


def _retrying(phase: str) -> str:
    return _RETRY_DRAIN if phase == DRAIN else _RETRY_RESTORE


def _failed_run(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The newest attempts in a row of one phase that failed."""
    run: list[Step] = []
    for one in reversed(steps):
        if one.outcome not in (FAILED, TIMEOUT) or one.phase != steps[-1].phase or (run and run[-1].attempt == 1):
            break
        run.append(one)
    return tuple(reversed(run))


def _time_to_retry(task: Task, steps: tuple[Step, ...]) -> float:
    """Seconds that another attempt would have; 0 when there is to be none."""
    run = _failed_run(steps)
    last = steps[-1]
    if last.attempt > task.retries or last.finished is None:
        return 0.0
    spent = last.finished.clock + RETRY_PAUSE - run[0].started.clock
    return max(0.0, task.limit(last.phase) - spent)


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
            incident, wake_at, more = _advanced(_without_signal(incident, signal, now), now, applies)
            return incident, wake_at, actions + more
    holds = any(condition != _REST for condition in survey.condition.values())
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
    own = {task.name: _own_steps(incident, task) for task in incident.tasks}
    survey = _Survey(
        own=own,
        condition={task.name: _condition(task, own[task.name]) for task in incident.tasks},
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
    if survey.condition[task.name] != _REST:
        return ""
    for other in incident.tasks:
        if other.on_failure == STOP and other.stage < task.stage and other.name in survey.trigger:
            last = survey.own[other.name][-1:]
            if survey.condition[other.name] == _HOLDS and last[0].outcome != OK:
                return f"{other.name} failed"
    return "" if applies(task, signal.document) else "when is false"


def _is_to_drain(task: Task, survey: _Survey) -> bool:
    return task.name in survey.trigger and survey.condition[task.name] != _HOLDS


def _is_to_restore(task: Task, survey: _Survey) -> bool:
    condition = survey.condition[task.name]
    if task.name in survey.trigger or condition == _REST:
        return False
    return task.has(RESTORE) or condition in (_RUNS_DRAIN, _RUNS_RESTORE)


def _end_unwanted(incident: Incident, survey: _Survey, actions: list[Action]) -> Incident:
    """End drains of events that are over, and restores of tasks that are wanted again."""
    for task in incident.tasks:
        wanted = task.name in survey.trigger
        condition = survey.condition[task.name]
        if condition == (_RUNS_RESTORE if wanted else _RUNS_DRAIN) and not survey.own[task.name][-1].ending:
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
        if condition == _RUNS_DRAIN:
            incident = _limited(incident, survey.own[task.name][-1], deadline, scale, now, actions)
        elif condition != _RUNS_RESTORE and task.stage == stage and _is_ready(task, survey, now, DRAIN):
            until = now.clock + _need(task, survey, now) * scale
            signal = survey.trigger[task.name]
            incident = _started(
                incident, task, DRAIN, signal.event, signal.document, survey, (now, until, deadline), actions
            )
    return incident


def _restore(incident: Incident, tasks: list[Task], survey: _Survey, now: Moment, actions: list[Action]) -> Incident:
    if any(survey.condition[task.name] == _RUNS_DRAIN for task in tasks):
        return incident
    stage = max(task.stage for task in tasks)
    for task in tasks:
        runs = survey.condition[task.name] == _RUNS_RESTORE
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
    if condition == _RUNS_DRAIN and phase == DRAIN:
        return max(0.0, own[-1].until - now.clock)
    if condition == _retrying(phase):
        return _time_to_retry(task, own)
    return task.limit(phase)


def _is_ready(task: Task, survey: _Survey, now: Moment, phase: str) -> bool:
    """Whether a task may start in a phase; one that failed in it waits a moment."""
    if survey.condition[task.name] != _retrying(phase):
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
    again = survey.condition[task.name] == _retrying(phase)
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
