# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads for what may take long, or for ever: a user database, a file system, a fork."""

from __future__ import annotations

import queue
import threading
from typing import Callable

# Threads that are kept for the next job.
KEPT = 2


class Pool:
    """Does each job at once, however many of the ones before hang."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        # The first job does not wait for a thread to be made.
        self._add_thread()

    def do(self, job: Callable[[], None]) -> None:
        """Have a job done, which must not raise. Never blocks."""
        with self._lock:
            is_awaited = self._waiting > 0
            self._waiting -= is_awaited
        self._jobs.put(job)
        if not is_awaited:
            self._add_thread(waits=False)

    def _add_thread(self, waits: bool = True) -> None:
        with self._lock:
            self._waiting += waits
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:
            # There may be none now. The job waits for one that is there, or for the next.
            with self._lock:
                self._waiting -= waits

    def _run(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                if self._waiting >= KEPT and self._jobs.empty():
                    return
                self._waiting += 1
