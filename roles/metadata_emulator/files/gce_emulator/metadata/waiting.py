# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hanging GETs of one metadata server, by the value that they request; answered when it changes.

A change answers requests for the changed path, for paths below it, and recursive ones for paths above it.
The answer is rendered once for all who ask for the same in the same form.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Callable

from ..state import tree
from .wire import Answer


@dataclasses.dataclass(frozen=True)
class Question:
    """The value that a GET requests."""

    path: str
    recursive: bool
    alt: str | None


class Waiter:
    """One hanging GET. `answer` is called at most once."""

    def __init__(self, etag: str, answer: Callable[[Answer], None]) -> None:
        self.etag = etag
        self.answer = answer


class Waiting:
    """`find` returns the node at a path, `answer` the answer to a question. Both are called after a change."""

    def __init__(self, find: Callable[[str], tree.Node | None], answer: Callable[[Question], Answer]) -> None:
        self._find = find
        self._answer = answer
        self._waiters: dict[str, dict[Question, set[Waiter]]] = {}

    def __len__(self) -> int:
        return sum(len(waiters) for questions in self._waiters.values() for waiters in questions.values())

    def add(self, question: Question, waiter: Waiter, timeout: float | None) -> Callable[[], None]:
        """Hold `waiter`, and give it the current answer after `timeout` seconds. Call the result to let go."""
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
        """Answer the requests that the change at `path` affects."""
        if not self._waiters:
            return
        for asked in self._concerned(path):
            for question, waiters in list(self._waiters.get(asked, {}).items()):
                answer = self._answer(question)
                for waiter in list(waiters):
                    if answer.status != 200 or answer.etag != waiter.etag:
                        self._discard(question, waiter)
                        waiter.answer(answer)

    def answer_all(self, answer: Answer) -> None:
        """Give all waiters this answer."""
        held, self._waiters = self._waiters, {}
        for questions in held.values():
            for waiters in questions.values():
                for waiter in waiters:
                    waiter.answer(answer)

    def _concerned(self, path: str) -> list[str]:
        names = tree.split(path)
        concerned = ["/".join(names[:depth]) for depth in range(len(names), -1, -1)]
        if not isinstance(self._find(path), tree.Leaf):
            # Everything below a removed directory has changed as well.
            below = path + "/" if path else ""
            concerned += [asked for asked in self._waiters if asked.startswith(below) and asked not in concerned]
        return concerned

    def _time_out(self, question: Question, waiter: Waiter) -> None:
        self._discard(question, waiter)
        waiter.answer(self._answer(question))

    def _discard(self, question: Question, waiter: Waiter) -> None:
        questions = self._waiters.get(question.path, {})
        waiters = questions.get(question, set())
        waiters.discard(waiter)
        if not waiters:
            questions.pop(question, None)
        if not questions:
            self._waiters.pop(question.path, None)
