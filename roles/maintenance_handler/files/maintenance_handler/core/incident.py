# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An incident: its parts, and their forms for the journal, the history and the status.

An incident opens with the first signal. It closes when no signal is left and every task that was started is restored
or acknowledged as not restored. All decisions of the handler derive from two lists: the signals that are on, and the
steps that were started.
Decisions use monotonic times (`clock`); wall times (`at`, epoch seconds) are for people and for other boots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .._vm.maintenance import DRIFT_TOKEN_KEY
from .._vm.records import dataclass, replace
from .checked import checked
from .event import BOOT, OPERATOR, REHEARSAL, reduced
from .tasks import DRAIN, RESTORE, TASK_EVENTS, Task, without_grace

if TYPE_CHECKING:
    from .slot import Slot

# How a step ended. An open step has the outcome "".
OK = "ok"
FAILED = "failed"
TIMEOUT = "timeout"
NOT_STARTED = "not started"  # its program could not be run at all, so nothing was changed
CANCELLED = "cancelled"  # ended by us because its event was over (or, a restore, because a new event came)
INTERRUPTED = "interrupted"  # the handler or the machine went down while it ran

# A step that ended like this did not do its work.
FAILURES = (FAILED, TIMEOUT, NOT_STARTED)

# The phases of an incident, in the order of a person's reading.
IDLE = "idle"
ANNOUNCED = "announced"
DRAINING = "draining"
DRAINED = "drained"
RESTORING = "restoring"
NOT_RESTORED = "not restored"
CLOSED = "closed"
PHASES = (IDLE, ANNOUNCED, DRAINING, DRAINED, RESTORING, NOT_RESTORED, CLOSED)


@dataclass(frozen=True)
class Moment:
    """A point in time on both clocks."""

    clock: float
    at: float


@dataclass(frozen=True)
class Order:
    """An operator's order to drain. Tasks that are not for `manual` run as for the event `as_event`."""

    by: str
    as_event: str
    reason: str = ""
    # When it is over, on the monotonic clock, unless it is ended before.
    ends: float | None = None
    # How many seconds to wait for a slot of the fleet limit.
    slot_within: float | None = None


@dataclass(frozen=True)
class Hold:
    """An operator's order to leave drained what is drained, also after the event. Times in epoch seconds."""

    by: str
    at: float
    reason: str = ""
    released_by: str = ""
    released_at: float | None = None


@dataclass(frozen=True)
class Signal:
    """An event that is announced now. `source` is the metadata key that announces it, a rehearsal, or an operator."""

    source: str
    event: str
    value: str
    noticed: Moment
    deadline: float | None
    document: Mapping[str, Any]
    # The window had already begun when it was read: its deadline is assumed, not announced.
    begun: bool = False
    # False after a reboot, until the metadata server has answered again.
    confirmed: bool = True
    # Increases with each change within an incident, so that a decision applies to one announcement only.
    serial: int = 0
    # Of a drain by hand.
    order: Order | None = None

    @property
    def rehearsal(self) -> bool:
        return self.source == REHEARSAL

    @property
    def ends_by_itself(self) -> bool:
        """Whether its end is not announced: it is over when all its tasks have been run."""
        return self.source in (REHEARSAL, DRIFT_TOKEN_KEY, BOOT)

    @property
    def is_by_hand(self) -> bool:
        return self.source == OPERATOR

    def event_for(self, task: Task) -> str:
        """The event as which it concerns a task; empty if it does not."""
        return task.event_for(self.event, self.order.as_event if self.order is not None else "")


@dataclass(frozen=True)
class PastSignal:
    """An event that is over."""

    event: str
    value: str
    rehearsal: bool
    noticed_at: float
    ended_at: float
    document: Mapping[str, Any]
    # It was withdrawn before its deadline.
    cancelled: bool = False
    # Of a drain by hand, and who ended it; nobody if its time was over.
    order: Order | None = None
    ended_by: str = ""


