# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of one step, in a separate thread, so that only this thread can hang.

The user database, the file system of the program, the disk of the journal and the system may be slow. A step that has
not started when its time is over is cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

from .._vm.maintenance import format_time
from .._vm.records import dataclass, replace
from ..core.actions import Start
from ..core.incident import Moment
from ..core.tasks import DRAIN
from .account import NoAccount
from .executable import located
from .leftovers import VARIABLE, input_name
from .process import CannotStart, Command, Prepared, TaskProcess, cannot_start, environment_for

if TYPE_CHECKING:
    from .account import Account

    LookUp = Callable[[str, float], Account]

# Seconds until a start that failed for lack of memory, processes or descriptors is retried.
PAUSE = 0.2
# A step that starts this many seconds late gets its full time from then on.
LATE = 0.1
# Seconds after which the times that a step is given are computed anew.
STALE = 0.01
# The maximum share of the notice that a step waits for the journal.
JOURNAL_SHARE = 0.05


@dataclass(frozen=True)
class Launched:
    """A step was started (`process`), or could not be started (`problem`)."""

    number: int
    process: TaskProcess | None
    problem: str
    at: Moment
    # Seconds since its start was requested.
    seconds: float


@dataclass(frozen=True)
class Means:
    """What all launches of a handler share: `post` takes their results."""

    look_up: LookUp
    now: Callable[[], Moment]
    post: Callable[[Launched], None]


class Launch:
    """One start. `run` is called in a thread, everything else by the loop."""

    def __init__(
        self,
        start: Start,
        incident: str,
        *,
        end_leftovers: Callable[[], None],
        wait_for_journal: Callable[[float], bool],
        means: Means,
    ) -> None:
        self.start = start
        self.until = start.step.until
        self.wanted = True
        # What it is doing, for messages.
        self.stage = "waiting for a thread"
        self.incident = incident
        self._end_leftovers = end_leftovers
        self._wait_for_journal = wait_for_journal
        self._look_up = means.look_up
        self._now = means.now
        self._post = means.post
        self._lock = threading.Lock()
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Cancel the start. A process that starts at this moment is killed."""
        with self._lock:
            self._given_up.set()

    def run(self) -> None:
        """Start the step, and post `Launched` unless the start was cancelled."""
        process, problem = None, ""
        try:
            process = self._process()
        except (CannotStart, NoAccount) as exc:
            problem = str(exc)
        except Exception as exc:
            problem = f"{self.stage}: {exc!r}"
        now = self._now()
        with self._lock:
            if not self._given_up.is_set():
                self._post(Launched(self.start.step.number, process, problem, now, self._seconds(now)))
                return
        if process is not None:
            process.kill()

    def _process(self) -> TaskProcess | None:
        self.stage = "killing processes left over from earlier steps"
        self._end_leftovers()
        while not self._given_up.is_set():
            try:
                return self._tried()
            except CannotStart as exc:
                if not exc.passes:
                    raise
                self.stage = str(exc)
            self._given_up.wait(PAUSE)
        return None

    def _tried(self) -> TaskProcess | None:
        # As much as possible is prepared while the journal is written.
        start, now = self._as_it_is()
        command = self._command(task_document(start, self.incident, now.at)["event"])
        prepared = self._prepared(command, start, now)
        try:
            self.stage = "waiting for the journal"
            left = self.start.step.left
            self._wait_for_journal(float("inf") if left is None else JOURNAL_SHARE * max(0.0, left))
            self.stage = f"starting {command.words[0]}"
            if self._given_up.is_set():
                return None
            start, later = self._as_it_is()
            if later.clock - now.clock >= STALE:
                prepared.close()
                prepared = self._prepared(command, start, later)
            return TaskProcess(prepared, now=later.clock, until=start.step.until)
        finally:
            prepared.close()

    def _command(self, event: Mapping[str, Any]) -> Command:
        """The command, with the environment apart from its times. What it reads may hang."""
        task, step = self.start.task, self.start.step
        words = task.command(step.phase, event)
        try:
            account = None
            if task.user is not None:
                self.stage = f"looking up the user {task.user!r}"
                account = self._look_up(task.user, max(0.0, self.until - self._now().clock))
            environment = environment_for(account, {**task.env, **variables(self.start, self.incident)})
            self.stage = f"reading {words[0]}"
            return Command(words, located(words[0], environment), environment, account)
        except OSError as exc:
            raise cannot_start(words[0], exc) from None

    def _prepared(self, command: Command, start: Start, now: Moment) -> Prepared:
        return Prepared(
            replace(command, environment={**command.environment, **times(start)}),
            input_name=input_name(self.incident, start.step.number),
            document=task_document(start, self.incident, now.at),
        )

    def _as_it_is(self) -> tuple[Start, Moment]:
        """The start, with the time that it has now."""
        now = self._now()
        seconds = self._seconds(now)
        step = self.start.step
        left = None if step.left is None else step.left - seconds
        until = self.until
        if seconds >= LATE:
            until += seconds
            if left is not None and left > 0:
                until = min(until, now.clock + left)
        return replace(self.start, step=replace(step, started=now, until=until, left=left)), now

    def _seconds(self, now: Moment) -> float:
        return now.clock - self.start.step.started.clock


def task_document(start: Start, incident: str, at: float) -> dict[str, Any]:
    """The document on a task's standard input: `event` as in `when`, with additional fields for the step."""
    step = start.step
    return {
        "event": {
            **start.event,
            "incident": incident,
            "phase": step.phase,
            "attempt": step.attempt,
            "deadline_seconds": None if step.left is None else round(max(step.left, 0.0), 3),
            "deadline_at": None if step.left is None else format_time(at + step.left),
            "timeout_seconds": round(step.limit, 3),
        },
        "task": {"name": start.task.name, "stage": start.task.stage},
    }


def variables(start: Start, incident: str) -> dict[str, str]:
    """The variables in a task's environment, apart from its times."""
    return {
        "GCE_EVENT": start.step.task_event,
        "GCE_EVENT_PHASE": start.step.phase,
        "GCE_EVENT_INCIDENT": incident,
        "GCE_EVENT_TASK": start.task.name,
        VARIABLE: f"{incident}/{start.step.number}",
    }


def times(start: Start) -> dict[bytes, bytes]:
    """The variables in a task's environment that are times."""
    step = start.step
    times = {b"GCE_TASK_TIMEOUT_SECONDS": b"%.3f" % max(0.0, step.limit)}
    if step.phase == DRAIN and step.left is not None:
        times[b"GCE_EVENT_DEADLINE_SECONDS"] = b"%.3f" % max(0.0, step.left)
    return times
