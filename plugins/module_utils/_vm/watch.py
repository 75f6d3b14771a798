# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that waits for changes of one metadata key, through every outage, and posts its values.

Private to the collection: it may change at any time. The maintenance handler uses the same file.
"""

from __future__ import annotations

import importlib
import random
import threading
import time
from typing import TYPE_CHECKING, Callable, Union

from .backoff import backoff
from .maintenance import (
    MAINTENANCE_EVENT_KEY,
    PREEMPTED_KEY,
    SHUTDOWN_DETAILS,
    SIGNAL_LIMIT,
    Stop,
    UnreadableWindow,
)
from .metadata_server import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Limits,
    MetadataError,
    MetadataNotFound,
    MetadataServer,
    MetadataTooLarge,
    MetadataTooManyRequests,
    MetadataUnavailable,
    Time,
)
from .records import dataclass, replace
from .signal_values import essence

if TYPE_CHECKING:
    from .signal_values import Value

# The client imports it with the first error page. Import it now, so that a hanging disk cannot delay a watcher then.
importlib.import_module(".error_page", __package__)

# Keys whose events leave little time. If others cannot be waited for, they are queried once per poll timeout.
_URGENT_KEYS = (MAINTENANCE_EVENT_KEY, PREEMPTED_KEY)
# Seconds until a missing key, which cannot be waited for, is queried again.
ABSENT_PAUSE = 5.0
# Seconds after a value that is too large, which does not come from the platform and may stay for long.
TOO_LARGE_PAUSE = 2.0
# Minimum seconds between answers without news, so that an etag that changes without the value makes no busy loop.
LEAST_TURN = 1.0
# Seconds after news, so that the loop, which has a task to start, does not share the interpreter with the watcher. A
# change in the meantime is not lost: the next request is answered at once.
NEWS_PAUSE = 0.05


@dataclass(frozen=True)
class Heard:
    """The metadata server answered. `value` is the essence of the value, None if the key is missing."""

    key: str
    value: Value
    clock: float


@dataclass(frozen=True)
class Failed:
    """A request failed. There will be another."""

    key: str
    reason: str
    clock: float


if TYPE_CHECKING:
    Post = Callable[[Union[Heard, Failed]], None]


class Watcher:
    """Watches one key in a daemon thread. `last_turn` is the monotonic time at which the last request ended."""

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
        # The essence of the last value, or what is wrong with it.
        self._last: Value = None
        self._etag: str | None = None
        # The watcher retries by itself, without the etag, to learn of the end of an outage at once.
        limits = Limits(retry_for=0, body_limit=SIGNAL_LIMIT)
        self._server = MetadataServer(host, limits=limits, time=Time(clock, sleep))
        self._pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE, random.random)

    def start(self) -> None:
        threading.Thread(target=self._run, name=self.key, daemon=True).start()

    @property
    def etag(self) -> str | None:
        """The etag of the last value, to `resume` with."""
        return self._etag

    def resume(self, etag: str | None, value: Value) -> None:
        """Before the first turn: wait for a change of this value, which an earlier watcher has heard."""
        self._etag, self._last = etag, value

    def abort(self) -> None:
        """End the request of another thread at once. Each further turn fails."""
        self._server.abort()

    def close(self) -> None:
        """Close the connection of the thread that takes the turns."""
        self._server.close()

    def turn(self) -> float:
        """Send one request, post the result, and return the seconds until the next request."""
        began = self._clock()
        try:
            # Here the 60 s notice is kept armed. The request is for the key itself, never for its directory: a VM gets
            # the notice of a live migration only if it has queried the key directly since its last event.
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
            # A wait worked, so an outage in which only waits fail is over.
            self._pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE, random.random)
        self._etag = answer.etag
        before = self._last
        # Here instead of in the loop, so that a long value only costs this thread time.
        try:
            self._last = self._completed(essence(self.key, answer.value))
        except UnreadableWindow as exc:
            self._last = str(exc)
            self._failed(exc)
        else:
            self._heard(self._last)
        if self._last != before or (first and self._etag is not None):
            return NEWS_PAUSE
        return max(0.0, LEAST_TURN - (self._clock() - began))

    def _completed(self, value: Value) -> Value:
        """A stop with its details: its time and its target are in keys of their own."""
        if not isinstance(value, Stop):
            return value
        try:
            return essence(self.key, self._server.get(SHUTDOWN_DETAILS, recursive=True).value)
        except MetadataError:
            # The announcement counts without its details, or with those that are known. The next turn reads both anew.
            self._etag = None
            return replace(self._last, state=value.state) if isinstance(self._last, Stop) else value

    def _pause_after(self, error: MetadataError, took: float) -> float:
        if isinstance(error, (MetadataUnavailable, MetadataTooManyRequests)):
            # Counted from the start of the request, which may have hung for long enough.
            return max(0.0, next(self._pauses) - took)
        if isinstance(error, MetadataTooLarge):
            return self._pause_of_absence(TOO_LARGE_PAUSE)
        # 400 or 403, which a retry does not change soon.
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
