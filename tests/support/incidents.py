# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's state machine driven by tests, which set signals, ends of steps, and the time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from maintenance_handler._vm.maintenance import (
    DEFAULT_NOTICE,
    MAINTENANCE_EVENT_KEY,
    MIGRATE,
    PREEMPT,
    PREEMPTED_KEY,
    STOP,
    STOP_STATE_KEY,
    TERMINATE,
    UPCOMING_MAINTENANCE_KEY,
    format_time,
)
from maintenance_handler._vm.signal_values import essence
from maintenance_handler.core import announcements
from maintenance_handler.core.actions import Action, Close, End, Limit, Start
from maintenance_handler.core.fleet_limit import FleetLimit
from maintenance_handler.core.incident import OK, Hold, Incident, Moment, Order, Step
from maintenance_handler.core.machine import State, step
from maintenance_handler.core.observations import (
    Finished,
    HoldWanted,
    Observation,
    Reconfigured,
    Released,
    SlotAnswered,
    Tick,
    Unheld,
    recovered,
)
from maintenance_handler.core.tasks import Task

# Arbitrary start of the clocks; not 0, so that nothing holds by chance.
CLOCK = 5_000.0
WALL = 1_780_000_000.0

# For each event, the key that announces it, the value that does, and the value that takes it back.
SIGNALS = {
    MIGRATE: (MAINTENANCE_EVENT_KEY, "MIGRATE_ON_HOST_MAINTENANCE", "NONE"),
    TERMINATE: (MAINTENANCE_EVENT_KEY, "TERMINATE_ON_HOST_MAINTENANCE", "NONE"),
    PREEMPT: (PREEMPTED_KEY, "TRUE", "FALSE"),
    STOP: (STOP_STATE_KEY, "PENDING_STOP", "UNSPECIFIED"),
}


def task(name: str, *on: str, restore: bool = True, **fields: Any) -> Task:
    """A task with commands that a test recognizes; by default for a migration."""
    back = ("/restore", name) if restore else ()
    return Task(**{"name": name, "on": on or (MIGRATE,), "drain": ("/drain", name), "restore": back, **fields})


def always(_task: Task, _event: Mapping[str, Any]) -> bool:
    return True


