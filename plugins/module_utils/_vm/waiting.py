# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a key of the metadata server meets a condition.

Private to the collection: it may change at any time. Standard library only.

A key that exists is waited for by a hanging GET. A key that does not exist cannot be: the wait is then for a change in
its directory.

Guest attributes have a budget of ten queries a minute, which the wait shares with the writer of the attribute. For a
guest attribute, the first request is therefore for all of them: it shows whether the key exists, and has an etag to
wait with if not. That takes two requests until one hangs, and one for each change of other attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._metadata.tree import canonical, contains, is_directory, split
from .backoff import backoff
from .guest_attributes import DIRECTORY, QUERIES_PER_MINUTE, QUERIES_PER_SECOND, QueryBudget
from .metadata_server import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    REAL_TIME,
    Answer,
    MetadataNotFound,
    MetadataServer,
    MetadataTooManyRequests,
    MetadataUnavailable,
    Time,
)

# Seconds that one GET hangs, as in Google's guest agent.
LONGEST_HANG = 60
# Seconds after which a missing key is requested directly, besides waiting for its directory: upcoming-maintenance need
# not be in its tree. Guest attributes always are.
LONGEST_HANG_FOR_MISSING = 30
# Sent for a value without an etag; it matches nothing. The client rejects the next answer without an etag.
NO_ETAG = "NONE"
# Seconds before the next request after an answer that came at once with nothing new.
PAUSE = 1.0
# Seconds before the next query for guest attributes after a rejected one.
REFUSED_PAUSE = 60.0 / QUERIES_PER_MINUTE
# Seconds before the next query after a change of other attributes. Their writer probably has more to write, and can use
# up the budget within this time.
BURST_PAUSE = QUERIES_PER_MINUTE / QUERIES_PER_SECOND


@dataclass(frozen=True)
class Seen:
    """A key at one time; ``value`` is as the client decoded it.

    ``etag`` is None if the key did not exist, or was seen in its directory and could not be requested by itself.
    """

    found: bool
    value: Any = field(default=None, repr=False)
    etag: str | None = None


MISSING = Seen(False)


@dataclass(frozen=True)
class Outcome:
    """``seen`` is the key as last seen, or None; ``trouble`` is why the last try failed, or empty."""

    met: bool
    seen: Seen | None
    elapsed: float
    trouble: str = ""


class Changed:
    """The condition that a key has changed since ``last_etag``, or else since it was first seen."""

    def __init__(self, last_etag: str | None = None) -> None:
        self._last_etag = last_etag
        self._first: Seen | None = None

    def __call__(self, seen: Seen) -> bool:
        if self._last_etag is not None:
            is_known = seen.etag is not None or not seen.found
            return is_known and seen.etag != self._last_etag
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
    time: Time = REAL_TIME,
) -> Outcome:
    """Watch a key until it meets the condition or ``timeout`` seconds are over. Raises MetadataError.

    ``server`` must not retry by itself. Outages are retried here: for ``retry_for`` seconds before the first answer,
    and for the whole ``timeout`` after it. A rate limit (429) counts as an answer. All other errors are raised.
    """
    clock = time.clock
    start = clock()
    watch = _Watch(server, path, _RequestPacer(path, start + timeout, time))
    seen: Seen | None = None
    has_answered = False
    first_failure, pauses, trouble = start, backoff(FIRST_PAUSE, LONGEST_PAUSE, time.random), ""
    while True:
        began = clock()
        try:
            latest = watch.next()
        except _TimeIsOver:
            return Outcome(False, seen, clock() - start, trouble)
        except (MetadataUnavailable, MetadataTooManyRequests) as error:
            now = clock()
            if not trouble:
                first_failure, pauses = now, backoff(FIRST_PAUSE, LONGEST_PAUSE, time.random)
            has_answered = has_answered or isinstance(error, MetadataTooManyRequests)
            if not has_answered and now - first_failure >= retry_for:
                raise
            trouble = str(error)
            pause = max(0.0, next(pauses) - (now - began))
        else:
            now, has_answered, trouble = clock(), True, ""
            if condition(latest):
                return Outcome(True, latest, now - start)
            # Otherwise a server whose etags change without the values would be queried in a tight loop.
            has_news = seen is None or (seen.found, seen.value) != (latest.found, latest.value)
            pause = 0.0 if has_news or now - began >= PAUSE else PAUSE
            seen = latest
        left = start + timeout - now
        if left <= 0:
            return Outcome(False, seen, now - start, trouble)
        if pause > 0:
            time.sleep(min(pause, left))


class _TimeIsOver(Exception):
    """The next request may be sent only after the end of the wait."""


