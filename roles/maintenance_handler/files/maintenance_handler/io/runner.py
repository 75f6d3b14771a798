# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of the running steps."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable

from .._vm.records import dataclass
from ..core.actions import Start
from ..core.incident import CANCELLED, INTERRUPTED, NOT_STARTED, OK, TIMEOUT, Incident, Moment, Step
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

# Seconds that `hand_over` waits for the processes that it ends.
HAND_OVER = 3.0
# Characters of the last line of a failed step that are kept.
LAST_LINE = 200
# Seconds that a step waits until processes left over from an earlier one are killed.
LEFTOVERS_BOUND = 3.0
# Outputs of ended steps that are still read, for processes that they left behind.
MOST_LEFT = 100

_TO_NOWHERE = ((os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2))


@dataclass(eq=False)
class _Running:
    incident: str
    start: Start
    process: TaskProcess


class Runner:
    """Starts steps, logs their output, and reports their end. Never blocks."""

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
        # The outputs of steps that were asked to end.
        self._outputs: dict[tuple[str, int], str] = {}

    def start(self, start: Start, incident: Incident, wait_for_journal: Callable[[float], bool]) -> None:
        """Start a step's command. The result must be passed to `launched`."""
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
        """Take over a started step. Returns its end if it could not be started."""
        launch = self._launching.pop(launched.number, None)
        if launch is None or launched.process is None:
            if launched.process is not None:
                # It was cancelled between its start and this message.
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
        """End a step now, or cancel its start."""
        if number in self._launching:
            self._launching[number].until = now
            self._launching[number].wanted = False
        elif number in self._running:
            self._running[number].process.end(now)

    def read(self, running: _Running) -> None:
        """Log the output of a step, until it closes the output."""
        lines, more = running.process.read_lines()
        self._say(running.start, lines)
        if not more:
            self._selector.unregister(running.process)
            if running in self._left:
                self._left.remove(running)
                running.process.close()

    def poll(self, now: float) -> list[Finished]:
        """Do what is due. Returns the steps that have ended."""
        return [*self._given_up(now), *self._ended(now)]

    def pids(self) -> list[int]:
        """The process ids of the running steps."""
        return [running.process.pid for running in self._running.values()]

    def next_time(self) -> float | None:
        """When to call `poll` again, unless something happens before."""
        times = [launch.until for launch in self._launching.values()]
        times += [running.process.next_time() for running in self._running.values()]
        return min(times, default=None)

    def hand_over(self) -> None:
        """Kill steps; leave them open in the journal, for the next handler."""
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
        """Kill processes of open steps that an earlier handler left running. Does not wait."""
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
        """Release an ended step, but read on: a closed pipe would kill processes that it left behind."""
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
        """Start a `cat` for each output that processes of ended steps may still use."""
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
    """Whether processes of an earlier step of the task may still run."""
    return step.task == task.name and step.outcome in (INTERRUPTED, CANCELLED, TIMEOUT)
