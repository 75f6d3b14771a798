# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of scenarios: tables of steps that are played on an instance or a host, step after step.

A step does one thing and names what to wait for before the next: an option (platform seconds, divided by the clock's
speed), a moment that was promised to the guest, or the end of other runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import itertools
from collections.abc import Mapping
from typing import Any, Callable, Generic, Protocol, TypeVar, Union

from ..state.clock import Clock, Timer
from ..state.instance import Playing
from ..state.upcoming import UpcomingMaintenance

# Moments promised to the guest: the announcement of the event before the window, and the start of the window.
WINDOW, START = "the notice of the window", "the start of the window"
# The end of the runs in `Run.members`.
MEMBERS = "the VMs of the host"

Option = Union[float, bool]


class Refused(Exception):
    """The state of an instance or a host forbids it; str() is a sentence without its full stop."""


class BadOption(Exception):
    """No such scenario, or a wrong option; str() is a sentence without its full stop."""


class Target(Protocol):
    """An instance or a host."""

    clock: Clock
    runs: dict[str, Playing]

    @property
    def name(self) -> str:
        """As refusals name it."""

    @property
    def kind(self) -> str:
        """`instance` or `host`."""

    @property
    def is_up(self) -> bool:
        """Whether a scenario can be played on it."""

    @property
    def status(self) -> str:
        """The reason if not."""

    @property
    def upcoming_maintenance(self) -> UpcomingMaintenance | None:
        """The announced window."""


T = TypeVar("T", bound=Target)


@dataclasses.dataclass(frozen=True)
class Step(Generic[T]):
    """`until` is an option's name, WINDOW, START or MEMBERS; empty for the last step."""

    name: str
    act: Callable[[Run[T]], None]
    until: str = ""


@dataclasses.dataclass(frozen=True)
class Script(Generic[T]):
    """What to play. A target plays one script of a `signal` at a time."""

    name: str
    signal: str
    steps: tuple[Step[T], ...]
    options: dict[str, Option]


class Run(Generic[T]):
    """A script in progress. `done` is a future that ends with it."""

    _numbers = itertools.count(1)

    def __init__(self, target: T, script: Script[T], announcer: Target | None = None) -> None:
        """`announcer` is the host whose window is played on an instance."""
        self.id = str(next(self._numbers))
        self.target = target
        self.name = script.name
        self.signal = script.signal
        self.options = script.options
        self.steps = script.steps
        self.step = ""
        # Set by a step to skip the wait for the next one.
        self.at_once = False
        # Runs that belong to this one.
        self.members: list[Run[Any]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._announcer: Target = announcer or target
        self._position = 0
        self._timer: Timer | asyncio.TimerHandle | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            self.target.kind: self.target.name,
            "step": self.step,
            "steps": [step.name for step in self.steps],
            "options": self.options,
            "speed": self.target.clock.speed,
        }

    def seconds(self, option: str) -> float:
        """An option in platform seconds."""
        return float(self.options[option])

    def play(self) -> None:
        """Do the next step, and all that follow it without a wait."""
        while True:
            step = self.steps[self._position]
            self._position += 1
            self.step = step.name
            self.at_once = False
            step.act(self)
            if self._position == len(self.steps):
                self.end()
                return
            if not self.at_once and self._has_to_wait(step.until):
                return

    def skip(self) -> None:
        """Do the next step now instead of waiting for it."""
        if self._timer is not None:
            self._timer.cancel()
        self.play()

    def end(self) -> None:
        """Stop playing; what was changed stays."""
        if self._timer is not None:
            self._timer.cancel()
        self.target.runs.pop(self.id, None)
        if not self.done.done():
            self.done.set_result(None)

    def _has_to_wait(self, until: str) -> bool:
        clock = self.target.clock
        if until in (WINDOW, START):
            self._timer = clock.call_at(self._promised(until), self.play)
            return True
        if until == MEMBERS:
            for member in self.members:
                member.done.add_done_callback(self._member_ended)
            return bool(self._open_members())
        if self.seconds(until) > 0:
            self._timer = clock.call_later(self.seconds(until), self.play)
            return True
        return False

    def _promised(self, moment: str) -> datetime.datetime:
        clock, window = self.target.clock, self._announcer.upcoming_maintenance
        if window is None:
            # The announcement was withdrawn by hand: the event comes now.
            return clock.now()
        ahead = clock.real_seconds(self.seconds("notice")) if moment == WINDOW else 0.0
        return window.window_start_time - datetime.timedelta(seconds=ahead)

    def _open_members(self) -> list[Run[Any]]:
        return [member for member in self.members if not member.done.done()]

    def _member_ended(self, _done: asyncio.Future[None]) -> None:
        is_waiting = self.steps[self._position - 1].until == MEMBERS
        if is_waiting and not self.done.done() and not self._open_members():
            self.play()


def play(target: T, script: Script[T], announcer: Target | None = None) -> Run[T]:
    """Begin a run. Raises Refused if the target is off or already plays a script of this signal."""
    if not target.is_up:
        raise Refused(f"{target.name} is {target.status}")
    for other in target.runs.values():
        if other.signal == script.signal:
            raise Refused(f"{target.name} is already in {other.name}, at the step {other.step!r}")
    run = Run(target, script, announcer)
    target.runs[run.id] = run
    run.play()
    return run


def end_runs(target: Target, *signals: str) -> None:
    """End all runs of these signals; all, if none is named."""
    for run in list(target.runs.values()):
        if not signals or run.signal in signals:
            run.end()


def check_options(name: str, defaults: dict[str, Option], given: Mapping[str, Any]) -> dict[str, Option]:
    """The defaults with what is given. Raises BadOption."""
    for key, value in given.items():
        if key not in defaults:
            raise BadOption(f"{name} has no option {key!r}; it has {', '.join(defaults)}")
        if isinstance(defaults[key], bool):
            if not isinstance(value, bool):
                raise BadOption(f"{name}: {key} is {value!r}; it must be true or false")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e9:
            raise BadOption(f"{name}: {key} is {value!r}; it must be a number of seconds, 0 to 1e9")
    return {**defaults, **given}
