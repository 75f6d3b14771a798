# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of a recipe: its parameters, its remaining time, and waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Callable

from client.errors import Refusal, Unreachable
from recipes.record import Record

__all__ = ["EVERY", "Refusal", "Run", "Unfinished", "counted"]

# Seconds for a run without a time limit.
BY_HAND = 3600.0
# The part of the time, and the maximum in seconds, that is reserved for the report of what is open.
RESERVE = 0.5
RESERVE_SHARE = 0.1
EVERY = 0.25


class Unfinished(Exception):
    """The time is over. The text says what is still open."""


class Run:
    """The argument of each function of a recipe's program. `event` is the event that it runs for, "" by hand."""

    def __init__(
        self,
        values: Mapping[str, Any],
        verb: str,
        environ: Mapping[str, str],
        record: Record,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.verb = verb
        self.event = environ.get("GCE_EVENT", "")
        self.record = record
        self.clock = clock
        self._values = values
        self._sleep = sleep
        seconds = _seconds(environ.get("GCE_TASK_TIMEOUT_SECONDS", ""))
        self._until = clock() + seconds - min(RESERVE, RESERVE_SHARE * seconds)
        # What to report when the time is over: what the last wait was for, or what a recipe is about to do.
        self.open = "it had only begun"

    def __getitem__(self, parameter: str) -> Any:
        return self._values[parameter]

    def say(self, line: str) -> None:
        print(line, flush=True)

    def left(self) -> float:
        """The remaining seconds, never negative."""
        return max(0.0, self._until - self.clock())

    def bounded(self, seconds: float) -> float:
        """A timeout for one call: these seconds, or the remaining ones if they are fewer."""
        return max(0.1, min(seconds, self.left()))

    def wait_until(self, still_open: Callable[[], str], every: float = EVERY) -> None:
        """Call `still_open` repeatedly until it returns "". Otherwise, it returns what is still open.

        Raises `Unfinished` with its last value when the time is over.
        """
        called = False
        while True:
            try:
                found = still_open()
            except Refusal as exc:
                # The time limit has cut a request short: its error says nothing about the service.
                if called and self.left() <= 0:
                    raise self.unfinished() from None
                if isinstance(exc, Unreachable) and self.left() <= 0:
                    raise Unfinished(str(exc)) from None
                raise
            if not found:
                return
            self.open = found
            if self.left() <= 0:
                raise self.unfinished()
            called = True
            self.pause(every)

    def unanswered(self, problem: str) -> str:
        """What is still open, of a service that does not answer. Raises `Unreachable` if the time is over.

        Then the time limit may have cut the request short, and the service may be up.
        """
        if self.left() <= 0:
            raise Unreachable(problem)
        return problem

    @contextmanager
    def keeping(self, seconds: float) -> Iterator[None]:
        """Keep the last seconds of the time for what comes after the context.

        Raises `Refusal` in place of `Unfinished` if the time before them is over.
        """
        until = self._until
        self._until = until - seconds
        try:
            yield
        except Unfinished as exc:
            # Otherwise, this run was terminated.
            if seconds > 0 and self.left() <= 0:
                raise Refusal(str(exc)) from None
            raise
        finally:
            self._until = until

    def pause(self, seconds: float) -> None:
        self._sleep(min(seconds, self.left()))

    def unfinished(self) -> Unfinished:
        return Unfinished(self.open)


def counted(number: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return BY_HAND
