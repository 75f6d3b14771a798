# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limit of requests a minute, shared by threads. Pure but for the clock.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class RequestPacer:
    """Spreads `per_minute` requests evenly over each minute, with a burst after a pause; 0 removes the limit."""

    # The share of a minute's requests that may come at once.
    BURST_SHARE = 1 / 12

    def __init__(self, per_minute: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._tolerance = self._interval * max(0.0, per_minute * self.BURST_SHARE - 1)
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        # When the next request is due if all are spread evenly: the generic cell rate algorithm.
        self._next = clock()
        self._held_until = self._next

    def wait_for_turn(self) -> None:
        """Sleep until the caller may send a request."""
        with self._lock:
            now = self._clock()
            self._next = max(self._next, now) + self._interval
            start = max(self._next - self._interval - self._tolerance, self._held_until)
        if start > now:
            self._sleep(start - now)

    def seconds_for(self, requests: int) -> float:
        """How long so many requests take from now on, at least."""
        with self._lock:
            now = self._clock()
            return max(0.0, max(self._next, now) + requests * self._interval - self._tolerance - now)

    def hold(self, seconds: float) -> None:
        """Stop all requests for this time, after the server has refused one for the rate."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)
