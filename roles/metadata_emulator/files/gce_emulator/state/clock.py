# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform's time: durations can be compressed, the wall clock cannot.

`speed` divides the platform's durations (a notice, a migration, an operation). The wall clock stays real, because
guests compare announced times (`window_start_time`) with their own clock: at speed 1000, a window "in seven days"
begins in ten minutes.

A change of `speed` reschedules running timers, so that a notice ends sooner when time is compressed further. Moments
that were announced to a guest (`call_at`) stay.
"""

from __future__ import annotations

import asyncio
import datetime
from time import time as system_time
from typing import Any, Callable


class Timer:
    """A pending call; `cancel` may be called at any time, repeatedly."""

    def __init__(self, clock: Clock, callback: Callable[[], object]) -> None:
        self._clock = clock
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._clock._timers.discard(self)

    def start(self, real_seconds: float) -> None:
        self.cancel()
        self._clock._timers.add(self)
        self._handle = self._clock._loop.call_later(real_seconds, self._fire)

    def due(self) -> float:
        """When the call is due, by the loop's clock."""
        return 0.0 if self._handle is None else self._handle.when()

    def remaining(self) -> float:
        """Real seconds until the call."""
        return max(0.0, self.due() - self._clock._loop.time())

    def _fire(self) -> None:
        self._clock._timers.discard(self)
        self._callback()


class Clock:
    """`call_later(60, f)` calls `f` after a minute of the platform's time: `60 / speed` real seconds."""

    def __init__(
        self,
        speed: float = 1.0,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        wall: Callable[[], float] = system_time,
    ) -> None:
        self._loop = loop or asyncio.get_event_loop()
        self._wall = wall
        self._speed = speed
        self._timers: set[Timer] = set()

    @property
    def speed(self) -> float:
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        factor = self._speed / speed
        self._speed = speed
        # In their order, which may be all that is left of the time between them.
        for timer in sorted(self._timers, key=Timer.due):
            timer.start(timer.remaining() * factor)

    def time(self) -> float:
        """The wall clock, seconds since 1970."""
        return self._wall()

    def now(self) -> datetime.datetime:
        """The wall clock as an aware UTC datetime."""
        return datetime.datetime.fromtimestamp(self._wall(), datetime.timezone.utc)

    def real_seconds(self, platform_seconds: float) -> float:
        """Platform seconds as real seconds."""
        return platform_seconds / self._speed

    def after(self, platform_seconds: float) -> datetime.datetime:
        """The wall clock's time in `platform_seconds`."""
        return self.now() + datetime.timedelta(seconds=self.real_seconds(platform_seconds))

    def call_later(self, platform_seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call `callback(*args)` in `platform_seconds`."""
        timer = Timer(self, lambda: callback(*args))
        timer.start(self.real_seconds(platform_seconds))
        return timer

    def call_at(self, moment: datetime.datetime, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call `callback(*args)` at a time of the wall clock, whatever the speed."""
        return self._loop.call_later(max(0.0, moment.timestamp() - self._wall()), callback, *args)

    async def sleep(self, platform_seconds: float) -> None:
        """Wait for `platform_seconds`."""
        passed: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            # The sleeper may have been cancelled in the same turn of the loop.
            if not passed.done():
                passed.set_result(None)

        timer = self.call_later(platform_seconds, wake)
        try:
            await passed
        finally:
            timer.cancel()
