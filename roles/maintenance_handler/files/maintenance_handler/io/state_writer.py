# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes to the state directory, in order, by one thread, so that a stalled disk blocks only this thread.

A step waits a limited time for its entry in the journal: a drain without a journal is better than none.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Callable

from .._vm.records import dataclass, field

if TYPE_CHECKING:
    from .journal import Entry, Journal


@dataclass(frozen=True)
class Journaled:
    """The journal is on disk, or could not be written (`problem`)."""

    problem: str


@dataclass
class _Job:
    run: Callable[[], None]
    # When it was requested, or became the first in the queue.
    since: float
    is_journal: bool = False
    done: threading.Event = field(default_factory=threading.Event)


class StateWriter:
    """Runs jobs in order. Of waiting entries of the journal, only the newest is written."""

    def __init__(
        self,
        journal: Journal,
        post: Callable[[Journaled], None],
        journal_wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`journal_wait`: the maximum seconds that a step waits for an entry."""
        self.journal_wait = journal_wait
        self._journal = journal
        self._post = post
        self._clock = clock
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        threading.Thread(target=self._run, name="state", daemon=True).start()

    def write_journal(self, entry: Entry) -> Callable[[float], bool]:
        """Write an entry. Returns a function that waits for it, at most its argument and `journal_wait` in seconds."""

        def run() -> None:
            self._journal.write(entry)

        with self._changed:
            # The first is being written.
            if len(self._jobs) > 1 and self._jobs[-1].is_journal:
                job = self._jobs[-1]
                job.run = run
            else:
                job = self._add(_Job(run, self._clock(), is_journal=True))
        return lambda bound: self._wait(job, min(bound, self.journal_wait))

    def do(self, run: Callable[[], None]) -> None:
        """Run another job, which reports its problems itself, after all earlier ones."""
        with self._changed:
            self._add(_Job(run, self._clock()))

    def waiting_since(self) -> float | None:
        """Since when the oldest job has been waiting for the disk; None if there is none."""
        with self._changed:
            return self._jobs[0].since if self._jobs else None

    def journal_waits(self) -> bool:
        """Whether an entry of the journal is not on disk yet."""
        with self._changed:
            return any(job.is_journal for job in self._jobs)

    def finish(self, within: float) -> bool:
        """Wait until everything is written, at most `within` seconds. Returns whether it is."""
        with self._changed:
            job = self._jobs[-1] if self._jobs else None
        return job is None or job.done.wait(within)

    def _add(self, job: _Job) -> _Job:
        self._jobs.append(job)
        self._changed.notify()
        return job

    def _wait(self, job: _Job, bound: float) -> bool:
        # The time that the disk has stalled already counts.
        since = self.waiting_since()
        return job.done.wait(bound if since is None else max(0.0, since + bound - self._clock()))

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._changed.wait()
                job = self._jobs[0]
            problem = _problem(job.run)
            with self._changed:
                self._jobs.popleft()
                if self._jobs:
                    # The time of the job before does not count.
                    self._jobs[0].since = self._clock()
            job.done.set()
            if job.is_journal:
                self._post(Journaled(problem))


def _problem(run: Callable[[], None]) -> str:
    try:
        run()
    except Exception as exc:
        # The thread must go on, because all steps wait for it.
        return str(exc) or repr(exc)
    return ""