@dataclass(frozen=True)
class Step:
    """One start of one task in one phase. Times are monotonic, except `acknowledged_at`."""

    number: int
    task: str
    phase: str
    event: str
    attempt: int
    started: Moment
    # When the task is killed at the latest.
    until: float
    # Seconds until the event when it started, None if the time of the event is unknown.
    left: float | None
    # The deadline from which its time was derived.
    deadline: float | None = None
    finished: Moment | None = None
    outcome: str = ""
    detail: str = ""
    # The last line of its output, if it failed. Only in the journal and the history, whose readers are restricted.
    output: str = ""
    # It was asked to end early.
    ending: bool = False
    # A drain of a task without a restore, while the incident outlasts its events.
    over: bool = False
    # When its first attempt began.
    began: float | None = None
    # The rest is for restores. This or an earlier restore failed with no retries left: the task is not restored.
    failing: bool = False
    # When the next attempt is due.
    again_at: float | None = None
    # An earlier attempt ran, so the task may be restored in part.
    partial: bool = False
    # Who acknowledged that the task is not restored, and when (epoch seconds).
    acknowledged_by: str = ""
    acknowledged_at: float | None = None
    # The event as which its task runs, if that is not `event`: see `Order`.
    as_event: str = ""

    @property
    def task_event(self) -> str:
        """The event as which its task runs."""
        return self.as_event or self.event

    @property
    def open(self) -> bool:
        return self.finished is None

    @property
    def limit(self) -> float:
        """Seconds until it gets SIGTERM. It has until `until` to end."""
        return without_grace(self.until - self.started.clock)

    @property
    def attempts_began(self) -> float:
        return self.started.clock if self.began is None else self.began


@dataclass(frozen=True)
class Skip:
    """The decision not to start a task for one announcement."""

    task: str
    event: str
    serial: int
    reason: str
    at: float


@dataclass(frozen=True)
class Incident:
    """The signals and steps from the first signal to the last restore."""

    id: str
    opened: Moment
    tasks: tuple[Task, ...]
    signals: tuple[Signal, ...] = ()
    # In the order in which they ended.
    past: tuple[PastSignal, ...] = ()
    steps: tuple[Step, ...] = ()
    skips: tuple[Skip, ...] = ()
    phase: str = ANNOUNCED
    # The last hold: until it is released, nothing that is drained is restored.
    hold: Hold | None = None
    # The number of older ones that were dropped (`trimming`).
    past_dropped: int = 0
    steps_dropped: int = 0
    # Of the fleet limit, if one is configured and was asked for.
    slot: Slot | None = None

    @property
    def past_as_noticed(self) -> list[PastSignal]:
        """`past` in the order in which they were noticed. A window and its event end in either order."""
        return sorted(self.past, key=lambda past: past.noticed_at)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for the journal. It contains the environments of tasks, and with them secrets."""
        # Copying every value would take as long as starting a task.
        values = {
            **vars(self),
            "opened": vars(self.opened),
            "tasks": [task.to_dict() for task in self.tasks],
            "signals": [{**_to_dict(signal), "noticed": vars(signal.noticed)} for signal in self.signals],
            "past": [_to_dict(past) for past in self.past],
            "steps": [_step_to_dict(step) for step in self.steps],
            "skips": [vars(skip) for skip in self.skips],
            "hold": self.hold and vars(self.hold),
        }
        # Earlier versions, after a roll-back, do not know it.
        del values["slot"]
        return values if self.slot is None else {**values, "slot": self.slot.to_dict()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Incident:
        """The incident of `to_dict`. Raises KeyError, TypeError or ValueError for anything else."""
        incident = cls(
            id=checked(cls, raw)["id"],
            opened=_moment(raw["opened"]),
            tasks=tuple(Task.from_dict(checked(Task, task)) for task in raw["tasks"]),
            signals=tuple(_signal_from_dict(signal) for signal in raw["signals"]),
            past=tuple(_past_from_dict(past) for past in raw["past"]),
            steps=tuple(_step_from_dict(step) for step in raw["steps"]),
            skips=tuple(Skip(**checked(Skip, skip)) for skip in raw["skips"]),
            phase=raw["phase"],
            hold=None if raw.get("hold") is None else Hold(**checked(Hold, raw["hold"])),
            past_dropped=raw.get("past_dropped", 0),
            steps_dropped=raw.get("steps_dropped", 0),
            slot=_slot_from_dict(raw.get("slot")),
        )
        if incident.phase not in PHASES:
            raise ValueError(f"no such phase of an incident: {incident.phase!r}")
        for task in incident.tasks:
            if not task.has(DRAIN):
                raise ValueError(f"task {task.name!r} has nothing to drain")
        told = {one.event for one in incident.signals} | {one.event for one in incident.past}
        if not told:
            raise ValueError("an incident without an announcement")
        for step in incident.steps:
            if step.event not in told:
                raise ValueError(f"step {step.number} is for {step.event!r}, which was not announced")
        return incident

    def task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.name == name)

    @property
    def is_held(self) -> bool:
        """Whether an operator holds what is drained."""
        return self.hold is not None and self.hold.released_at is None

    def by_hand(self) -> Signal | None:
        """The drain that an operator has ordered, if it is on."""
        return next((signal for signal in self.signals if signal.is_by_hand), None)

    def deadline(self) -> float | None:
        """The nearest deadline of the announced events on the monotonic clock, None if none is known."""
        known = (one.deadline for one in self.signals if one.deadline is not None and one.confirmed)
        return min(known, default=None)

    def with_step(self, changed: Step) -> Incident:
        """This incident with the step of the same number replaced."""
        return replace(self, steps=tuple(changed if step.number == changed.number else step for step in self.steps))


def held(incident: Incident) -> tuple[str, ...]:
    """The names of the tasks that were started and not restored."""
    return tuple(name for name, step in last_steps(incident.steps).items() if not _is_over(step))


def not_restored(incident: Incident) -> tuple[Step, ...]:
    """The newest step of each task whose restore failed with no retries left. It may be another attempt."""
    return tuple(step for step in last_steps(incident.steps).values() if step.failing and not _is_over(step))


def last_steps(steps: Iterable[Step]) -> dict[str, Step]:
    """The newest step of each task that was started."""
    return {step.task: step for step in steps}


# Fields that only drains by hand, a fleet limit and long incidents have.
_NEW_FIELDS = ("order", "ended_by", "as_event", "slot_within", "over")


def _step_to_dict(step: Step) -> dict[str, Any]:
    finished = None if step.finished is None else vars(step.finished)
    return {**_without_new(vars(step)), "started": vars(step.started), "finished": finished}


def _to_dict(signal: Signal | PastSignal) -> dict[str, Any]:
    values = _without_new(vars(signal))
    return values if signal.order is None else {**values, "order": _without_new(vars(signal.order))}


def _without_new(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without those of them that are empty: earlier versions, after a roll-back, do not know them."""
    return {name: value for name, value in values.items() if value or name not in _NEW_FIELDS}


