# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that hangs on one metadata key, for ever and through every outage, and says what it hears."""

from __future__ import annotations

import random as _random
import threading
import time
from dataclasses import dataclass

from ._maintenance import MAINTENANCE_EVENT_KEY, PREEMPTED_KEY
from ._metadata_server import MetadataError, MetadataServer, NotFound, TooManyRequests, Unavailable, backoff

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, Union

# A key that is not there is asked for again, not waited for; these two soon, as their events leave little time.
ABSENT_PAUSE = 5.0
# An answer without news before its time (an etag that changes while the value does not) must not become a busy loop.
LEAST_TURN = 1.0
# After news the watcher is quiet for a moment, so that the loop, which has a task to start, need not share the
# interpreter with it. What changes meanwhile is not lost: the next question is answered at once.
NEWS_PAUSE = 0.05


@dataclass(frozen=True)
class Heard:
    """The metadata server answered; `value` is None where it has no such key (yet)."""

    key: str
    value: Any
    clock: float


@dataclass(frozen=True)
class Failed:
    """A try to ask did not get an answer; there will be another."""

    key: str
    reason: str
    clock: float


if TYPE_CHECKING:
    Post = Callable[[Union[Heard, Failed]], None]


class Watcher:
    """Watches one key in a daemon thread. `last_turn` is when (on the clock) a try last ended, whatever it came to."""

    def __init__(
        self,
        key: str,
        host: str | None,
        post: Post,
        poll_timeout: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.key = key
        self.last_turn = clock()
        self._post = post
        self._poll_timeout = poll_timeout
        self._clock = clock
        self._sleep = sleep
        self._last_value: Any = None
        self._etag: str | None = None
        # It tries again by itself, without the etag, to hear of an outage's end when it ends, not when there is news.
        self._server = MetadataServer(host, retry_for=0, clock=clock, sleep=sleep)
        self._random = random
        self._pauses = backoff(random)

    def start(self) -> None:
        threading.Thread(target=self._run, name=self.key, daemon=True).start()

    def turn(self) -> float:
        """Ask once, say what came, and answer how many seconds to wait before asking again."""
        began = self._clock()
        try:
            answer = self._server.wait(self.key, self._etag, self._poll_timeout)
        except NotFound:
            self._etag = None
            self._heard(None)
            return ABSENT_PAUSE if self.key in (MAINTENANCE_EVENT_KEY, PREEMPTED_KEY) else float(self._poll_timeout)
        except MetadataError as exc:
            self._etag = None
            self._failed(exc)
            if isinstance(exc, (Unavailable, TooManyRequests)):
                # From start to start: a try that hung has been pause enough.
                return max(0.0, next(self._pauses) - (self._clock() - began))
            # 400 or 403: nothing that a retry changes soon, but we are here to stay.
            return ABSENT_PAUSE
        first = self._etag is None
        if not first:
            # A wait has worked: an answer without one does not end an outage in which only waits fail.
            self._pauses = backoff(self._random)
        self._etag = answer.etag
        is_news = first or answer.value != self._last_value
        self._heard(answer.value)
        return NEWS_PAUSE if is_news else max(0.0, LEAST_TURN - (self._clock() - began))

    def _run(self) -> None:
        while True:
            pause = self.turn()
            if pause > 0:
                self._sleep(pause)

    def _heard(self, value: Any) -> None:
        self._last_value = value
        self.last_turn = self._clock()
        self._post(Heard(self.key, value, self.last_turn))

    def _failed(self, error: MetadataError) -> None:
        self.last_turn = self._clock()
        self._post(Failed(self.key, str(error), self.last_turn))
