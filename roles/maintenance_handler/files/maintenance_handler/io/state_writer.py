# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes to the state directory, in its order, by one thread: a disk that stalls keeps nobody waiting but that.

A step waits for its entry in the journal, and no longer than a bound: a drain without a journal is better than none.
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
    """The journal is on disk, or (`problem`) could not be written."""

    problem: str


@dataclass
class _Job:
    run: Callable[[], None]
    # When on the clock it was asked for, or came to be the first.
    since: float
    is_journal: bool = False
    done: threading.Event = field(default_factory=threading.Event)


class StateWriter:
    """Writes one thing after the other. Of entries of the journal that wait, only the newest is written."""

    def __init__(
        self,
        journal: Journal,
        post: Callable[[Journaled], None],
        journal_wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`journal_wait` is how many seconds anybody waits for an entry at most."""
        self.journal_wait = journal_wait
        self._journal = journal
        self._post = post
        self._clock = clock
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        threading.Thread(target=self._run, name="state", daemon=True).start()

    def write_journal(self, entry: Entry) -> Callable[[float], bool]:
        """Have an entry written. Returns what waits for it: at most so many seconds, and at most `journal_wait`."""

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
        """Have something else done, which tells its problems itself, after all that was asked for before."""
        with self._changed:
            self._add(_Job(run, self._clock()))

    def waiting_since(self) -> float | None:
        """Since when on the clock the disk has had the oldest of what is not on it yet; None when all is."""
        with self._changed:
            return self._jobs[0].since if self._jobs else None

    def journal_waits(self) -> bool:
        """Whether an entry is not on disk yet."""
        with self._changed:
            return any(job.is_journal for job in self._jobs)

    def finish(self, within: float) -> bool:
        """Wait until all is written, at most so many seconds. Answers whether it is."""
        with self._changed:
            job = self._jobs[-1] if self._jobs else None
        return job is None or job.done.wait(within)

    def _add(self, job: _Job) -> _Job:
        self._jobs.append(job)
        self._changed.notify()
        return job

    def _wait(self, job: _Job, bound: float) -> bool:
        # Whoever comes when the disk has stalled for that long already does not wait once more.
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
                    # That the one before took long is over.
                    self._jobs[0].since = self._clock()
            job.done.set()
            if job.is_journal:
                self._post(Journaled(problem))


def _problem(run: Callable[[], None]) -> str:
    try:
        run()
    except Exception as exc:
        # Whatever it is, the thread goes on: all steps wait for it.
        return str(exc) or repr(exc)
    return ""