def _order_from_dict(raw: Mapping[str, Any]) -> Order | None:
    return None if raw.get("order") is None else Order(**checked(Order, raw["order"]))


def _slot_from_dict(raw: Any) -> Slot | None:
    if raw is None:
        return None
    # Imported only if there is a fleet limit, to save memory.
    from .slot import slot_from_dict

    return slot_from_dict(raw)


def _moment(raw: Any) -> Moment:
    return Moment(**checked(Moment, raw))


def _signal_from_dict(raw: Any) -> Signal:
    read = checked(Signal, raw)
    document = reduced(read["document"])
    moments = {"noticed": _moment(raw["noticed"])}
    signal = Signal(**{**read, **moments, "document": document, "order": _order_from_dict(read)})
    if signal.event not in TASK_EVENTS:
        raise ValueError(f"no such event: {signal.event!r}")
    return signal


def _past_from_dict(raw: Any) -> PastSignal:
    read = checked(PastSignal, raw)
    return PastSignal(**{**read, "document": reduced(read["document"]), "order": _order_from_dict(read)})


def _step_from_dict(raw: Any) -> Step:
    finished = checked(Step, raw)["finished"]
    moments = {"started": _moment(raw["started"]), "finished": None if finished is None else _moment(finished)}
    step = Step(**{**raw, **moments})
    if step.phase not in (DRAIN, RESTORE):
        raise ValueError(f"no such phase: {step.phase!r}")
    if step.task_event not in TASK_EVENTS:
        raise ValueError(f"no such event: {step.task_event!r}")
    return step


def _is_over(last: Step) -> bool:
    """Whether a task with this newest step is restored, acknowledged, or has nothing to restore."""
    return last.over or (last.phase == RESTORE and last.outcome == OK) or (bool(last.acknowledged_by) and not last.open)
