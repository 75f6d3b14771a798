# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many VMs of a group may be drained at one time: which tasks wait for a slot, and how long. Pure.

Imported only if a limit is configured. The platform does not wait for a slot, so an event that gives time waits while
what is left suffices for its tasks, and goes ahead without one then. A store that does not answer never makes it worse
than without a limit: nothing is skipped, and nothing fails, because of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._vm.maintenance import MANUAL, MIGRATE, PREEMPT, STOP, TERMINATE, WINDOW
from .._vm.records import dataclass, field, replace
from .condition import REST, RUNS_DRAIN, RUNS_RESTORE
from .incident import Incident, Moment, Signal, Skip
from .observations import DENIED, UNUSABLE
from .plan import stages
from .slot import EXCEEDED, GIVEN_BACK, Slot, named
from .slot_lines import GIVEN_UP
from .tasks import IGNORE, LATE, RESTORE, SKIP, WAIT, Task, with_grace

# What an event can do if no slot is free.
ALLOWED = {
    MIGRATE: (SKIP, IGNORE),
    TERMINATE: (LATE, WAIT, SKIP, IGNORE),
    WINDOW: (WAIT, LATE, SKIP, IGNORE),
    STOP: (LATE, WAIT, SKIP, IGNORE),
    PREEMPT: (IGNORE,),
    MANUAL: (WAIT, LATE, SKIP, IGNORE),
}
DENIED_DEFAULT = {event: policies[0] for event, policies in ALLOWED.items()}

# Seconds for an answer, and the share of the notice that an answer may take if nothing else is left to wait for.
ANSWER = 3.0
ANSWER_SHARE = 0.05
# Seconds without an answer after which an event without a deadline goes ahead.
AWAY_FOR = 15.0
# Seconds that an event without a deadline waits, if nobody says how long.
WITHOUT_DEADLINE = 3600.0


@dataclass(frozen=True)
class FleetLimit:
    """The settings. Times in seconds. `options` are those of the store, as they are configured."""

    backend: str
    group: str
    # The store gives the slot to another VM if it has not heard from this one for so long.
    ttl: float = 600.0
    # What is left of the notice, besides the time of the tasks, when an event goes ahead without a slot.
    reserve: float = 10.0
    denied: Mapping[str, str] = field(default_factory=lambda: dict(DENIED_DEFAULT))
    options: Mapping[str, Any] = field(default_factory=dict)

    def policy(self, task: Task, event: str) -> str:
        """What a task does for an event if no slot is free."""
        if event not in ALLOWED:
            return IGNORE
        wish = task.when_denied.get(event) if isinstance(task.when_denied, Mapping) else task.when_denied
        return wish if wish in ALLOWED[event] else self.denied[event]

    def gate(self, incident: Incident, conditions: Mapping[str, str], now: Moment) -> Gate:
        return Gate(self, incident, conditions, now)

    def latest(self, tasks: tuple[Task, ...], event: str) -> float:
        """Seconds before an event at which its tasks are drained without a slot."""
        return self.reserve + sum(with_grace(stage.seconds) for stage in stages(tasks, event))

    def plan(self, event: str, tasks: Sequence[Task], notice: float | None) -> list[str]:
        """A line for each group of tasks of an event: what they do if no slot is free, and when."""
        mine = tuple(task for task in tasks if event in task.on)
        names: dict[str, list[str]] = {}
        for task in mine:
            names.setdefault(self.policy(task, event), []).append(task.name)
        if event not in ALLOWED or not names:
            return []
        latest = self.latest(mine, event)
        when = f"waits, then drained all the same, {latest:g} s before it"
        if notice is not None and event != WINDOW and latest >= notice:
            when = f"drained at once all the same: the tasks and the reserve need {latest:g} s"
        if event == MANUAL:
            words = {WAIT: "waits for the time of --timeout, then fails", LATE: "drained after the time of --timeout"}
        else:
            words = {WAIT: when, LATE: when}
        words.update({SKIP: "not drained", IGNORE: "drained: never asks for a slot"})
        return [
            f"    without a slot: {', '.join(names[policy])}: {words[policy]}" for policy in words if policy in names
        ]


@dataclass(frozen=True)
class _Wait:
    """A task waits for a slot, since and until these times on the clock."""

    event: str
    began: float
    until: float


