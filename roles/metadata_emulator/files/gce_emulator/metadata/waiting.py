# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hanging GETs of one metadata server: held by what they ask for, answered when that changes.

A change looks only at those who ask for the changed path, for something below it, or recursively for something above
it. What they are told is made once for all who ask for the same thing in the same form.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Callable

from ..state import tree
from .wire import Answer


@dataclasses.dataclass(frozen=True)
class Question:
    """What a GET asks for."""

    path: str
    recursive: bool
    alt: str | None


class Waiter:
    """One hanging GET. `tell` is called at most once."""

    def __init__(self, etag: str, tell: Callable[[Answer], None]) -> None:
        self.etag = etag
        self.tell = tell


class Waiting:
    """`find` gives the node at a path, `answer` the answer to a question; both are asked again after a change."""

    def __init__(self, find: Callable[[str], tree.Node | None], answer: Callable[[Question], Answer]) -> None:
        self._find = find
        self._answer = answer
        self._waiters: dict[str, dict[Question, set[Waiter]]] = {}

    def __len__(self) -> int:
        return sum(len(waiters) for questions in self._waiters.values() for waiters in questions.values())

    def add(self, question: Question, waiter: Waiter, timeout: float | None) -> Callable[[], None]:
        """Hold `waiter` for at most `timeout` seconds, then tell it the current answer. Call the result to let go."""
        self._waiters.setdefault(question.path, {}).setdefault(question, set()).add(waiter)
        timer: asyncio.TimerHandle | None = None
        if timeout is not None:
            timer = asyncio.get_running_loop().call_later(timeout, self._time_out, question, waiter)

        def let_go() -> None:
            if timer is not None:
                timer.cancel()
            self._discard(question, waiter)

        return let_go

    def changed(self, path: str) -> None:
        """Answer those for whom the change at `path` makes a difference."""
        if not self._waiters:
            return
        for asked in self._concerned(path):
            for question, waiters in list(self._waiters.get(asked, {}).items()):
                answer = self._answer(question)
                for waiter in list(waiters):
                    if answer.status != 200 or answer.etag != waiter.etag:
                        self._discard(question, waiter)
                        waiter.tell(answer)

    def tell_all(self, answer: Answer) -> None:
        """Answer everybody, whatever they ask for."""
        held, self._waiters = self._waiters, {}
        for questions in held.values():
            for waiters in questions.values():
                for waiter in waiters:
                    waiter.tell(answer)

    def _concerned(self, path: str) -> list[str]:
        names = tree.split(path)
        concerned = ["/".join(names[:depth]) for depth in range(len(names), -1, -1)]
        if not isinstance(self._find(path), tree.Leaf):
            # A directory that went takes what was in it along.
            below = path + "/" if path else ""
            concerned += [asked for asked in self._waiters if asked.startswith(below) and asked not in concerned]
        return concerned

    def _time_out(self, question: Question, waiter: Waiter) -> None:
        self._discard(question, waiter)
        waiter.tell(self._answer(question))

    def _discard(self, question: Question, waiter: Waiter) -> None:
        questions = self._waiters.get(question.path, {})
        waiters = questions.get(question, set())
        waiters.discard(waiter)
        if not waiters:
            questions.pop(question, None)
        if not questions:
            self._waiters.pop(question.path, None)
