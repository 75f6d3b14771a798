# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that hangs on one metadata key, for ever and through every outage, and says what it hears."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Union

# The client imports it when it meets an error page. Ahead of that, no hanging disk can delay a watcher.
from .._vm import error_page as error_page
from .._vm.backoff import backoff
from .._vm.maintenance import (
    MAINTENANCE_EVENT_KEY,
    PREEMPTED_KEY,
    SHUTDOWN_DETAILS,
    SIGNAL_LIMIT,
    STOP_STATE_KEY,
    UnreadableWindow,
    parse_stop,
)
from .._vm.metadata_server import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MetadataError,
    MetadataNotFound,
    MetadataServer,
    MetadataTooLarge,
    MetadataTooManyRequests,
    MetadataUnavailable,
)
from .._vm.records import dataclass
from ..core.announcements import essence

if TYPE_CHECKING:
    from ..core.announcements import Value

# Their events leave little time. The others are asked for again after a poll's time if they cannot be waited for.
_URGENT_KEYS = (MAINTENANCE_EVENT_KEY, PREEMPTED_KEY)
# A key that is not there is asked for again, not waited for.
ABSENT_PAUSE = 5.0
# A value that is too large for an answer is one of another program's, and read again in vain as long as it is there.
TOO_LARGE_PAUSE = 2.0
# An answer without news before its time (an etag that changes while the value does not) must not become a busy loop.
LEAST_TURN = 1.0
# After news the watcher is quiet for a moment, so that the loop, which has a task to start, need not share the
# interpreter with it. What changes meanwhile is not lost: the next question is answered at once.
NEWS_PAUSE = 0.05


@dataclass(frozen=True)
class Heard:
    """The metadata server answered; `value` is what is kept of it, None where it has no such key (yet)."""

    key: str
    value: Value
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
    ) -> None:
        self.key = key
        self.last_turn = clock()
        self._post = post
        self._poll_timeout = poll_timeout
        self._clock = clock
        self._sleep = sleep
        # What the last answer came to, or what is wrong with it.
        self._last: Value = None
        self._etag: str | None = None
        # It tries again by itself, without the etag, to hear of an outage's end when it ends, not when there is news.
        self._server = MetadataServer(host, retry_for=0, body_limit=SIGNAL_LIMIT, clock=clock, sleep=sleep)
        self._pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE, random.random)

    def start(self) -> None:
        threading.Thread(target=self._run, name=self.key, daemon=True).start()

    def turn(self) -> float:
        """Ask once, say what came, and answer how many seconds to wait before asking again."""
        began = self._clock()
        try:
            # The key itself, never its directory: a VM gets the 60 s notice of a live migration only if it has
            # asked for instance/maintenance-event directly since its last event.
            answer = self._server.wait(self.key, self._etag, self._poll_timeout)
        except MetadataNotFound:
            self._etag = None
            self._heard(None)
            return self._pause_of_absence(ABSENT_PAUSE)
        except MetadataError as exc:
            self._etag = None
            self._failed(exc)
            return self._pause_after(exc, self._clock() - began)
        first = self._etag is None
        if not first:
            # A wait has worked: an answer without one does not end an outage in which only waits fail.
            self._pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE, random.random)
        self._etag = answer.etag
        before = self._last
        # Here, not in the loop: a long value costs only this thread its time.
        try:
            self._last = essence(self.key, self._completed(answer.value))
        except UnreadableWindow as exc:
            self._last = str(exc)
            self._failed(exc)
        else:
            self._heard(self._last)
        if self._last != before or (first and self._etag is not None):
            return NEWS_PAUSE
        return max(0.0, LEAST_TURN - (self._clock() - began))

    def _completed(self, value: Any) -> Any:
        """The whole directory of a stop that is announced: its time and its target are in keys of their own."""
        if self.key != STOP_STATE_KEY or parse_stop(value) is None:
            return value
        try:
            return self._server.get(SHUTDOWN_DETAILS, recursive=True).value
        except MetadataError:
            # The announcement counts without its details. The next turn reads both anew.
            self._etag = None
            return value

    def _pause_after(self, error: MetadataError, took: float) -> float:
        if isinstance(error, (MetadataUnavailable, MetadataTooManyRequests)):
            # From start to start: a try that hung has been pause enough.
            return max(0.0, next(self._pauses) - took)
        if isinstance(error, MetadataTooLarge):
            return self._pause_of_absence(TOO_LARGE_PAUSE)
        # 400 or 403: nothing that a retry changes soon, but we are here to stay.
        return ABSENT_PAUSE

    def _pause_of_absence(self, urgent: float) -> float:
        return urgent if self.key in _URGENT_KEYS else float(self._poll_timeout)

    def _run(self) -> None:
        while True:
            pause = self.turn()
            if pause > 0:
                self._sleep(pause)

    def _heard(self, value: Value) -> None:
        self._last = value
        self.last_turn = self._clock()
        self._post(Heard(self.key, value, self.last_turn))

    def _failed(self, error: Exception) -> None:
        self.last_turn = self._clock()
        self._post(Failed(self.key, str(error), self.last_turn))