class Gate:
    """Decides for one survey of an incident which tasks may start."""

    def __init__(self, limit: FleetLimit, incident: Incident, conditions: Mapping[str, str], now: Moment) -> None:
        self._limit = limit
        self._incident = incident
        self._conditions = conditions
        self._now = now
        self._waits: dict[str, _Wait] = {}
        # The reasons, by event.
        self._exceeds: dict[str, str] = {}
        # Drains by hand that have waited long enough.
        self.given_up: list[Signal] = []

    def admits(self, task: Task, signal: Signal, due: float, skips: list[Skip]) -> bool:
        """Whether a task at rest may start for a signal. One that is not to be started at all is added to `skips`."""
        policy = self._limit.policy(task, signal.event)
        slot = self._slot()
        if policy == IGNORE or (slot is not None and slot.is_open):
            return True
        began = self._now.clock if slot is None else max(due, slot.since.clock)
        wait = _Wait(signal.event, began, self._until(policy, signal, began))
        is_fresh = slot is not None and slot.answered is not None and slot.answered >= began
        if policy == SKIP and slot is not None and is_fresh and slot.outcome == DENIED:
            skips.append(Skip(task.name, signal.event, signal.serial, _no_slot(slot), self._now.at))
            return False
        is_away = slot is not None and is_fresh and slot.outcome in UNUSABLE
        if is_away and (policy == SKIP or (signal.deadline is None and self._is_away_too_long(slot, began))):
            self._exceeds[signal.event] = _no_slot(slot)
            return True
        if self._now.clock < wait.until:
            self._waits[task.name] = wait
            return False
        if policy == WAIT and signal.is_by_hand:
            self.given_up.append(signal)
            return False
        self._exceeds[signal.event] = _no_slot(slot)
        return True

    def wake_at(self) -> list[float]:
        """When to decide again, unless the store answers before."""
        times = [wait.until for wait in self._waits.values()]
        slot = self._slot()
        if self._waits and slot is not None and slot.away_since is not None:
            times += [max(slot.away_since, wait.began) + AWAY_FOR for wait in self._waits.values()]
        times = [at for at in times if at > self._now.clock]
        return [*times, self._now.clock] if self._exceeds and self._waits else times

    def is_waited_at(self, signal: Signal) -> bool:
        """Whether a task waits because of a signal."""
        return any(wait.event == signal.event for wait in self._waits.values())

    def settled(self, wanted: frozenset[str]) -> Slot | None:
        """The slot after the survey. `wanted` are the tasks that are started, or stay drained."""
        now, slot = self._now, self._incident.slot
        waits = {name: wait for name, wait in self._waits.items() if name not in wanted}
        is_drained = bool(wanted) or any(map(self._is_drained, self._incident.tasks))
        is_needed = bool(waits or self._exceeds)
        if slot is None and not is_needed and not self.given_up:
            return None
        if slot is None or (is_needed and not slot.is_wanted):
            events = (*(wait.event for wait in waits.values()), *self._exceeds, MANUAL)
            slot = Slot(since=now, event=events[0], entries=slot.entries if slot is not None else ())
        for event, reason in self._exceeds.items():
            slot = replace(slot, is_open=True).noted(now, EXCEEDED, reason, event)
        if self.given_up:
            slot = slot.noted(now, GIVEN_UP, _no_slot(slot), self.given_up[0].event)
        if not is_needed and not is_drained and slot.is_wanted:
            return (slot.noted(now, GIVEN_BACK) if slot.is_held else slot).unwanted()
        return replace(
            slot,
            # Those that waited are admitted at once in the next survey.
            waiting=() if slot.is_open else tuple(waits),
            fresh=max([slot.fresh, *(wait.began for wait in waits.values())]),
            until=None if slot.is_open else min((wait.until for wait in waits.values()), default=None),
        )

    def _is_drained(self, task: Task) -> bool:
        """Whether a task has something to restore, or runs. One without a restore is over when its event is."""
        condition = self._conditions[task.name]
        return condition in (RUNS_DRAIN, RUNS_RESTORE) or (condition != REST and task.has(RESTORE))

    def _slot(self) -> Slot | None:
        """The slot if it is wanted already."""
        slot = self._incident.slot
        return slot if slot is not None and slot.is_wanted else None

    def _until(self, policy: str, signal: Signal, began: float) -> float:
        """When a task goes ahead without a slot."""
        if signal.deadline is None:
            patience = signal.order.slot_within if signal.order is not None else None
            return began + (ANSWER if policy == SKIP else WITHOUT_DEADLINE if patience is None else patience)
        answer = began + min(ANSWER, ANSWER_SHARE * max(0.0, signal.deadline - began))
        if policy == SKIP:
            return answer
        tasks = tuple(
            one
            for one in self._incident.tasks
            if signal.event_for(one) and self._conditions.get(one.name, REST) == REST
        )
        return max(answer, signal.deadline - self._limit.latest(tasks, signal.event))

    def _is_away_too_long(self, slot: Slot | None, began: float) -> bool:
        since = slot.away_since if slot is not None else None
        return since is not None and self._now.clock >= max(since, began) + AWAY_FOR


def _no_slot(slot: Slot | None) -> str:
    """Why there is no slot."""
    if slot is None or not slot.outcome:
        return "no answer of the store in time"
    if slot.outcome in UNUSABLE:
        return slot.detail or "no answer of the store"
    return f"no slot is free, {named(slot.holders)}" if slot.holders else "no slot is free"
