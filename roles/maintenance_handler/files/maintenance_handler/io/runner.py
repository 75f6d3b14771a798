# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of the steps that run now."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable

from .._vm.records import dataclass
from ..core.incident import CANCELLED, INTERRUPTED, NOT_STARTED, OK, TIMEOUT, Incident, Moment, Step
from ..core.machine import Start
from ..core.observations import Finished
from ..core.tasks import Task
from .account import look_up as look_up_account
from .launch import Launch, Launched, Means
from .leftovers import end_leftovers_within
from .log import Log
from .pool import Pool
from .process import TaskProcess
from .task_output import without_secret

if TYPE_CHECKING:
    from .launch import LookUp

# How long a hand-over waits for what it ended.
HAND_OVER = 3.0
# What is kept of the last line of a step that failed.
LAST_LINE = 200
# How long a step waits until what an earlier one left running is found and killed.
LEFTOVERS_BOUND = 3.0
# Outputs of steps that are over, which processes they left behind still write to.
MOST_LEFT = 100

_TO_NOWHERE = ((os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2))


@dataclass(eq=False)
class _Running:
    incident: str
    start: Start
    process: TaskProcess


class Runner:
    """Starts steps, passes their output to the log, and says when they have ended. Nothing in it waits."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        log: Log,
        post: Callable[[Launched], None],
        *,
        pool: Pool,
        now: Callable[[], Moment],
        look_up: LookUp = look_up_account,
    ) -> None:
        self._selector = selector
        self._log = log
        self._pool = pool
        self._means = Means(look_up, now, post)
        self._launching: dict[int, Launch] = {}
        self._running: dict[int, _Running] = {}
        self._left: list[_Running] = []
        # Of the incident's steps that were ended.
        self._outputs: dict[tuple[str, int], str] = {}

    def start(self, start: Start, incident: Incident, wait_for_journal: Callable[[float], bool]) -> None:
        """Have a step's command started. `launched` is to be told what came of it."""
        label = f"{start.step.phase} {start.task.name!r}"
        earlier = [(incident.id, one.number) for one in incident.steps if _may_go_on(one, start.task)]

        def end_leftovers() -> None:
            if earlier:
                self._end_leftovers(earlier, label)

        launch = Launch(
            start,
            incident.id,
            end_leftovers=end_leftovers,
            wait_for_journal=wait_for_journal,
            means=self._means,
        )
        self._launching[start.step.number] = launch
        self._pool.do(launch.run)

    def launched(self, launched: Launched) -> Finished | None:
        """Take over a step that was started. Answers its end if it could not be."""
        launch = self._launching.pop(launched.number, None)
        if launch is None or launched.process is None:
            if launched.process is not None:
                # It was given up between its start and this message.
                self._pool.do(launched.process.kill)
            return None if launch is None else Finished(launched.number, NOT_STARTED, launched.problem)
        running = _Running(launch.incident, launch.start, launched.process)
        self._running[launched.number] = running
        self._selector.register(running.process, selectors.EVENT_READ, running)
        return None

    def limit(self, number: int, now: float, until: float) -> None:
        if number in self._launching:
            self._launching[number].until = until
        elif number in self._running:
            self._running[number].process.limit(now, until)

    def end(self, number: int, now: float) -> None:
        """Have a step end as soon as it can. One that has not started will not."""
        if number in self._launching:
            self._launching[number].until = now
            self._launching[number].wanted = False
        elif number in self._running:
            self._running[number].process.end(now)

    def read(self, running: _Running) -> None:
        """Pass on what a step printed. One that closed its output is no longer listened to."""
        lines, more = running.process.read_lines()
        self._say(running.start, lines)
        if not more:
            self._selector.unregister(running.process)
            if running in self._left:
                self._left.remove(running)
                running.process.close()

    def poll(self, now: float) -> list[Finished]:
        """Do what is due, and answer what has ended."""
        return [*self._given_up(now), *self._ended(now)]

    def pids(self) -> list[int]:
        """Of the steps that run."""
        return [running.process.pid for running in self._running.values()]

    def next_time(self) -> float | None:
        """When on the clock to poll although nothing happened."""
        times = [launch.until for launch in self._launching.values()]
        times += [running.process.next_time() for running in self._running.values()]
        return min(times, default=None)

    def hand_over(self) -> None:
        """End everything, without a word to anybody: in the journal the steps stay open, for the next handler."""
        for launch in self._launching.values():
            launch.give_up()
        self._launching.clear()
        for running in self._running.values():
            running.process.end(time.monotonic())
        give_up_at = time.monotonic() + HAND_OVER
        while self._running and time.monotonic() < give_up_at:
            for key, _events in self._selector.select(0.02):
                if key.data is not None:
                    self.read(key.data)
            self.poll(time.monotonic())
        self._leave_outputs()

    def end_leftovers(self, incident: Incident) -> None:
        """End what a handler that is gone has left running of an incident's open steps. Does not wait for that."""
        for step in incident.steps:
            if step.open:
                self._sweep(incident.id, step.number, f"{step.phase} {step.task!r}")

    def _given_up(self, now: float) -> Iterator[Finished]:
        for number, launch in list(self._launching.items()):
            if now >= launch.until:
                launch.give_up()
                del self._launching[number]
                why = "could not be started in time" if launch.wanted else "was not started yet"
                yield Finished(number, NOT_STARTED, f"{why}: {launch.stage}")

    def _ended(self, now: float) -> Iterator[Finished]:
        for number, running in list(self._running.items()):
            result = running.process.poll(now)
            if result is None:
                continue
            del self._running[number]
            output = running.process.output
            self._let_go(running)
            if running.process.was_ended:
                start = running.start
                kept = {step: output for step, output in self._outputs.items() if step[0] == running.incident}
                self._outputs = {**kept, (running.incident, number): output}
                self._sweep(running.incident, number, f"{start.step.phase} {start.task.name!r}")
            outcome, detail = result
            last_line = without_secret(running.process.last_line)[:LAST_LINE] if outcome != OK else ""
            yield Finished(number, outcome, detail, last_line)

    def _let_go(self, running: _Running) -> None:
        """Of a step that is over. What it left behind may go on printing: it would not survive a closed pipe."""
        lines, more = running.process.last_lines()
        self._say(running.start, lines)
        is_listened_to = running.process.fileno() in self._selector.get_map()
        if more and is_listened_to and len(self._left) < MOST_LEFT:
            self._left.append(running)
            return
        if is_listened_to:
            self._selector.unregister(running.process)
        running.process.close()

    def _leave_outputs(self) -> None:
        """Have somebody else read what processes of steps that are over go on printing."""
        for running in self._left:
            try:
                actions = [(os.POSIX_SPAWN_DUP2, running.process.give_away(), 0), *_TO_NOWHERE]
                os.posix_spawnp("cat", ["cat"], os.environ, file_actions=actions, setpgroup=0)
            except OSError as exc:
                self._log.error(f"{running.start.task.name!r} left a process behind whose output cannot be read: {exc}")
            self._selector.unregister(running.process)
            running.process.close()
        self._left.clear()

    def _sweep(self, incident: str, number: int, label: str) -> None:
        self._pool.do(lambda: self._end_leftovers([(incident, number)], label))

    def _end_leftovers(self, steps: list[tuple[str, int]], label: str) -> None:
        def done(count: int) -> None:
            if count:
                self._log.warning(f"{label}: killed {count} processes left over from an earlier step")

        outputs = [self._outputs[step] for step in steps if step in self._outputs]
        if not end_leftovers_within(LEFTOVERS_BOUND, steps, outputs, done):
            self._log.error(
                f"{label}: cannot check for processes left over from an earlier step: no response from /proc"
            )

    def _say(self, start: Start, lines: list[str]) -> None:
        for line in lines:
            self._log.info(f"{start.step.phase} {start.task.name!r}: {without_secret(line)}")


def _may_go_on(step: Step, task: Task) -> bool:
    """Whether something of an earlier step of the task may still run that was not to."""
    return step.task == task.name and step.outcome in (INTERRUPTED, CANCELLED, TIMEOUT)
