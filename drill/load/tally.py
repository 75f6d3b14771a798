# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the clients of a load count together."""

from __future__ import annotations

import collections
import itertools
import threading
import time
from typing import Any

# Enough to see what failed and why.
_REASONS = 5


class Tally:
    """Counts of all clients. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slowest = 0.0
        self._successes = [time.monotonic()]
        self._reasons: collections.Counter[str] = collections.Counter()
        # The keys of acknowledged writes.
        self.acknowledged: list[str] = []

    def success(self, began: float, key: str | None = None) -> None:
        """A request that began at `began` was answered; `key` is what it has written."""
        now = time.monotonic()
        with self._lock:
            self._slowest = max(self._slowest, now - began)
            self._successes.append(now)
            if key is not None:
                self.acknowledged.append(key)

    def failure(self, began: float, reason: str) -> None:
        """A request that began at `began` failed."""
        now = time.monotonic()
        with self._lock:
            self._slowest = max(self._slowest, now - began)
            self._reasons[reason] += 1

    def to_json(self) -> dict[str, Any]:
        """`out` is the longest time between two successes."""
        with self._lock:
            times = sorted([*self._successes, time.monotonic()])
            failed = sum(self._reasons.values())
            return {
                "requests": len(self._successes) - 1 + failed,
                "failed": failed,
                "slowest": self._slowest,
                "out": max(after - before for before, after in itertools.pairwise(times)),
                "reasons": dict(self._reasons.most_common(_REASONS)),
            }
