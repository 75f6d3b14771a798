# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the handler sees happen, and what that makes of an incident, before anything is decided about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from .._vm.maintenance import PREEMPT, STOP, WINDOW
from .._vm.records import dataclass, replace
from .condition import REST, condition_of, own_steps, time_to_retry
from .incident import (
    CANCELLED,
    FAILURES,
    INTERRUPTED,
    OK,
    Incident,
    Moment,
    PastSignal,
    Signal,
    Step,
    last_steps,
    not_restored,
)
from .patience import Patience, retry_pause
from .tasks import DRAIN, RESTORE, Task

# Earlier than this before its time, an event that is over did not come.
CANCELLED_BEFORE = 1.0


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
class ShutdownBegan(Observation):
    """The machine is shutting down: of events that stop it, no more than these seconds are left."""

    seconds: float


@dataclass(frozen=True)
class Began(Observation):
    """A step's process was started, this much later than planned: what it waited for is no part of its time."""

    number: int
    seconds: float


@dataclass(frozen=True)
class Finished(Observation):
    """A step's process has ended. A step that was asked to end reports what it came to all the same."""

    number: int
    outcome: str
    detail: str = ""
    # The last line of a step that failed. Not for everybody's eyes.
    output: str = ""


@dataclass(frozen=True)
class Reconfigured(Observation):
    """There are new tasks. Those that were started keep the definition they were started with, but for one case.

    A task that is not restored takes the new definition, if that can restore: it may be what mends it.
    """

    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class RetryWanted(Observation):
    """Somebody wants these tasks, which are not restored, to be tried again now."""

    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Acknowledged(Observation):
    """Somebody says that these tasks, which are not restored, may stay as they are."""

    tasks: tuple[str, ...]
    by: str


@dataclass(frozen=True)
class Tick(Observation):
    """Time has passed."""


def observed(
    incident: Incident | None,
    tasks: tuple[Task, ...],
    observation: Observation,
    now: Moment,
    patience: Patience,
) -> Incident | None:
    """What an observation makes of the incident there is, if any; `tasks` are the configured ones."""
    if isinstance(observation, Announced):
        return _with_signal(incident or _opened(tasks, observation.signal), observation.signal, now)
    if incident is None:
        return None
    if isinstance(observation, Reconfigured):
        return _adopted(incident, tasks, now)
    if isinstance(observation, RetryWanted):
        return _tried_soon(incident, observation.tasks, now)
    if isinstance(observation, Acknowledged):
        for step in not_restored(incident):
            if step.task in observation.tasks:
                incident = incident.with_step(replace(step, acknowledged_by=observation.by, acknowledged_at=now.at))
    if isinstance(observation, Withdrawn):
        for signal in incident.signals:
            if signal.source == observation.source:
                incident = without_signal(incident, signal, now)
    if isinstance(observation, ShutdownBegan):
        return _with_shutdown(incident, now.clock + observation.seconds)
    if isinstance(observation, Began):
        return _with_begun(incident, observation)
    if isinstance(observation, Finished):
        return _with_finished(incident, observation, now, patience)
    return incident


