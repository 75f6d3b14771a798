# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until a key of the metadata server is as someone wants it.

Private to the collection: it may change at any time. Standard library only.

A key that is there is waited for by a GET that hangs on it. One that is not there cannot be hung on: the wait then is
for a change in its directory.
"""

from __future__ import annotations

import math
import random as _random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._metadata_server import Answer, MetadataServer, NotFound, TooManyRequests, Unavailable, backoff
from ._metadata_tree import canonical, contains, is_directory, split

# How long one GET hangs; the guest agent's are as long.
LONGEST_HANG = 60
# A key that is missing is looked for by waiting for its directory, and once in a while directly: what the server knows
# of upcoming-maintenance need not be in its tree. Two requests each time, of the ten a minute for guest attributes.
LONGEST_HANG_FOR_MISSING = 30
# Before the next request, when an answer came at once and had nothing new in it.
PAUSE = 1.0


@dataclass(frozen=True)
class Seen:
    """What there was of a key at one time; ``value`` is as the client decoded it."""

    found: bool
    value: Any = field(default=None, repr=False)
    etag: str | None = None


MISSING = Seen(False)


@dataclass(frozen=True)
class Outcome:
    """``seen`` is the last that was seen, if anything was; ``trouble`` says why the last try failed, if it did."""

    met: bool
    seen: Seen | None
    elapsed: float
    trouble: str = ""


class Changed:
    """The condition that a key is not what it was: at ``last_etag``, or else when it was first seen."""

    def __init__(self, last_etag: str | None = None) -> None:
        self._last_etag = last_etag
        self._first: Seen | None = None

    def __call__(self, seen: Seen) -> bool:
        if self._last_etag is not None:
            return seen.etag != self._last_etag
        if self._first is None:
            self._first = seen
        return (seen.found, seen.value) != (self._first.found, self._first.value)


def wait_until(
    server: MetadataServer,
    path: str,
    condition: Callable[[Seen], bool],
    *,
    timeout: float,
    retry_for: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = _random.random,
) -> Outcome:
    """Watch a key until the condition is met or ``timeout`` seconds are over.

    ``server`` must not retry by itself: outages are survived here, until the server has answered once for ``retry_for``
    seconds, and then for as long as there is time. Every other error of the client's is raised.
    """
    start = clock()
    watch = _Watch(server, path)
    seen: Seen | None = None
    first_failure, pauses, trouble = start, backoff(random), ""
    while True:
        began = clock()
        try:
            latest = watch.next(start + timeout - began)
        except (Unavailable, TooManyRequests) as error:
            now = clock()
            if not trouble:
                first_failure, pauses, trouble = now, backoff(random), str(error)
            if seen is None and now - first_failure >= retry_for:
                raise
            trouble = str(error)
            pause = max(0.0, next(pauses) - (now - began))
        else:
            now, trouble = clock(), ""
            if condition(latest):
                return Outcome(True, latest, now - start)
            # A server whose etags change without the values would otherwise be asked without end.
            has_news = seen is None or (seen.found, seen.value) != (latest.found, latest.value)
            pause = 0.0 if has_news or now - began >= PAUSE else PAUSE
            seen = latest
        left = start + timeout - now
        if left <= 0:
            return Outcome(False, seen, now - start, trouble)
        if pause > 0:
            sleep(min(pause, left))


class _Watch:
    """One key: as it is when first asked for, and from then on as soon as there may be something new."""

    def __init__(self, server: MetadataServer, path: str) -> None:
        self._server = server
        self._path = canonical(path)
        self._etag: str | None = None
        self._is_missed = False
        # Where to wait for a key that is missing: the narrowest directory that is there for certain, then wider ones.
        names = split(path)
        self._around = ["/".join([*names[:length], ""]) for length in range(min(2, len(names) - 1), 0, -1)] + [""]
        self._around_etag: str | None = None

    def next(self, left: float) -> Seen:
        if self._is_missed:
            self._hang_around(_hang(left, LONGEST_HANG_FOR_MISSING))
            # From here on it has to be asked for, even if the next request fails.
            self._is_missed = False
        try:
            answer = self._server.wait(
                self._path, self._etag, _hang(left, LONGEST_HANG), recursive=is_directory(self._path), alt="json"
            )
        except NotFound:
            self._etag, self._is_missed = None, True
            return MISSING
        self._etag, self._around_etag = answer.etag, None
        return Seen(True, answer.value, answer.etag)

    def _hang_around(self, seconds: int) -> None:
        if self._around_etag is None:
            answer = self._ask_around(seconds)
            if contains(answer.value, split(self._path)[len(split(self._around[0])) :]):
                return
        self._ask_around(seconds)

    def _ask_around(self, seconds: int) -> Answer:
        try:
            answer = self._server.wait(self._around[0], self._around_etag, seconds, recursive=True, alt="json")
        except NotFound:
            if len(self._around) == 1:
                raise
            del self._around[0]
            self._around_etag = None
            return self._ask_around(seconds)
        self._around_etag = answer.etag
        return answer


def _hang(left: float, longest: int) -> int:
    """What to send as timeout_sec: whole seconds, of which 0 would be no hanging at all."""
    return max(1, min(longest, math.ceil(left)))
