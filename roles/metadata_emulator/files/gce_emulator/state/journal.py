# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of requests to the emulator, with the status of each answer: for tests that assert on them."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from typing import Any, Callable, NamedTuple

# Enough for any test, and a bound for an emulator that runs for weeks.
CAPACITY = 20_000


class Asked(NamedTuple):
    """The target of a request. `instance` is None if it is not about one."""

    face: str
    instance: str | None
    method: str
    path: str
    query: str


@dataclasses.dataclass
class Entry:
    """One request. `status` and `answered_at` are None while it hangs; status 0 means no answer at all."""

    number: int
    at: float
    face: str
    instance: str | None
    method: str
    path: str
    query: str
    status: int | None = None
    answered_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


class Journal:
    def __init__(self) -> None:
        self._entries: collections.deque[Entry] = collections.deque(maxlen=CAPACITY)
        self._number = 0
        self._waiters: set[asyncio.Event] = set()

    def record(self, at: float, asked: Asked) -> Entry:
        """Add a request when it arrives; `answer` completes the entry. Times are seconds since 1970."""
        self._number += 1
        entry = Entry(self._number, at, *asked)
        self._entries.append(entry)
        self._wake()
        return entry

    def answer(self, entry: Entry, status: int, at: float) -> None:
        """Note how a request was answered."""
        entry.status, entry.answered_at = status, at
        self._wake()

    def select(
        self,
        *,
        instance: str | None = None,
        path: str | None = None,
        face: str | None = None,
        since: float = 0.0,
        after: int = 0,
        status: int | None = None,
    ) -> list[Entry]:
        """Entries of an instance, below a path, from a time, after a number, answered with a status; oldest first."""
        return [
            entry
            for entry in self._entries
            if entry.number > after
            and entry.at >= since
            and instance in (None, entry.instance)
            and face in (None, entry.face)
            and status in (None, entry.status)
            and (path is None or _below_root(entry.path).startswith(_below_root(path)))
        ]

    async def wait(self, select: Callable[[], list[Entry]], seconds: float) -> list[Entry]:
        """What `select` returns once it is not empty, or after so many real seconds."""
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            await asyncio.wait_for(self._until(select, changed), seconds)
        except asyncio.TimeoutError:
            pass
        finally:
            self._waiters.discard(changed)
        return select()

    def clear(self) -> None:
        self._entries.clear()

    async def _until(self, select: Callable[[], list[Entry]], changed: asyncio.Event) -> None:
        while not select():
            changed.clear()
            await changed.wait()

    def _wake(self) -> None:
        for changed in self._waiters:
            changed.set()


def _below_root(path: str) -> str:
    for root in ("/computeMetadata/v1/", "/compute/v1/"):
        if path.startswith(root):
            return path[len(root) :]
    return path
