# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the handler sees happen, and what that makes of an incident, before anything is decided about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ._maintenance import WINDOW
from .condition import REST, condition_of, own_steps
from .incident import CANCELLED, INTERRUPTED, OK, Incident, Moment, PastSignal, Signal, Step, last_steps
from .tasks import DRAIN, Task


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


def observed(
    incident: Incident | None, tasks: tuple[Task, ...], observation: Observation, now: Moment
) -> Incident | None:
    """What an observation makes of the incident there is, if any; `tasks` are the configured ones."""
    if isinstance(observation, Announced):
        return _with_signal(incident or _opened(tasks, observation.signal), observation.signal, now)
    if incident is None:
        return None
    if isinstance(observation, Reconfigured):
        return _adopted(incident, tasks)
    if isinstance(observation, Withdrawn):
        for signal in incident.signals:
            if signal.source == observation.source:
                incident = without_signal(incident, signal, now)
    if isinstance(observation, Finished):
        return _with_finished(incident, observation, now)
    return incident


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
            incident = without_signal(incident, signal, now)
    return incident


def without_signal(incident: Incident, signal: Signal, now: Moment) -> Incident:
    """The incident once a signal is over."""
    past = PastSignal(signal.event, signal.value, signal.rehearsal, signal.noticed.at, now.at, signal.document)
    return replace(
        incident,
        signals=tuple(known for known in incident.signals if known is not signal),
        past=(*incident.past, past),
    )


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


def _with_finished(incident: Incident, finished: Finished, now: Moment) -> Incident:
    for known in incident.steps:
        if known.number == finished.number and known.open:
            outcome = CANCELLED if known.ending and finished.outcome != OK else finished.outcome
            return incident.with_step(replace(known, finished=now, outcome=outcome, detail=finished.detail))
    return incident


def _adopted(incident: Incident, tasks: tuple[Task, ...]) -> Incident:
    started = tuple(task for task in incident.tasks if condition_of(task, own_steps(incident, task)) != REST)
    names = {task.name for task in started}
    return replace(
        incident,
        tasks=started + tuple(task for task in tasks if task.name not in names),
        # What was decided about the tasks as they were is decided anew.
        skips=tuple(skip for skip in incident.skips if skip.task in names),
    )
