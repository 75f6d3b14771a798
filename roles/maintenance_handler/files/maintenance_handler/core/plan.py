# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of an event: when each task is due, in which order, and how much time it has. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from .._vm.maintenance import MANUAL, PREEMPT, WINDOW
from .._vm.records import dataclass, replace
from .tasks import DRAIN, GRACE, RESTORE, Task, with_grace, without_grace

# The part of the notice, and the seconds, that are kept free before an event, so that no task is running then.
RESERVE_SHARE = 0.05
RESERVE_MOST = 1.0


# Where a notice comes from.
SET = "set in the configuration"
SHOWN = "from the VM's scheduling"
DEFAULT = "the default"


@dataclass(frozen=True)
class Notice:
    """The seconds of notice that an event is assumed to have, and where they come from."""

    seconds: float
    source: str = DEFAULT

    def __str__(self) -> str:
        return f"{self.seconds:g} s of notice, {self.source}"


def assumed_notice(
    seconds: Mapping[str, float], configured: Collection[str], preemption: float | None
) -> dict[str, Notice]:
    """The notice of each event. The configuration goes first, then what the VM's scheduling shows of a preemption."""
    notice = {event: Notice(each, SET if event in configured else DEFAULT) for event, each in seconds.items()}
    if preemption is not None and PREEMPT not in configured:
        notice[PREEMPT] = Notice(preemption, SHOWN)
    return notice


@dataclass(frozen=True)
class Stage:
    """Tasks that run in parallel, and the timeout of the longest."""

    number: int
    tasks: tuple[Task, ...]
    seconds: float


@dataclass(frozen=True)
class Batch:
    """The stages that are due at the same time: `lead` seconds before the event, or (None) when it is announced."""

    lead: float | None
    stages: tuple[Stage, ...]


def stages(tasks: Iterable[Task], event: str, phase: str = DRAIN) -> tuple[Stage, ...]:
    """The tasks of an event by stage, in the order of the phase: ascending to drain, descending to restore."""
    by_number: dict[int, list[Task]] = {}
    for task in tasks:
        if task.has(phase):
            by_number.setdefault(task.stage, []).append(task)
    return tuple(
        Stage(number, tuple(by_number[number]), max(task.limit(phase, event) for task in by_number[number]))
        for number in sorted(by_number, reverse=phase == RESTORE)
    )


def batches(tasks: Iterable[Task], event: str) -> tuple[Batch, ...]:
    """The batches of an event, in order of time."""
    by_lead: dict[float | None, list[Task]] = {}
    for task in tasks:
        if event in task.on:
            by_lead.setdefault(task.lead_for(event), []).append(task)
    # Tasks without a lead come first, then the longest lead.
    order = sorted(by_lead, key=lambda lead: float("-inf") if lead is None else -lead)
    return tuple(Batch(lead, stages(by_lead[lead], event)) for lead in order)


def by_hand(tasks: Iterable[Task], as_event: str) -> tuple[Task, ...]:
    """The tasks of a drain by hand, with the times that they have for the event as which they run."""
    mine = []
    for task in tasks:
        event = task.event_for(MANUAL, as_event)
        if event:
            drain, restore = task.limit(DRAIN, event), task.limit(RESTORE, event)
            mine.append(replace(task, on=(MANUAL,), timeout=drain, restore_timeout=restore))
    return tuple(mine)


def misfits(tasks: Iterable[Task], event: str, notice: Mapping[str, float]) -> list[str]:
    """A sentence for each reason why tasks cannot be drained within the notice of an event.

    Tasks with a lead, together with those with a shorter one, must fit into that lead; all tasks together must fit into
    the notice. For a window, which is announced days ahead, the notice does not matter.
    """
    mine = [task for task in tasks if event in task.on]
    problems = []
    bounds = sorted({lead for lead in (task.lead_for(event) for task in mine) if lead is not None})
    for lead in bounds:
        if event != WINDOW and lead > notice[event]:
            longest = next(task for task in mine if task.lead_for(event) == lead)
            problems.append(
                f"task {longest.name!r}, field 'lead': {lead:g} s before a {event} event, "
                f"of which {notice[event]:g} s of notice are given"
            )
            continue
        within = [task for task in mine if _is_within(task.lead_for(event), lead)]
        problems += _excess(within, event, lead, f"the lead of {lead:g} s")
    if event != WINDOW:
        problems += _excess(mine, event, notice[event], f"the notice of {notice[event]:g} s")
    return problems


def fraction(needs: float, left: float) -> float:
    """The share of its time that each stage gets when `left` seconds are left for all: 1 if they fit.

    All stages get the same share, so that a long task does not use up the time of later ones. After the deadline, the
    event is late by an unknown time, and the stages get all of their time.
    """
    if needs <= left or left <= 0:
        return 1.0
    return left / needs


def reserve(notice: float) -> float:
    """Seconds that are kept free before an event with this notice."""
    return min(RESERVE_MOST, RESERVE_SHARE * notice)


def shortened(batch: Batch, event: str, notice: Mapping[str, float]) -> list[str]:
    """A sentence if the tasks of a batch get less time than their timeouts."""
    given = notice.get(event) if event != WINDOW else batch.lead
    left = given if batch.lead is None else batch.lead
    if given is None or left is None:
        return []
    needs = [with_grace(stage.seconds) for stage in batch.stages]
    part = fraction(sum(needs), left - reserve(given))
    if part == 1.0:
        return []
    stages_get = " and ".join(f"{without_grace(part * need):.1f} s" for need in needs)
    free = f"{reserve(given):g} s before the event is kept free"
    return [f"the stages get {stages_get}; {free}, and a task has up to {GRACE:g} s to end"]


def _is_within(lead: float | None, bound: float) -> bool:
    return lead is not None and lead <= bound


def _excess(tasks: list[Task], event: str, seconds: float, what: str) -> list[str]:
    rows = stages(tasks, event)
    total = sum(stage.seconds for stage in rows)
    if total <= seconds:
        return []
    worst = max((task for stage in rows for task in stage.tasks), key=lambda task: task.limit(DRAIN, event))
    steps = " + ".join(f"{stage.seconds:g}" for stage in rows) + (f" = {total:g}" if len(rows) > 1 else "")
    return [
        f"task {worst.name!r}, field 'timeout': the stages for {event} take {steps} s, more than {what}; "
        f"shorten timeouts, or let tasks share a stage"
    ]
