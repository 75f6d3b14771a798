# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop of the notifier: a thread for each target, so that one that is down never delays another.

It ends when nothing is left to send, or when its standard input has ended and everything was tried once more.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from io import RawIOBase
from typing import Any, TextIO

from maintenance_handler.io.lock import Lock, Locked
from maintenance_handler.io.notice_queue import NoticeQueue
from notifier import mail, program, vm, web
from notifier.backlog import Backlog
from notifier.delivery import Clocks, Delivery

# Seconds without anything to send, after which it ends.
IDLE = 1.0
# Seconds for the last try. The handler, which waits for it, gives it a second more (LAST_TRY).
LAST_TRY = 4.0
_LOCK_EVERY = 0.1
# Requests, each an empty line, that are taken as one.
_MOST_REQUESTS = 4096


def sender(target: Mapping[str, Any]) -> Any:
    """The function that sends to a target."""
    return mail.send if "smtp" in target else program.send if "command" in target else web.send


class Service:
    """One run of the notifier."""

    def __init__(self, settings: Mapping[str, Any], queue: NoticeQueue, commands: RawIOBase, reports: TextIO) -> None:
        self._settings = settings
        self._queue = queue
        self._commands = commands
        self._reports = reports
        self._backlog = Backlog(queue)
        self._changed = threading.Condition()
        # Increases with each request to look at the queue.
        self._requests = 0
        self._is_closing = False
        # The handler has closed its pipe, and all that it had queued was read.
        self._is_last = False
        # Increases each time that new notices were read.
        self._refreshes = 0
        self._deliveries: list[Delivery] = []
        # The threads of these targets wait for something new.
        self._idle: set[str] = set()
        self._ended: set[str] = set()
        self._reported: dict[str, tuple[int, int]] = {}
        self._last_report: dict[str, Any] = {}
        self._told: set[str] = set()

    def run(self) -> None:
        """Send until nothing is left. Raises OSError if the queue cannot be read."""
        threading.Thread(target=self._listen, daemon=True).start()
        lock = self._take_lock()
        if lock is not None:
            self._queue.sweep_records()
        self._backlog.refresh()
        names = vm.names(self._queue, self._settings.get("metadata_host"))
        for target in self._settings["targets"]:
            target = {**target, "after": self._settings.get("after", 0)}
            self._deliveries.append(Delivery(target, sender(target), names, self._queue, self._backlog, Clocks()))
        for delivery in self._deliveries:
            threading.Thread(target=self._deliver, args=(delivery,), daemon=True).start()
        self._watch()
        self._report()
        if lock is not None:
            lock.release()

    def _listen(self) -> None:
        """Wait for the handler's requests until it closes the pipe, or dies."""
        while self._commands.read(_MOST_REQUESTS):
            with self._changed:
                self._requests += 1
                self._changed.notify_all()
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def _take_lock(self) -> Lock | None:
        """Wait for another notifier, which has lost its handler and is about to end."""
        # Without a lock, as on a full disk: better a notice twice than none.
        with suppress(OSError):
            while not self._is_closing:
                with suppress(Locked):
                    return Lock(self._queue.folder / "lock")
                time.sleep(_LOCK_EVERY)
        return None

    def _watch(self) -> None:
        """Look at the queue when asked to, and report, until the end."""
        seen, idle_since, closing_since = 0, None, None
        while True:
            with self._changed:
                self._changed.wait(0.1 if self._is_closing or idle_since is not None else 1.0)
                requests, is_closing = self._requests, self._is_closing
            if requests != seen or (is_closing and closing_since is None):
                self._refresh()
                seen = requests
            if is_closing:
                with self._changed:
                    self._is_last = True
                    self._changed.notify_all()
            self._report()
            now = time.monotonic()
            if is_closing:
                closing_since = now if closing_since is None else closing_since
                if len(self._ended) == len(self._deliveries) or now - closing_since >= LAST_TRY:
                    return
                continue
            is_idle = len(self._idle) == len(self._deliveries)
            idle_since = (now if idle_since is None else idle_since) if is_idle else None
            if idle_since is not None and now - idle_since >= IDLE:
                return

    def _refresh(self) -> None:
        with suppress(OSError):
            self._backlog.refresh()
        with self._changed:
            self._refreshes += 1
            self._idle.clear()
            self._changed.notify_all()

    def _deliver(self, delivery: Delivery) -> None:
        """The thread of one target."""
        while True:
            is_last, refreshes = self._is_last, self._refreshes
            pause = delivery.step(hurry=is_last)
            with self._changed:
                self._changed.notify_all()
                if is_last and pause != 0:
                    self._ended.add(delivery.name)
                    return
                # What was read since may be for this target.
                if pause is None and refreshes == self._refreshes:
                    self._idle.add(delivery.name)
                    self._changed.wait_for(lambda: delivery.name not in self._idle or self._is_last)
                elif pause:
                    self._changed.wait_for(lambda: self._is_last, pause)

    def _report(self) -> None:
        """Report what has changed since the last report, and delete what all targets are done with."""
        log: list[tuple[str, str]] = []
        sent, failed = {}, {}
        for delivery in self._deliveries:
            while delivery.log:
                log.append(delivery.log.popleft())
            counted = (delivery.sent, delivery.failed)
            before = self._reported.get(delivery.name, (0, 0))
            sent[delivery.name], failed[delivery.name] = counted[0] - before[0], counted[1] - before[1]
            self._reported[delivery.name] = counted
        for identity in self._backlog.unreadable:
            if identity not in self._told:
                self._told.add(identity)
                log.append(("error", f"the notice {identity} cannot be read, and is not sent"))
        state = {
            "seen": self._backlog.newest,
            "queued": {delivery.name: len(delivery.pending()) for delivery in self._deliveries},
            "problems": {delivery.name: delivery.problem for delivery in self._deliveries},
        }
        if state == self._last_report and not log and not any((*sent.values(), *failed.values())):
            return
        self._last_report = state
        # A handler that has died reads no report. What is being sent is finished and recorded nevertheless.
        with suppress(BrokenPipeError):
            self._reports.write(json.dumps({**state, "sent": sent, "failed": failed, "log": log}) + "\n")
            self._reports.flush()
        with suppress(OSError):
            self._queue.trim(min((delivery.done for delivery in self._deliveries), default=0))
