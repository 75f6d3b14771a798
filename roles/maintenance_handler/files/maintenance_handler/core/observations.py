# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations, and how each changes an incident before anything is decided. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._vm.maintenance import PREEMPT, STOP, WINDOW
from .._vm.records import dataclass, field, replace
from .condition import REST, condition_of, own_steps, time_to_retry
from .incident import (
    CANCELLED,
    FAILURES,
    INTERRUPTED,
    OK,
    Hold,
    Incident,
    Moment,
    PastSignal,
    Signal,
    Step,
    held,
    last_steps,
    not_restored,
)
from .patience import Patience, retry_pause
from .tasks import DRAIN, RESTORE, Task

# Seconds. An event that ends earlier than this before its deadline was cancelled.
CANCELLED_BEFORE = 1.0


class Observation:
    """Something that the handler has observed."""


class Reading(Observation):
    """The current value of a source of signals."""


@dataclass(frozen=True)
class Announced(Reading):
    """A signal is on."""

    signal: Signal


@dataclass(frozen=True)
class Withdrawn(Reading):
    """A source announces nothing, or nothing any more."""

    source: str


@dataclass(frozen=True)
class ShutdownBegan(Observation):
    """The machine is shutting down: events that stop it are at most these seconds away."""

    seconds: float


@dataclass(frozen=True)
class Began(Observation):
    """A step's process was started, this much later than planned. The delay does not count as its time."""

    number: int
    seconds: float


@dataclass(frozen=True)
class Finished(Observation):
    """A step's process has ended, by itself or because it was asked to."""

    number: int
    outcome: str
    detail: str = ""
    # The last line of output of a failed step. It may be confidential.
    output: str = ""


@dataclass(frozen=True)
class Reconfigured(Observation):
    """The tasks of a new configuration. Started tasks keep the definition with which they were started.

    A task that is not restored takes the new definition if that has a restore, because it may be the fix.
    """

    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class RetryWanted(Observation):
    """Someone requests to retry the restore of these tasks now."""

    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Acknowledged(Observation):
    """Someone acknowledges that these tasks are not restored."""

    tasks: tuple[str, ...]
    by: str


@dataclass(frozen=True)
class Released(Observation):
    """Someone ends the drain by hand."""

    by: str


@dataclass(frozen=True)
class HoldWanted(Observation):
    """Someone holds what is drained."""

    hold: Hold


@dataclass(frozen=True)
class Unheld(Observation):
    """Someone releases what is held."""

    by: str


# How the store of a fleet limit answers a question about a slot. The last two are no answer.
HELD = "held"
DENIED = "denied"
RELEASED = "released"
FINE = "ok"
UNREACHABLE = "unreachable"
INVALID = "invalid"
UNUSABLE = (UNREACHABLE, INVALID)


@dataclass(frozen=True)
class SlotAnswered(Observation):
    """The store of the fleet limit has answered the question of this number, or it has not (`UNUSABLE`)."""

    number: int
    outcome: str
    detail: str = ""
    # Shape: [{"id": str, "reason": str, "since": str}].
    holders: tuple[Mapping[str, str], ...] = ()
    slots: int | None = None
    # What the next question needs.
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SlotExpired(Observation):
    """The store gives the slot to another VM, because it has not heard from this one."""

    detail: str


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
    """The incident after an observation; `tasks` are those of the configuration."""
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
    if isinstance(observation, Released):
        for signal in incident.signals:
            if signal.is_by_hand:
                incident = without_signal(incident, signal, now, ended_by=observation.by)
    if isinstance(observation, HoldWanted):
        return replace(incident, hold=observation.hold)
    if isinstance(observation, Unheld) and incident.hold is not None:
        return replace(incident, hold=replace(incident.hold, released_by=observation.by, released_at=now.at))
    if isinstance(observation, ShutdownBegan):
        until = now.clock + observation.seconds
        return replace(incident, signals=tuple(with_shutdown(signal, until) for signal in incident.signals))
    if isinstance(observation, SlotAnswered) and incident.slot is not None:
        return replace(incident, slot=incident.slot.after(observation, now))
    if isinstance(observation, SlotExpired) and incident.slot is not None:
        return replace(incident, slot=incident.slot.expired(now, observation.detail))
    if isinstance(observation, Began):
        return _with_begun(incident, observation)
    if isinstance(observation, Finished):
        return _with_finished(incident, observation, now, patience)
    return incident


