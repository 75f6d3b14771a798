# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are notified of: derived from the states of an incident. Pure.

A notice has an id that depends only on what happened. So a handler that resumes an incident finds out which notices its
predecessor did not queue any more, and receivers recognize one that they get twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._vm.maintenance import format_time
from .._vm.records import dataclass
from .condition import RETRY_DRAIN, condition_of, own_steps
from .incident import DRAINED as PHASE_DRAINED
from .incident import DRAINING as PHASE_DRAINING
from .incident import FAILURES, OK, TIMEOUT, Incident, Moment, PastSignal, Signal, Step, last_steps, not_restored
from .tasks import DRAIN, RESTORE
from .timeline import by_whom

NOTICED = "noticed"
DRAINING = "draining"
DRAINED = "drained"
FAILED = "failed"
OVERDUE = "overdue"
RESTORED = "restored"
RESTORE_FAILED = "restore_failed"
LIMIT_EXCEEDED = "limit_exceeded"
BLIND = "blind"
KINDS = (NOTICED, DRAINING, DRAINED, FAILED, OVERDUE, RESTORED, RESTORE_FAILED, LIMIT_EXCEEDED, BLIND)

# The ids of notices that the metadata server does not answer, and that it answers again.
_BLIND_ID = "blind-"
_SEEING_ID = "seeing-"

# No message needs more, and some receivers accept no more.
_LONGEST_TEXT = 1000
_MOST_TASKS = 50


@dataclass(frozen=True)
class Notice:
    """One notice. Times in epoch seconds; `opened_at` is when the incident, or the blindness, began.

    `resolves` means that the trouble that earlier notices of the incident reported is over.
    """

    id: str
    kind: str
    text: str
    at: float
    opened_at: float
    incident: str = ""
    event: str = ""
    tasks: tuple[str, ...] = ()
    rehearsal: bool = False
    resolves: bool = False
    deadline: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "text": self.text[:_LONGEST_TEXT], "tasks": list(self.tasks[:_MOST_TASKS])}


def changes(before: Incident | None, after: Incident, now: Moment) -> list[Notice]:
    """The notices of what has happened between two states of an incident, oldest first."""
    earlier = set() if before is None else {notice.id for notice in current(before, now)}
    was_draining = before is not None and before.phase == PHASE_DRAINING
    return [
        notice
        for notice in current(after, now)
        if notice.id not in earlier and not (notice.kind == DRAINING and was_draining)
    ]


def current(incident: Incident, now: Moment) -> list[Notice]:
    """The notices of the state of an incident."""
    return [
        *(_noticed(incident, signal, now) for signal in incident.signals),
        *_draining(incident, now),
        *_troubles(incident, now),
        *_drained(incident, now),
        *(_restore_failed(incident, step, now) for step in not_restored(incident)),
    ]


def restored(document: Mapping[str, Any], at: float) -> Notice:
    """An incident (of `public.recorded`, or of the history) is closed."""
    past, steps = document["past"], document["steps"]
    restored_tasks = _unique(step["task"] for step in steps if step["phase"] == RESTORE and step["outcome"] == OK)
    left = _unique(one["task"] for one in document.get("acknowledged", ()))
    events = ", ".join(_unique(one["event"] for one in past))
    if restored_tasks:
        text = f"{events} is over: restored {', '.join(restored_tasks)}"
    else:
        text = f"{events} is over: nothing was restored" if steps else f"{events} is over: nothing was drained"
    if document.get("slot"):
        # Imported only if there is a fleet limit, to save memory.
        from .slot_lines import given_up

        reason = given_up(document)
        text += f"; a drain by hand gave up: {reason}" if reason else ""
    if left:
        text += f"; {', '.join(left)}: not restored, as somebody has acknowledged"
    return Notice(
        id=restored_id(document["id"]),
        kind=RESTORED,
        text=f"{text}. It took {at - document['opened_at']:.0f} s.",
        at=at,
        opened_at=document["opened_at"],
        incident=document["id"],
        event=past[0]["event"] if past else "",
        tasks=restored_tasks,
        rehearsal=bool(past) and all(one["rehearsal"] for one in past),
        resolves=True,
    )


def restored_id(incident: str) -> str:
    """The id of the notice that closes an incident."""
    return f"{incident}-{RESTORED}"


def limit_exceeded(incident: Incident, reason: str, now: Moment) -> Notice:
    """The VM drains although the fleet limit has no slot for it. `reason` is a sentence without its period.

    One notice for each announcement, however often this is called.
    """
    serial = max((signal.serial for signal in incident.signals), default=0)
    return _notice(incident, f"{LIMIT_EXCEEDED}-{serial}", LIMIT_EXCEEDED, f"draining beyond the limit: {reason}", now)


def blind(since: float, now: Moment) -> Notice:
    """The metadata server does not answer, so that events are not noticed. `since`: epoch seconds."""
    return Notice(
        id=f"{_BLIND_ID}{_in_hex(now.at)}",
        kind=BLIND,
        text=f"no answer from the metadata server for {now.at - since:.0f} s, so that events are not noticed",
        at=now.at,
        opened_at=since,
    )


def seeing(since: float, now: Moment) -> Notice:
    """The metadata server answers again."""
    return Notice(
        id=f"{_SEEING_ID}{_in_hex(now.at)}",
        kind=BLIND,
        text="the metadata server answers again",
        at=now.at,
        opened_at=since,
        resolves=True,
    )


def is_blind_after(known: list[str]) -> bool:
    """Whether the newest of these ids, oldest first, that is about blindness says that it has begun."""
    about = [one for one in known if one.startswith((_BLIND_ID, _SEEING_ID))]
    return bool(about) and about[-1].startswith(_BLIND_ID)


