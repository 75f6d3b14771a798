# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest attribute `maintenance-handler/status`, written in parallel with the drain and within the query limits."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Callable

from .._vm.guest_attributes import QueryBudget, attribute_path
from .._vm.maintenance import SIGNAL_LIMIT
from .._vm.metadata_server import Limits, MetadataError, MetadataForbidden, MetadataServer, Time

NAMESPACE = "maintenance-handler"
KEY = "status"

# Guest attributes may be enabled at any time, and take effect some minutes later.
DISABLED_PAUSE = 300.0
FAILED_PAUSE = 30.0
# A quick drain changes the state within milliseconds, and other programs share the query limit.
LEAST_PAUSE = 2.0


class Publisher:
    """Writes the newest offered text in a daemon thread, and skips older ones.

    `on_result` is called after each write with "ok" or the reason of the failure.
    """

    def __init__(
        self,
        host: str | None,
        on_result: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._host = host
        self._on_result = on_result
        self._clock = clock
        self._sleep = sleep
        limits = Limits(retry_for=0, body_limit=SIGNAL_LIMIT)
        self._server = MetadataServer(host, limits=limits, time=Time(clock, sleep))
        self._budget = QueryBudget()
        self._changed = threading.Condition()
        self._offered: str | None = None
        self._written: str | None = None
        self._writing = threading.Lock()
        self._finished = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="guest attribute", daemon=True).start()

    def offer(self, text: str) -> None:
        """Offer a text. Never blocks."""
        with self._changed:
            self._offered = text
            self._changed.notify()

    def turn(self) -> float:
        """Wait for a new text, write it, and return the seconds until the next write."""
        with self._changed:
            while self._offered == self._written:
                self._changed.wait()
        wait = self._budget.take(self._clock())
        if wait > 0:
            self._sleep(wait)
        with self._writing:
            if self._finished:
                return DISABLED_PAUSE
            with self._changed:
                text = self._offered
            try:
                self._server.put(attribute_path(NAMESPACE, KEY), text or "")
            except MetadataError as exc:
                self._on_result(str(exc))
                return DISABLED_PAUSE if isinstance(exc, MetadataForbidden) else FAILED_PAUSE
            self._written = text
        self._on_result("ok")
        return LEAST_PAUSE

    def finish(self, text: str, within: float) -> None:
        """Write a last text, if one was written before, within this many seconds."""
        if self._written is None:
            return
        # In a thread, because the resolver may hang.
        last = threading.Thread(target=self._finish, args=(text, within), name="last guest attribute", daemon=True)
        last.start()
        last.join(within)

    def _finish(self, text: str, within: float) -> None:
        if not self._writing.acquire(timeout=within):
            return
        self._finished = True
        limits = Limits(retry_for=0, timeout=within, body_limit=SIGNAL_LIMIT)
        server = MetadataServer(self._host, limits=limits)
        # Outside of the query budget, because it is the last write and is not retried.
        with suppress(MetadataError):
            server.put(attribute_path(NAMESPACE, KEY), text)
        self._writing.release()

    def _run(self) -> None:
        while True:
            pause = self.turn()
            if pause > 0:
                self._sleep(pause)