def recovered(incident: Incident, now: Moment, same_boot: bool) -> Incident:
    """An incident out of the journal, as the next handler takes it up.

    What was running is interrupted. A rehearsal ends with the handler that held it. After a reboot the clock starts
    anew, so all times are carried over by the wall clock, and no signal counts until it has been seen again. What is
    not restored is tried at once: a new start may be what it takes.
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
        shift = started.clock - step.started.clock
        step = replace(step, started=started, until=step.until + shift, began=step.attempts_began + shift)
        if step.finished is None:
            return replace(step, finished=now, outcome=INTERRUPTED, ending=False)
        return replace(step, finished=carried(step.finished))

    incident = replace(
        incident,
        opened=carried(incident.opened),
        signals=tuple(carried_signal(signal) for signal in incident.signals),
        steps=tuple(carried_step(step) for step in incident.steps),
    )
    for signal in incident.signals:
        if signal.rehearsal or (signal.ends_by_itself and not same_boot):
            incident = without_signal(incident, signal, now)
    return _tried_soon(incident, [step.task for step in not_restored(incident)], now)


def without_signal(incident: Incident, signal: Signal, now: Moment) -> Incident:
    """The incident once a signal is over."""
    past = PastSignal(
        signal.event,
        signal.value,
        signal.rehearsal,
        signal.noticed.at,
        now.at,
        signal.document,
        cancelled=_is_cancelled(signal, now),
    )
    return replace(
        incident,
        signals=tuple(known for known in incident.signals if known is not signal),
        past=(*incident.past, past),
    )


def _is_cancelled(signal: Signal, now: Moment) -> bool:
    """Whether a signal that is over announced something that did not come."""
    if signal.ends_by_itself or signal.begun or signal.deadline is None:
        return False
    # After a reboot, what was announced may be why. But not a window that is still to come.
    if not signal.confirmed and signal.event != WINDOW:
        return False
    return now.clock < signal.deadline - CANCELLED_BEFORE


def _tried_soon(incident: Incident, tasks: Iterable[str], now: Moment) -> Incident:
    """The incident in which the restores of tasks that are not restored are due, as if they had failed just now."""
    for step in not_restored(incident):
        if step.task in tasks and not step.open:
            incident = incident.with_step(replace(step, again_at=now.clock, began=now.clock))
    return incident


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
        incident = without_signal(incident, old, now)
        return replace(incident, signals=(*incident.signals, fresh))
    merged = replace(fresh, noticed=old.noticed)
    if old.document == signal.document:
        merged = replace(merged, serial=old.serial)
        if not _is_adjustable(incident, old, signal):
            merged = replace(merged, deadline=old.deadline, begun=old.begun)
    return replace(incident, signals=tuple(merged if known is old else known for known in incident.signals))


def _with_shutdown(incident: Incident, until: float) -> Incident:
    """Deadlines of events that stop the VM, moved to `until` if they are later. What runs goes on, in less time."""

    def sooner(signal: Signal) -> Signal:
        stops = signal.event in (PREEMPT, STOP) and not signal.rehearsal and signal.confirmed
        late = signal.deadline is not None and signal.deadline > until
        return replace(signal, deadline=until) if stops and late else signal

    return replace(incident, signals=tuple(map(sooner, incident.signals)))


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


def _with_begun(incident: Incident, begun: Began) -> Incident:
    for known in incident.steps:
        if known.number == begun.number and known.open:
            started = Moment(known.started.clock + begun.seconds, known.started.at + begun.seconds)
            # Without a deadline that its time was measured by, it is measured anew.
            return incident.with_step(replace(known, started=started, until=known.until + begun.seconds, deadline=None))
    return incident


def _with_finished(incident: Incident, finished: Finished, now: Moment, patience: Patience) -> Incident:
    for known in incident.steps:
        if known.number == finished.number and known.open:
            outcome = CANCELLED if known.ending and finished.outcome != OK else finished.outcome
            ended = replace(known, finished=now, outcome=outcome, detail=finished.detail, output=finished.output)
            return incident.with_step(_judged(incident, ended, now, patience))
    return incident


def _judged(incident: Incident, ended: Step, now: Moment, patience: Patience) -> Step:
    """A step that has ended, with what follows from that for a restore that failed."""
    if ended.phase != RESTORE or ended.outcome not in FAILURES:
        return ended
    if not ended.failing and time_to_retry(incident.task(ended.task), ended) > 0:
        return ended
    pause = retry_pause(patience, now.clock - ended.attempts_began)
    return replace(ended, failing=True, again_at=now.clock + pause)


def _adopted(incident: Incident, tasks: tuple[Task, ...], now: Moment) -> Incident:
    mended = _mended(incident, tasks)
    incident = _tried_soon(incident, mended, now)
    started = tuple(
        mended.get(task.name, task) for task in incident.tasks if condition_of(task, own_steps(incident, task)) != REST
    )
    names = {task.name for task in started}
    return replace(
        incident,
        tasks=started + tuple(task for task in tasks if task.name not in names),
        # What was decided about the tasks as they were is decided anew.
        skips=tuple(skip for skip in incident.skips if skip.task in names),
    )


def _mended(incident: Incident, tasks: tuple[Task, ...]) -> dict[str, Task]:
    """By name, the new definitions of tasks that are not restored."""
    names = {step.task for step in not_restored(incident)}
    known = {task.name: task for task in incident.tasks}
    return {task.name: task for task in tasks if task.name in names and task.has(RESTORE) and task != known[task.name]}
