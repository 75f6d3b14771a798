# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of the command line to the running handler: what each requires, and which are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._vm.maintenance import EVENTS, MANUAL, format_time
from .._vm.records import dataclass
from ..core import announcements
from ..core.incident import ANNOUNCED, Hold, Incident, Moment, Order, last_steps, not_restored
from ..core.observations import Acknowledged, HoldWanted, Observation, Released, RetryWanted, Unheld
from ..core.tasks import DRAIN as PHASE_DRAIN
from ..core.tasks import Task
from ..io.request import ACKNOWLEDGE, DRAIN, HOLD, REHEARSE, RESTORE, UNHOLD, UNLOCK, Request

# The requests of operators. All others are for root and the handler's own user.
FOR_OPERATORS = (DRAIN, RESTORE, HOLD, UNHOLD, UNLOCK)
# Seconds for which a drain can be ordered.
SHORTEST = 1.0
LONGEST = 90 * 86400.0


class Refused(Exception):
    """A request is refused. The text is the reason."""


@dataclass(frozen=True)
class Situation:
    """What the handler is doing when a request comes.

    `is_waiting`: whether an incident of an earlier boot waits for the metadata server. `tasks` is None without a valid
    configuration. `is_limited`: whether there is a fleet limit.
    """

    incident: Incident | None
    is_waiting: bool
    tasks: Sequence[Task] | None
    notice: Mapping[str, float]
    now: Moment
    is_limited: bool = False


def required_by(wanted: Request, situation: Situation) -> list[Observation]:
    """The observations that a request requires. Raises `Refused`."""
    return _REQUIRED[wanted.command](wanted, situation)


def _rehearsal(wanted: Request, situation: Situation) -> list[Observation]:
    incident = situation.incident
    if situation.is_waiting or (incident is not None and incident.phase != ANNOUNCED):
        raise Refused("an event is being handled")
    try:
        return [announcements.rehearsal(wanted.event, wanted.name, situation.now, situation.notice)]
    except KeyError:
        raise Refused(f"there is no event {wanted.event!r}") from None


def _drain(wanted: Request, situation: Situation) -> list[Observation]:
    _refuse_while_waiting(situation)
    if wanted.event not in EVENTS:
        raise Refused(f"tasks can run as for {', '.join(EVENTS)}, not {wanted.event!r}")
    if wanted.seconds is not None and not SHORTEST <= wanted.seconds <= LONGEST:
        raise Refused(f"a drain can be ordered for {SHORTEST:g} to {LONGEST:g} s, not {wanted.seconds:g}")
    if situation.tasks is None:
        raise Refused("the configuration is invalid, so that nothing can be drained")
    known = situation.incident.by_hand() if situation.incident is not None else None
    if known is not None and known.order is not None:
        since = format_time(known.noticed.at)
        raise Refused(f"{_by(known.order)} has drained the VM since {since}, as for {known.order.as_event}")
    if not any(task.event_for(MANUAL, wanted.event) for task in situation.tasks):
        raise Refused(f"no task is for {MANUAL} or {wanted.event}, so that nothing would be drained")
    ends = None if wanted.seconds is None else situation.now.clock + wanted.seconds
    # An earlier version, after a roll-back, could not read it in the journal.
    slot_within = wanted.slot_within if situation.is_limited else None
    return [announcements.by_hand(Order(wanted.by, wanted.event, wanted.reason, ends, slot_within), situation.now)]


def _restore(wanted: Request, situation: Situation) -> list[Observation]:
    incident = situation.incident
    if situation.is_waiting or wanted.tasks or incident is None or incident.by_hand() is None:
        return [RetryWanted(_unrestored(wanted, situation))]
    failed = tuple(step.task for step in not_restored(incident))
    return [Released(wanted.by), *([RetryWanted(failed)] if failed else [])]


def _hold(wanted: Request, situation: Situation) -> list[Observation]:
    _refuse_while_waiting(situation)
    incident = situation.incident
    if incident is None or not (incident.signals or _is_drained(incident)):
        raise Refused("nothing is announced or drained")
    if incident.hold is not None and incident.is_held:
        raise Refused(f"{_by(incident.hold)} holds what is drained since {format_time(incident.hold.at)}")
    return [HoldWanted(Hold(wanted.by, situation.now.at, wanted.reason))]


def _unhold(wanted: Request, situation: Situation) -> list[Observation]:
    _refuse_while_waiting(situation)
    if situation.incident is None or not situation.incident.is_held:
        raise Refused("nothing is held")
    return [Unheld(wanted.by)]


def _acknowledgement(wanted: Request, situation: Situation) -> list[Observation]:
    return [Acknowledged(_unrestored(wanted, situation), wanted.by)]


_REQUIRED = {
    REHEARSE: _rehearsal,
    DRAIN: _drain,
    RESTORE: _restore,
    HOLD: _hold,
    UNHOLD: _unhold,
    ACKNOWLEDGE: _acknowledgement,
}


def _refuse_while_waiting(situation: Situation) -> None:
    if situation.is_waiting:
        raise Refused("an incident of an earlier boot is open, and the metadata server has not answered yet")


def _unrestored(wanted: Request, situation: Situation) -> tuple[str, ...]:
    """The tasks of a request that are not restored; all of them, if it names none."""
    _refuse_while_waiting(situation)
    names = [step.task for step in not_restored(situation.incident)] if situation.incident is not None else []
    if not names:
        raise Refused("all tasks are restored")
    unknown = [name for name in wanted.tasks if name not in names]
    if unknown:
        known = ", ".join(map(repr, names))
        raise Refused(f"{', '.join(map(repr, unknown))} is not among what is not restored: {known}")
    return wanted.tasks or tuple(names)


def _is_drained(incident: Incident) -> bool:
    return any(step.phase == PHASE_DRAIN for step in last_steps(incident.steps).values())


def _by(order: Order | Hold) -> str:
    return f"{order.by} ({order.reason})" if order.reason else order.by
