# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time that passes only while all threads sleep, and then at once, so that minutes take no time."""

from __future__ import annotations

import threading


class SharedTime:
    """`clock` and `sleep` for `parties` threads. Each of them has to call `leave` when it is done."""

    def __init__(self, parties: int = 1) -> None:
        self.now = 1000.0
        self._parties = parties
        self._wakes: list[float] = []
        self._changed = threading.Condition()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._changed:
            wake = self.now + seconds
            self._wakes.append(wake)
            self._pass()
            if not self._changed.wait_for(lambda: self.now >= wake, timeout=30):
                raise AssertionError("a thread neither sleeps nor leaves")

    def leave(self) -> None:
        with self._changed:
            self._parties -= 1
            self._pass()

    def _pass(self) -> None:
        if self._wakes and len(self._wakes) == self._parties:
            self.now = max(self.now, min(self._wakes))
            self._wakes = [wake for wake in self._wakes if wake > self.now]
            self._changed.notify_all()
