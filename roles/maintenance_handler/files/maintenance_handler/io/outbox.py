# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices on their way to the notifier. A thread queues them and starts it, so that neither delays the handler."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable

from .._vm.backoff import backoff
from .newest import Shown
from .notice_queue import MOST_FILES, NoticeQueue
from .notified import Notified, QueueRead
from .notifier_process import NotifierProcess

# What the status calls it if it cannot be written.
WHAT = "queue of notices"
# Notices in memory while the disk is full or stalled. Further ones are lost, which is logged.
MOST_WAITING = 200
# Seconds until a failed write is retried.
WRITE_AGAIN = 5.0
# Seconds until a notifier that has failed is started again.
RESTART_PAUSES = (5.0, 300.0)

Wanted = Callable[[list[str]], bool]


class Outbox:
    """Puts notices into the queue, and keeps the notifier running while it has something to send."""

    def __init__(
        self, state_dir: Path, post: Callable[[Any], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._state_dir = state_dir
        self._queue = NoticeQueue(state_dir)
        self._post = post
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[tuple[dict[str, Any], Wanted]] = deque()
        self._lost = 0
        # The settings that the notifier should have; None once it has them.
        self._new_settings: dict[str, Any] | None = None
        self._is_stopping = False
        self._stopped = threading.Event()
        # The exit status of a notifier that has just ended.
        self._ended: int | None = None
        # The number of the newest notice that the notifier has reported.
        self._seen = 0
        # The rest is used by the thread only.
        self._settings: dict[str, Any] = {}
        self._known: list[str] | None = None
        self._last = 0
        self._process: NotifierProcess | None = None
        self._is_needed = False
        self._is_closing = False
        self._start_at = 0.0
        self._write_at = 0.0
        self._pauses = self._fresh_pauses()
        self._problem = ""
        threading.Thread(target=self._run, name="notices", daemon=True).start()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """The settings for the notifier: `targets`, each with a name, and `metadata_host`. Never blocks."""
        with self._changed:
            self._new_settings = {**settings, "state_dir": str(self._state_dir)}
            self._changed.notify()

    def put(self, notice: dict[str, Any], wanted: Wanted = lambda _known: True) -> None:
        """Queue a notice, if `wanted` with the ids that are queued, or were lately, oldest first. Never blocks."""
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._lost += 1
            else:
                self._waiting.append((notice, wanted))
            self._changed.notify()

    def stop(self) -> None:
        """Queue what is left, and have the notifier try once more and end. Never blocks."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def wait(self, within: float) -> bool:
        """Wait until that is done, at most `within` seconds. Returns whether it is."""
        return self._stopped.wait(within)

    def _run(self) -> None:
        while not self._stopped.is_set():
            with self._changed:
                self._changed.wait_for(self._has_work, self._patience())
                settings, self._new_settings = self._new_settings, None
                ended, self._ended = self._ended, None
                # What was put before the stop is queued in this turn.
                is_stopping = self._is_stopping
            if ended is not None:
                self._forget_process(ended)
            if settings is not None:
                self._settings = settings
                # A running notifier ends, and one with the new settings follows.
                self._is_needed = True
                if self._process is not None:
                    self._process.close()
            self._report_problem(self._write())
            self._run_notifier()
            if is_stopping:
                self._stop_if_done()

    def _has_work(self) -> bool:
        # Without settings, nothing is written yet.
        has_new = bool(self._waiting and self._settings) and self._clock() >= self._write_at
        is_due = self._is_needed and self._process is None and self._clock() >= self._start_at
        stops = self._is_stopping and not self._is_closing
        return has_new or is_due or stops or self._new_settings is not None or self._ended is not None

    def _patience(self) -> float | None:
        """Seconds until something is due."""
        if self._is_closing:
            return None
        times = [self._write_at] if self._settings and (self._waiting or self._known is None) else []
        times += [self._start_at] if self._is_needed and self._process is None else []
        return max(0.01, min(times) - self._clock()) if times else None

    def _write(self) -> str:
        """Queue what is waiting. Returns the problem if that fails."""
        if self._clock() < self._write_at and not self._is_stopping:
            return self._problem
        try:
            if self._settings:
                self._prepare()
                while self._waiting:
                    self._put_first()
        except OSError as exc:
            self._write_at = self._clock() + WRITE_AGAIN
            return str(exc)
        return ""

    def _prepare(self) -> None:
        """Read the queue, and let new targets begin with the next notice."""
        self._queue.make()
        if self._known is None:
            entries = self._queue.entries()
            self._last = entries[-1][0] if entries else 0
            self._known = [identity for _number, identity in entries]
            self._post(QueueRead(list(self._known)))
        if "after" not in self._settings:
            names = {target["name"] for target in self._settings["targets"]}
            self._settings["after"] = self._last
            self._queue.forget_others(names)
            for name in names:
                if self._queue.done(name) is None:
                    self._queue.set_done(name, self._last)
            self._is_needed = bool(self._known) or not self._queue.has_names()

    def _put_first(self) -> None:
        notice, wanted = self._waiting[0]
        known = self._known or []
        if wanted(known):
            self._queue.add(self._last + 1, notice)
            self._last += 1
            self._known = [*known[-MOST_FILES:], notice["id"]]
            self._queue.trim(self._last, MOST_FILES)
            self._is_needed = True
        self._waiting.popleft()

    def _run_notifier(self) -> None:
        if not self._is_needed or not self._settings or self._is_closing:
            return
        if self._process is not None:
            # One that was closed ends soon, and is replaced.
            self._is_needed = not self._process.look()
            return
        if self._clock() >= self._start_at or self._is_stopping:
            try:
                self._process = NotifierProcess(self._settings, self._reported, self._has_ended)
            except OSError as exc:
                self._start_later(f"starting the notifier: {exc}")
                return
            self._is_needed = False

    def _forget_process(self, status: int) -> None:
        self._process = None
        if status != 0:
            self._start_later(f"the notifier ended with status {status}")
        elif self._seen < self._last:
            # It ended just when something new was queued.
            self._is_needed = True
        else:
            self._pauses = self._fresh_pauses()

    def _start_later(self, problem: str) -> None:
        self._is_needed = True
        self._start_at = self._clock() + next(self._pauses)
        self._post(Notified({"log": [["error", f"{problem}; notices are sent later"]]}))

    def _stop_if_done(self) -> None:
        if self._process is None:
            self._stopped.set()
        else:
            self._process.close()
            self._is_closing = True

    def _report_problem(self, problem: str) -> None:
        with self._changed:
            lost, self._lost = self._lost, 0
        if lost:
            text = f"{lost} notices are lost, because too many wait for the disk"
            self._post(Notified({"log": [["error", text]]}))
        if problem != self._problem:
            self._problem = problem
            self._post(Shown(WHAT, problem))

    def _reported(self, notified: Notified) -> None:
        """In the thread that reads the notifier's reports."""
        seen = notified.report.get("seen")
        if isinstance(seen, int):
            self._seen = seen
        self._post(notified)

    def _has_ended(self, status: int) -> None:
        with self._changed:
            self._ended = status
            self._changed.notify()

    @staticmethod
    def _fresh_pauses() -> Iterator[float]:
        return backoff(*RESTART_PAUSES, random=lambda: 0.0)
