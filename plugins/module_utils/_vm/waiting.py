# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until a key of the metadata server is as someone wants it.

Private to the collection: it may change at any time. Standard library only.

A key that is there is waited for by a GET that hangs on it. One that is not there cannot be hung on: the wait then is
for a change in its directory.

Queries for guest attributes are few, ten a minute, and shared with those who write what is waited for. For a key among
them, the first look is at all of them, which tells whether it is there, and is something to hang on if it is not: two
requests until one hangs, and then one for each change of others.
"""

from __future__ import annotations

import math
import random as _random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._metadata.tree import canonical, contains, is_directory, split
from .backoff import backoff
from .guest_attributes import DIRECTORY, QUERIES_PER_MINUTE, QUERIES_PER_SECOND, QueryBudget
from .metadata_server import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Answer,
    MetadataNotFound,
    MetadataServer,
    MetadataTooManyRequests,
    MetadataUnavailable,
)

# How long one GET hangs; the guest agent's are as long.
LONGEST_HANG = 60
# A key that is missing is looked for by waiting for its directory, and once in a while directly: what the server knows
# of upcoming-maintenance need not be in its tree. Guest attributes are.
LONGEST_HANG_FOR_MISSING = 30
# Sent as the etag of what came without one, it matches nothing. The client refuses the next answer without an etag.
NO_ETAG = "NONE"
# Before the next request, when an answer came at once and had nothing new in it.
PAUSE = 1.0
# Before the next query for guest attributes that follows one that was refused.
REFUSED_PAUSE = 60.0 / QUERIES_PER_MINUTE
# Before the one that follows news of others than the one that is waited for. Whoever writes these has more to write,
# and needs the budget for it: within this time, it can be used up.
BURST_PAUSE = QUERIES_PER_MINUTE / QUERIES_PER_SECOND


@dataclass(frozen=True)
class Seen:
    """What there was of a key at one time; ``value`` is as the client decoded it.

    There is no etag if there was no key, or if the key was seen in its directory and could not be asked for by itself.
    """

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
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = _random.random,
) -> Outcome:
    """Watch a key until the condition is met or ``timeout`` seconds are over.

    ``server`` must not retry by itself: outages are survived here, until the server has answered once for ``retry_for``
    seconds, and then for as long as there is time. That there are too many requests is an answer. Every other error of
    the client's is raised.
    """
    start = clock()
    watch = _Watch(server, path, _Turns(path, start + timeout, clock, sleep))
    seen: Seen | None = None
    has_answered = False
    first_failure, pauses, trouble = start, backoff(FIRST_PAUSE, LONGEST_PAUSE, random), ""
    while True:
        began = clock()
        try:
            latest = watch.next()
        except _TimeIsOver:
            return Outcome(False, seen, clock() - start, trouble)
        except (MetadataUnavailable, MetadataTooManyRequests) as error:
            now = clock()
            if not trouble:
                first_failure, pauses = now, backoff(FIRST_PAUSE, LONGEST_PAUSE, random)
            has_answered = has_answered or isinstance(error, MetadataTooManyRequests)
            if not has_answered and now - first_failure >= retry_for:
                raise
            trouble = str(error)
            pause = max(0.0, next(pauses) - (now - began))
        else:
            now, has_answered, trouble = clock(), True, ""
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


class _TimeIsOver(Exception):
    """The next request may be sent only after the end of the wait."""


class _Turns:
    """When the requests for a path may be sent: guest attributes have a budget, everything else may be asked for."""

    def __init__(self, path: str, end: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._budget = QueryBudget() if f"{canonical(path)}/".startswith(f"{DIRECTORY}/") else None
        self._end = end
        self._clock = clock
        self._sleep = sleep
        self._held_until = -math.inf

    @property
    def left(self) -> float:
        """How many seconds there are until the end of the wait."""
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
        """Tell that the request sent last was answered at once."""
        if self._budget is not None:
            self._budget.answered(self._clock())

    def hold(self, seconds: float) -> None:
        """Leave the budget to others for a while."""
        self._held_until = self._clock() + seconds


class _Watch:
    """One key: as it is when first asked for, and from then on as soon as there may be something new."""

    def __init__(self, server: MetadataServer, path: str, turns: _Turns) -> None:
        self._server = server
        self._turns = turns
        self._path = canonical(path)
        self._names = split(path)
        self._etag: str | None = None
        is_guest_attribute = len(self._names) > 3 and self._path.startswith(f"{DIRECTORY}/")
        # Where to wait for a key that is missing: the narrowest directory that is there for certain, then wider ones.
        # Of a guest attribute, the namespace comes even before that, but need not be there.
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
        # From here on it has to be asked for, even if the next request fails.
        self._looks_around = False
        try:
            answer = self._ask(self._path, self._etag, LONGEST_HANG)
        except MetadataNotFound:
            self._etag, self._looks_around, self._is_missed = None, True, True
            return MISSING
        except (MetadataTooManyRequests, _TimeIsOver):
            if told is None:
                raise
            return told  # all but the etag, which is not worth another wait
        self._etag, self._around_etag = answer.etag or NO_ETAG, None
        return Seen(True, answer.value, answer.etag)

    def _look_around(self) -> Seen | None:
        """What the directory tells of the key, or None if only the key itself can tell."""
        before = self._around_etag
        tree = self._ask_around()
        names = self._names[len(split(self._around[self._place])) :]
        if not self._is_exact():
            if before is None and self._is_missed and not contains(tree, names):
                self._ask_around()
            return None
        told = _found_in(tree, names)
        if not told.found and before not in (None, self._around_etag):
            self._turns.hold(BURST_PAUSE)
            if self._place > 0 and _found_in(tree, names[:1]).found:
                # By now there is a namespace to hang on, which others do not write to.
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
        """Hang on what is known by its etag; what is not known yet is read, for which request_timeout has to do."""
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
        """Whether what the directory has of the key, or has not, is what there is."""
        return self._around[self._place].startswith(f"{DIRECTORY}/")


def _found_in(tree: Any, names: tuple[str, ...]) -> Seen:
    """What a tree of guest attributes has at a place: their names, and their values, are in it as they are."""
    for name in names:
        if not isinstance(tree, dict) or name not in tree:
            return MISSING
        tree = tree[name]
    return Seen(True, tree)


def _hang(left: float, longest: int) -> int:
    """What to send as timeout_sec: whole seconds, of which 0 would be no hanging at all."""
    return max(1, math.ceil(min(left, longest)))
