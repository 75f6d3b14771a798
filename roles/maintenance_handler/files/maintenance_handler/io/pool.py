# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads for jobs that may block: user database, file system, fork."""

from __future__ import annotations

import queue
import threading
from typing import Callable

# Idle threads that are kept for the next job.
KEPT = 2


class Pool:
    """Runs each job at once, however many earlier ones hang."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        # The first job does not have to wait for a new thread.
        self._add_thread()

    def do(self, job: Callable[[], None]) -> None:
        """Run a job, which must not raise. Never blocks."""
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
            # The system has no thread left. The job waits for an existing one, or for the next.
            with self._lock:
                self._waiting -= waits

    def _run(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                if self._waiting >= KEPT and self._jobs.empty():
                    return
                self._waiting += 1
