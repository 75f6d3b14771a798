# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file whose newest content is written by a thread, because its disk may stall or be full."""

from __future__ import annotations

import threading
from typing import Callable

from .._vm.records import dataclass


@dataclass(frozen=True)
class Shown:
    """The current problem of writing a file; "" if there is none any more."""

    what: str
    problem: str


class Newest:
    """Does the newest write that was offered, and skips older ones. Posts changes of the problem."""

    def __init__(self, what: str, post: Callable[[Shown], None]) -> None:
        self._what = what
        self._post = post
        self._changed = threading.Condition()
        self._offered: Callable[[], None] | None = None
        self._is_writing = False
        self._problem = ""
        threading.Thread(target=self._run, name=what, daemon=True).start()

    def offer(self, write: Callable[[], None]) -> None:
        """Offer a write, which may raise OSError. Never blocks."""
        with self._changed:
            self._offered = write
            self._changed.notify_all()

    def finish(self, within: float) -> bool:
        """Wait until the newest is written, at most `within` seconds. Returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._offered is None and not self._is_writing, within)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._offered is not None)
                write, self._offered = self._offered, None
                self._is_writing = True
            problem = "" if write is None else _problem_of(write)
            if problem != self._problem:
                self._problem = problem
                self._post(Shown(self._what, problem))


def _problem_of(write: Callable[[], None]) -> str:
    try:
        write()
    except OSError as exc:
        return str(exc)
    return ""
