# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rate that several threads keep to together. Pure but for the clock.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Pace:
    """Lets `per_minute` turns through each minute, spread evenly but for a burst; 0 lets all of them through."""

    # Of a minute's turns, how many may come at once after a pause.
    BURST_SHARE = 1 / 12

    def __init__(self, per_minute: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._tolerance = self._interval * max(0.0, per_minute * self.BURST_SHARE - 1)
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        # When a turn would come if all were spread evenly: the generic cell rate algorithm.
        self._next = clock()
        self._held_until = self._next

    def turn(self) -> None:
        """Sleep until it is the caller's turn."""
        with self._lock:
            now = self._clock()
            self._next = max(self._next, now) + self._interval
            start = max(self._next - self._interval - self._tolerance, self._held_until)
        if start > now:
            self._sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long: the server says that the rate is too high, whoever else uses it up."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)