class _RequestPacer:
    """When the requests for a path may be sent: guest attributes have a query budget, other keys have none."""

    def __init__(self, path: str, end: float, time: Time) -> None:
        self._budget = QueryBudget() if f"{canonical(path)}/".startswith(f"{DIRECTORY}/") else None
        self._end = end
        self._clock, self._sleep = time.clock, time.sleep
        self._held_until = -math.inf

    @property
    def left(self) -> float:
        """Seconds until the end of the wait."""
        return self._end - self._clock()

    def take(self) -> None:
        """Sleep until the next request may be sent."""
        if self._budget is None:
            return
        now = self._clock()
        when = max(now, self._held_until)
        when += self._budget.take(when)
        if when > now:
            self._sleep(max(0.0, min(when, self._end) - now))
            if when > self._end:
                raise _TimeIsOver

    def answered(self) -> None:
        """The last request was answered at once."""
        if self._budget is not None:
            self._budget.answered(self._clock())

    def hold(self, seconds: float) -> None:
        """Leave the budget to others for a while."""
        self._held_until = self._clock() + seconds


class _Watch:
    """One key: its value on the first call, and on later calls as soon as it may have changed."""

    def __init__(self, server: MetadataServer, path: str, turns: _RequestPacer) -> None:
        self._server = server
        self._turns = turns
        self._path = canonical(path)
        self._names = split(path)
        self._etag: str | None = None
        is_guest_attribute = len(self._names) > 3 and self._path.startswith(f"{DIRECTORY}/")
        # Where to wait for a missing key: the narrowest directory that exists for certain, then wider ones.
        # For a guest attribute, the namespace comes first, but need not exist.
        longest = min(3 if is_guest_attribute else 2, len(self._names) - 1)
        self._around = ["/".join([*self._names[:length], ""]) for length in range(longest, 0, -1)] + [""]
        self._place = 1 if is_guest_attribute else 0
        self._around_etag: str | None = None
        self._looks_around = is_guest_attribute
        self._is_missed = False

    def next(self) -> Seen:
        told = self._look_around() if self._looks_around else None
        if told is MISSING:
            return MISSING
        # From here on the key has to be requested, even if the next request fails.
        self._looks_around = False
        try:
            answer = self._ask(self._path, self._etag, LONGEST_HANG)
        except MetadataNotFound:
            self._etag, self._looks_around, self._is_missed = None, True, True
            return MISSING
        except (MetadataTooManyRequests, _TimeIsOver):
            if told is None:
                raise
            return told  # without an etag, which is not worth another wait
        self._etag, self._around_etag = answer.etag or NO_ETAG, None
        return Seen(True, answer.value, answer.etag)

    def _look_around(self) -> Seen | None:
        """The key as its directory shows it, or None if the key has to be requested."""
        before = self._around_etag
        tree = self._ask_around()
        depth = len(split(self._around[self._place]))
        names = self._names[depth:]
        if not self._is_exact():
            if before is None and self._is_missed and not contains(tree, names):
                self._ask_around()
            return None
        told = _found_in(tree, names)
        if not told.found and before not in (None, self._around_etag):
            self._turns.hold(BURST_PAUSE)
            if self._place > 0 and _found_in(tree, names[:1]).found:
                # The namespace exists by now, and others do not write to it.
                self._place -= 1
                self._around_etag = None
        return told

    def _ask_around(self) -> Any:
        longest = LONGEST_HANG if self._is_exact() else LONGEST_HANG_FOR_MISSING
        try:
            answer = self._ask(self._around[self._place], self._around_etag, longest)
        except MetadataNotFound:
            if self._place == len(self._around) - 1:
                raise
            self._place += 1
            self._around_etag = None
            return self._ask_around()
        self._around_etag = answer.etag or NO_ETAG
        return answer.value

    def _ask(self, path: str, etag: str | None, longest: int) -> Answer:
        """Wait for a change if an etag is known; else read, within request_timeout."""
        self._turns.take()
        recursive = is_directory(path)
        try:
            if etag is not None:
                hang = _hang(self._turns.left, longest)
                return self._server.wait(path, etag, hang, recursive=recursive, alt="json")
            answer = self._server.get(path, recursive=recursive, alt="json")
        except MetadataTooManyRequests:
            self._turns.hold(REFUSED_PAUSE)
            raise
        self._turns.answered()
        return answer

    def _is_exact(self) -> bool:
        """Whether the directory shows exactly what exists of the key."""
        return self._around[self._place].startswith(f"{DIRECTORY}/")


def _found_in(tree: Any, names: tuple[str, ...]) -> Seen:
    """The value at a place in a tree of guest attributes, which has names and values unchanged."""
    for name in names:
        if not isinstance(tree, dict) or name not in tree:
            return MISSING
        tree = tree[name]
    return Seen(True, tree)


def _hang(left: float, longest: int) -> int:
    """The timeout_sec to send: whole seconds, at least 1, since 0 does not wait."""
    return max(1, math.ceil(min(left, longest)))
