# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far work on many items is, and how long the rest takes. Pure but for the clock.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

# Seconds between two reports, so that these cost nothing.
PAUSE = 0.5


@dataclass(frozen=True)
class Progress:
    """`left` is in seconds, at least."""

    done: int
    total: int
    left: float


class ProgressMeter:
    """Counts items in any number of threads. `least` has the seconds that so many items take at the rate limit."""

    def __init__(
        self,
        total: int,
        least: Callable[[int], float],
        clock: Callable[[], float],
        report: Callable[[Progress], None],
    ) -> None:
        self._total = total
        self._least = least
        self._clock = clock
        self._report = report
        self._lock = threading.Lock()
        self._done = 0
        self._start = self._reported = clock()
        report(Progress(0, total, least(total)))

    def count(self) -> None:
        """One more item is done."""
        with self._lock:
            self._done += 1
            now = self._clock()
            if now - self._reported < PAUSE:
                return
            self._reported = now
            rest = self._total - self._done
            # The limit allows a burst, so that the first items are faster than the others.
            left = max(self._least(rest), (now - self._start) / self._done * rest)
            self._report(Progress(self._done, self._total, left))
