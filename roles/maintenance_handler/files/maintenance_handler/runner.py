# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of the steps that run now."""

from __future__ import annotations

import selectors
import time

from ._maintenance import format_time
from .incident import NOT_STARTED, OK, Incident
from .leftovers import VARIABLE, end_leftovers
from .log import Log
from .machine import Start
from .observations import Finished
from .process import CannotStart, TaskProcess
from .task_output import without_secret
from .tasks import DRAIN

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any

# How long a hand-over waits for what it ended.
HAND_OVER = 3.0
# What is kept of the last line of a step that failed.
LAST_LINE = 200


class Runner:
    """Starts steps, passes their output to the log, and says when they have ended."""

    def __init__(self, selector: selectors.BaseSelector, log: Log) -> None:
        self._selector = selector
        self._log = log
        self._running: dict[int, tuple[Start, TaskProcess]] = {}

    def start(self, start: Start, incident: str, now: float, at: float) -> Finished | None:
        """Start a step's command. Answers at once only if that failed."""
        document = task_document(start, incident, now, at)
        command = start.task.command(start.step.phase, document["event"])
        variables = {**start.task.env, **_variables(start, incident, now)}
        try:
            process = TaskProcess(
                command,
                environment=variables,
                user=start.task.user,
                document=document,
                now=now,
                until=start.step.until,
            )
        except CannotStart as exc:
            return Finished(start.step.number, NOT_STARTED, str(exc))
        self._running[start.step.number] = (start, process)
        self._selector.register(process, selectors.EVENT_READ, start.step.number)
        return None

    def limit(self, number: int, now: float, until: float) -> None:
        if number in self._running:
            self._running[number][1].limit(now, until)

    def end(self, number: int, now: float) -> None:
        if number in self._running:
            self._running[number][1].end(now)

    def read(self, number: int) -> None:
        """Pass on what a step printed. A step that closed its output is no longer listened to."""
        start, process = self._running[number]
        lines, more = process.read_lines()
        self._say(start, lines)
        if not more:
            self._selector.unregister(process)

    def poll(self, now: float) -> list[Finished]:
        """Do what is due, and answer what has ended."""
        finished = []
        for number, (start, process) in list(self._running.items()):
            result = process.poll(now)
            if result is None:
                continue
            if process.fileno() in self._selector.get_map():
                self._selector.unregister(process)
            self._say(start, process.close())
            del self._running[number]
            outcome, detail = result
            output = without_secret(process.last_line)[:LAST_LINE] if outcome != OK else ""
            finished.append(Finished(number, outcome, detail, output))
        return finished

    def next_time(self) -> float | None:
        """When on the clock to poll although nothing happened."""
        return min((process.next_time() for _unused, process in self._running.values()), default=None)

    def hand_over(self) -> None:
        """End everything, without a word to anybody: in the journal the steps stay open, for the next handler."""
        for _unused, process in self._running.values():
            process.end(time.monotonic())
        give_up_at = time.monotonic() + HAND_OVER
        while self._running and time.monotonic() < give_up_at:
            for key, _events in self._selector.select(0.02):
                if key.data is not None:
                    self.read(key.data)
            self.poll(time.monotonic())

    def end_leftovers(self, incident: Incident) -> None:
        """End what a handler that is gone has left running of an incident's open steps."""
        for step in incident.steps:
            if step.open:
                count = end_leftovers(f"{incident.id}/{step.number}")
                if count:
                    self._log.warning(f"{step.phase} {step.task!r} was still running: {count} processes killed")

    def _say(self, start: Start, lines: list[str]) -> None:
        for line in lines:
            self._log.info(f"{start.step.phase} {start.task.name!r}: {without_secret(line)}")


def task_document(start: Start, incident: str, now: float, at: float) -> dict[str, Any]:
    """What a task reads on its standard input: `event` as `when` sees it, and what is true of this step alone."""
    left = start.step.left
    return {
        "event": {
            **start.event,
            "incident": incident,
            "phase": start.step.phase,
            "attempt": start.step.attempt,
            "deadline_seconds": None if left is None else round(max(left, 0.0), 3),
            "deadline_at": None if left is None else format_time(at + left),
            "timeout_seconds": round(start.step.limit, 3),
        },
        "task": {"name": start.task.name, "stage": start.task.stage},
    }


def _variables(start: Start, incident: str, now: float) -> dict[str, str]:
    variables = {
        "GCE_EVENT": start.step.event,
        "GCE_EVENT_PHASE": start.step.phase,
        "GCE_EVENT_INCIDENT": incident,
        "GCE_EVENT_TASK": start.task.name,
        VARIABLE: f"{incident}/{start.step.number}",
        "GCE_TASK_TIMEOUT_SECONDS": f"{max(0.0, start.step.limit):.3f}",
    }
    if start.step.phase == DRAIN and start.step.left is not None:
        variables["GCE_EVENT_DEADLINE_SECONDS"] = f"{max(0.0, start.step.left):.3f}"
    return variables