class Drive:
    """An incident's course. Methods that make an observation return the machine's actions as text."""

    def __init__(
        self,
        *tasks: Task,
        applies: Callable[[Task, Mapping[str, Any]], bool] = always,
        notice: Mapping[str, float] | None = None,
        fleet_limit: FleetLimit | None = None,
    ) -> None:
        self.now = Moment(CLOCK, WALL)
        self.state = State(tasks, fleet_limit=fleet_limit)
        self.closed: list[Incident] = []
        self.actions: list[Action] = []
        self.last_heard: Any = None
        self._applies = applies
        self._notice = DEFAULT_NOTICE if notice is None else notice

    def on(self, event: str) -> list[str]:
        """The metadata server announces a migration, termination or preemption."""
        key, value, _unused = SIGNALS[event]
        return self.hear(key, value)

    def off(self, event: str) -> list[str]:
        """The metadata server withdraws it."""
        key, _unused, value = SIGNALS[event]
        return self.hear(key, value)

    def window(self, start_in: float | None, status: str = "PENDING", **fields: Any) -> list[str]:
        """The metadata server announces a window that starts in this many seconds of the wall clock."""
        start = None if start_in is None else format_time(self.now.at + start_in)
        value = {"window_start_time": start, "maintenance_status": status, **fields}
        return self.hear(UPCOMING_MAINTENANCE_KEY, json.dumps(value))

    def no_window(self) -> list[str]:
        return self.hear(UPCOMING_MAINTENANCE_KEY, None)

    def hear(self, key: str, value: Any) -> list[str]:
        self.last_heard = value
        return self.see(announcements.read(key, essence(key, value), self.now, self._notice, TERMINATE))

    def rehearse(self, event: str) -> list[str]:
        return self.see(announcements.rehearsal(event, "rehearsal 1", self.now, self._notice))

    def drain(
        self, as_event: str = TERMINATE, *, seconds: float | None = None, slot_within: float | None = None
    ) -> list[str]:
        """An operator orders a drain."""
        ends = None if seconds is None else self.now.clock + seconds
        order = Order("alice", as_event, "a new kernel", ends, slot_within)
        return self.see(announcements.by_hand(order, self.now))

    def answer(self, outcome: str, *holders: str, detail: str = "") -> list[str]:
        """The store of the fleet limit answers."""
        shown = tuple({"id": holder, "reason": "terminate", "since": ""} for holder in holders)
        return self.see(SlotAnswered(1, outcome, detail, shown))

    def release(self) -> list[str]:
        """An operator ends it."""
        return self.see(Released("bob"))

    def hold(self) -> list[str]:
        return self.see(HoldWanted(Hold("carol", self.now.at, "not yet")))

    def unhold(self) -> list[str]:
        return self.see(Unheld("dave"))

    def ends(self, name: str, outcome: str = OK, *, after: float = 0.0, detail: str = "") -> list[str]:
        """The running step of a task ends."""
        self.wait(after)
        return self.see(Finished(self.running(name).number, outcome, detail))

    def configure(self, *tasks: Task) -> list[str]:
        return self.see(Reconfigured(tasks))

    def wait(self, seconds: float) -> list[str]:
        """Let time pass, with a `Tick` whenever the machine requires one."""
        until = self.now.clock + seconds
        words: list[str] = []
        while self.state.wake_at is not None and self.state.wake_at <= until:
            self._pass(max(0.0, self.state.wake_at - self.now.clock))
            words += self.see(Tick())
        self._pass(until - self.now.clock)
        return words

    def set_wall_clock(self, seconds: float) -> None:
        """Set the wall clock forward, or (negative) back."""
        self.now = Moment(self.now.clock, self.now.at + seconds)

    def restart(self, *tasks: Task) -> list[str]:
        """The handler is killed, and the next one resumes the incident from its journal."""
        return self._recover(tasks, same_boot=True)

    def reboot(self, *tasks: Task, down_for: float = 30.0) -> list[str]:
        """The machine reboots, and its monotonic clock starts again."""
        self.now = Moment(7.0, self.now.at + down_for)
        return self._recover(tasks, same_boot=False)

    def see(self, observation: Observation) -> list[str]:
        before = self.state.incident
        self.state, self.actions = step(self.state, observation, self.now, self._applies)
        for action in self.actions:
            if isinstance(action, Close):
                self.closed.append(action.incident)
        return [self._word(action, before) for action in self.actions]

    @property
    def incident(self) -> Incident:
        """The open incident, as it is read from the journal."""
        if self.state.incident is None:
            raise LookupError("no incident is open")
        return Incident.from_dict(json.loads(json.dumps(self.state.incident.to_dict())))

    @property
    def phase(self) -> str:
        return self.incident.phase

    def running(self, name: str) -> Step:
        """The open step of a task."""
        return next(one for one in self.incident.steps if one.task == name and one.open)

    def seconds(self, name: str) -> float:
        """The seconds until the running step of a task gets SIGTERM."""
        running = self.running(name)
        return round(running.started.clock + running.limit - self.now.clock, 6)

    def steps(self) -> list[str]:
        """All steps so far, as text."""
        steps = self.state.incident.steps if self.state.incident is not None else self.closed[-1].steps
        return [f"{one.phase} {one.task}: {one.outcome or 'running'}" for one in steps]

    def skips(self) -> list[tuple[str, str]]:
        incident = self.state.incident or self.closed[-1]
        return [(skip.task, skip.reason) for skip in incident.skips]

    def _pass(self, seconds: float) -> None:
        self.now = Moment(self.now.clock + seconds, self.now.at + seconds)

    def _recover(self, tasks: tuple[Task, ...], same_boot: bool) -> list[str]:
        tasks = tasks or self.state.tasks
        incident = recovered(self.incident, self.now, same_boot)
        self.state = State(tasks, incident, fleet_limit=self.state.fleet_limit)
        return self.configure(*tasks)

    def _word(self, action: Action, before: Incident | None) -> str:
        if isinstance(action, Start):
            again = f" (attempt {action.step.attempt})" if action.step.attempt > 1 else ""
            return f"{action.step.phase} {action.task.name}{again}"
        if not isinstance(action, (Limit, End)):
            return "close"
        steps = before.steps if before is not None else ()
        running = next(one for one in steps if one.number == action.number)
        verb = "limit" if isinstance(action, Limit) else "end"
        return f"{verb} {running.phase} {running.task}"


def drained(*tasks: Task, event: str = MIGRATE) -> Drive:
    """An incident in which all tasks of an event were drained."""
    drive = Drive(*tasks)
    words = drive.on(event)
    while words:
        words = [word for started in words for word in drive.ends(started.partition(" ")[2], after=1.0)]
    return drive