def recovered(incident: Incident, now: Moment, same_boot: bool) -> Incident:
    """An incident from the journal, as the next handler resumes it.

    Running steps count as interrupted. A rehearsal ends with its handler. After a reboot the monotonic clock
    restarts, so times are converted by the wall clock, and no signal counts until it is confirmed. Failed restores are
    due at once, because a restart may have fixed their cause.
    """

    def carried(moment: Moment) -> Moment:
        # Never into the future: the wall clock may have been set back.
        return moment if same_boot else Moment(now.clock - max(0.0, now.at - moment.at), moment.at)

    def carried_signal(signal: Signal) -> Signal:
        noticed = carried(signal.noticed)
        shift = noticed.clock - signal.noticed.clock
        order, deadline = signal.order, signal.deadline
        if order is not None and order.ends is not None:
            order = replace(order, ends=order.ends + shift)
        return replace(
            signal,
            noticed=noticed,
            deadline=None if deadline is None else deadline + shift,
            # The platform need not confirm what it did not announce.
            confirmed=signal.is_by_hand or (same_boot and signal.confirmed),
            order=order,
        )

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
        slot=incident.slot and incident.slot.carried(carried, now, _is_to_restore(incident)),
    )
    for signal in incident.signals:
        if signal.rehearsal or (signal.ends_by_itself and not same_boot):
            incident = without_signal(incident, signal, now)
    return _tried_soon(incident, [step.task for step in not_restored(incident)], now)


def _is_to_restore(incident: Incident) -> bool:
    return any(incident.task(name).has(RESTORE) for name in held(incident))


def with_shutdown(signal: Signal, until: float) -> Signal:
    """The signal of an event that stops the VM with its deadline not after `until`. Steps get less time."""
    stops = signal.event in (PREEMPT, STOP) and not signal.rehearsal and signal.confirmed
    is_late = signal.deadline is not None and signal.deadline > until
    return replace(signal, deadline=until) if stops and is_late else signal


def without_expired(incident: Incident, now: Moment) -> Incident:
    """The incident without a drain by hand whose time is over."""
    for signal in incident.signals:
        if signal.order is not None and signal.order.ends is not None and signal.order.ends <= now.clock:
            incident = without_signal(incident, signal, now)
    return incident


def without_signal(incident: Incident, signal: Signal, now: Moment, ended_by: str = "") -> Incident:
    """The incident after a signal is over."""
    past = PastSignal(
        signal.event,
        signal.value,
        signal.rehearsal,
        signal.noticed.at,
        now.at,
        signal.document,
        cancelled=_is_cancelled(signal, now),
        order=signal.order,
        ended_by=ended_by,
    )
    return replace(
        incident,
        signals=tuple(known for known in incident.signals if known is not signal),
        past=(*incident.past, past),
    )


def _is_cancelled(signal: Signal, now: Moment) -> bool:
    """Whether a signal that is over was withdrawn before its event."""
    if signal.ends_by_itself or signal.begun or signal.deadline is None:
        return False
    # The event may have caused the reboot, except for a window that has not begun.
    if not signal.confirmed and signal.event != WINDOW:
        return False
    return now.clock < signal.deadline - CANCELLED_BEFORE


def _tried_soon(incident: Incident, tasks: Iterable[str], now: Moment) -> Incident:
    """The incident with the failed restores of these tasks due now, and their pauses reset."""
    for step in not_restored(incident):
        if step.task in tasks and not step.open:
            incident = incident.with_step(replace(step, again_at=now.clock, began=now.clock))
    return incident


def _opened(tasks: tuple[Task, ...], signal: Signal) -> Incident:
    return Incident(id=f"{int(signal.noticed.at * 1000):x}-{signal.event}", opened=signal.noticed, tasks=tasks)


def _with_signal(incident: Incident, signal: Signal, now: Moment) -> Incident:
    # Larger than that of any decision, because none of them was about this announcement.
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
    """Whether the same announcement, read again, may change its deadline.

    Days before a window, the wall clock may still be corrected. When the window has begun or its tasks have started,
    its deadline on the monotonic clock is fixed.
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
            # Without a deadline, its time is computed again.
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
    """A step that has ended; for a failed restore, with the time of its next attempt."""
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
        # Decisions about the old definitions are void.
        skips=tuple(skip for skip in incident.skips if skip.task in names),
    )


def _mended(incident: Incident, tasks: tuple[Task, ...]) -> dict[str, Task]:
    """The new definitions of tasks that are not restored, by name."""
    names = {step.task for step in not_restored(incident)}
    known = {task.name: task for task in incident.tasks}
    return {task.name: task for task in tasks if task.name in names and task.has(RESTORE) and task != known[task.name]}
