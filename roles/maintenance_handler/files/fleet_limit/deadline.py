# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time limits, also for what has none of its own, such as the resolution of a host name."""

from __future__ import annotations

import threading
import time
from typing import Callable, Generic, TypeVar

from client.errors import Unreachable

_Result = TypeVar("_Result")


class Deadline:
    """A time that is over `seconds` after it was created."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + seconds

    def left(self) -> float:
        """The remaining seconds, never negative."""
        return max(0.0, self._until - self._clock())

    def share(self, parts: int) -> Deadline:
        """The first of `parts` equal parts of the remaining time."""
        return Deadline(self.left() / parts, self._clock)


def within(deadline: Deadline, function: Callable[[], _Result], address: str) -> _Result:
    """The result of a function, or its exception. Raises `Unreachable` if it needs more time than there is.

    `address` is what the function needs, for the error.
    """
    call = _Call(function)
    # It does not keep the process from ending.
    thread = threading.Thread(target=call.run, daemon=True)
    thread.start()
    thread.join(deadline.left())
    return call.result(address)


class _Call(Generic[_Result]):
    def __init__(self, function: Callable[[], _Result]) -> None:
        self._function = function
        self._results: list[_Result] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as exc:
            self._error = exc

    def result(self, address: str) -> _Result:
        if self._error is not None:
            raise self._error
        if not self._results:
            raise Unreachable(f"{address} has not answered in time")
        return self._results[0]