def is_repeated(notice: Mapping[str, Any], known: list[str]) -> bool:
    """Whether a notice about a resumed incident is among these ids.

    The id of `draining` has the first step of that time, which cannot be told from the state later.
    """
    if notice["kind"] == DRAINING:
        return any(one.startswith(f"{notice['incident']}-{DRAINING}-") for one in known)
    return notice["id"] in known


def is_left_open(incident: str, known: list[str]) -> bool:
    """Whether these ids contain notices of an incident, but not that it is closed."""
    return restored_id(incident) not in known and any(one.startswith(f"{incident}-") for one in known)


def _noticed(incident: Incident, signal: Signal, now: Moment) -> Notice:
    order = signal.order
    if order is not None:
        text = f"a drain as for {order.as_event} is ordered {by_whom(vars(order))}"
    else:
        left = "" if signal.deadline is None else f", in {_seconds(signal.deadline - now.clock)}"
        text = f"{signal.event} is {'rehearsed' if signal.rehearsal else 'announced'} ({signal.value}){left}"
    return _notice(incident, f"{NOTICED}-{signal.serial}", NOTICED, text, now)


def _draining(incident: Incident, now: Moment) -> Iterator[Notice]:
    running = [step for step in incident.steps if step.phase == DRAIN and step.open]
    if incident.phase == PHASE_DRAINING and running:
        tasks = _unique(step.task for step in running)
        text = f"draining for {_events(incident)}: {', '.join(tasks)} started"
        yield _notice(incident, f"{DRAINING}-{running[0].number}", DRAINING, text, now, tasks)


def _drained(incident: Incident, now: Moment) -> Iterator[Notice]:
    if incident.phase != PHASE_DRAINED or not incident.steps:
        return
    drains = {task: step for task, step in last_steps(incident.steps).items() if step.phase == DRAIN}
    failed = [task for task, step in drains.items() if step.outcome in FAILURES]
    text = f"drained for {_events(incident)}: {', '.join(drains)}"
    deadline = incident.deadline()
    if deadline is not None and deadline > now.clock:
        text += f", {_seconds(deadline - now.clock)} before the event"
    if failed:
        text += f"; failed: {', '.join(failed)}"
    last = max(step.number for step in incident.steps)
    yield _notice(incident, f"{DRAINED}-{last}", DRAINED, text, now, tuple(drains))


def _troubles(incident: Incident, now: Moment) -> Iterator[Notice]:
    """Drains that have failed for good, or ended too late."""
    tasks = {task.name: task for task in incident.tasks}
    newest = last_steps(incident.steps)
    for step in incident.steps:
        if step.phase != DRAIN or step.open:
            continue
        if step.outcome in FAILURES:
            task = tasks.get(step.task)
            is_retried = task is not None and condition_of(task, own_steps(incident, task)) == RETRY_DRAIN
            if newest[step.task] is step and not is_retried:
                yield _failed(incident, step, now)
        elif step.outcome == OK and _seconds_late(step) > 0:
            text = f"drain {step.task!r} ended {_seconds(_seconds_late(step))} after {step.event} had begun"
            yield _notice(incident, f"{OVERDUE}-{step.number}", OVERDUE, text, now, (step.task,))


def _failed(incident: Incident, step: Step, now: Moment) -> Notice:
    # Not its output, which may have secrets.
    detail = f" ({step.detail})" if step.detail else ""
    if step.outcome == TIMEOUT:
        text = f"drain {step.task!r} for {step.event} did not end within {_seconds(step.limit)}{detail}"
        return _notice(incident, f"{OVERDUE}-{step.number}", OVERDUE, text, now, (step.task,))
    text = f"drain {step.task!r} for {step.event}: {step.outcome}{detail}"
    return _notice(incident, f"{FAILED}-{step.number}", FAILED, text, now, (step.task,))


def _restore_failed(incident: Incident, step: Step, now: Moment) -> Notice:
    # One for each drain, however many attempts fail. The newest drain of each task is never trimmed.
    drain = max((one.number for one in incident.steps if one.task == step.task and one.phase == DRAIN), default=0)
    detail = f" ({step.detail})" if step.detail else ""
    again = ""
    if step.again_at is not None:
        again = f", tries again at {format_time(now.at + step.again_at - now.clock)}"
    text = f"restore {step.task!r} failed{detail}: the VM stays out of service{again}"
    return _notice(incident, f"{RESTORE_FAILED}-{drain}", RESTORE_FAILED, text, now, (step.task,))


def _notice(incident: Incident, what: str, kind: str, text: str, now: Moment, tasks: tuple[str, ...] = ()) -> Notice:
    deadline = incident.deadline()
    events: list[Signal | PastSignal] = [*incident.signals, *incident.past_as_noticed]
    return Notice(
        id=f"{incident.id}-{what}",
        kind=kind,
        text=text,
        at=now.at,
        opened_at=incident.opened.at,
        incident=incident.id,
        event=events[0].event if events else "",
        tasks=tasks,
        rehearsal=all(one.rehearsal for one in events),
        deadline=None if deadline is None else round(now.at + deadline - now.clock, 3),
    )


def _events(incident: Incident) -> str:
    return ", ".join(_unique(signal.event for signal in incident.signals)) or "an event that is over"


def _seconds_late(step: Step) -> float:
    if step.deadline is None or step.finished is None:
        return 0.0
    return step.finished.clock - step.deadline


def _seconds(seconds: float) -> str:
    return f"{max(0.0, seconds):.0f} s"


def _unique(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _in_hex(at: float) -> str:
    return f"{int(at * 1000):x}"
