# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time that tests move."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any, cast


class ManualHandle:
    def __init__(self, when: float, call: Callable[[], Any]) -> None:
        self._when = when
        self.call: Callable[[], Any] | None = call

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.call = None


class ManualTime:
    """The timers of an event loop. `advance` makes the calls that are due, in order."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self._calls: list[tuple[float, int, ManualHandle]] = []
        self._order = itertools.count()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., Any], *arguments: Any) -> ManualHandle:
        handle = ManualHandle(self.now + delay, lambda: callback(*arguments))
        heapq.heappush(self._calls, (handle.when(), next(self._order), handle))
        return handle

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            when, _unused, handle = heapq.heappop(self._calls)
            self.now = max(self.now, when)
            if handle.call is not None:
                handle.call()
        self.now = end
