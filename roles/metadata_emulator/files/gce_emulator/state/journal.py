# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked of the emulator: each request with its answer's status, for tests that assert on it."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

# Enough for any test, and a bound for an emulator that runs for weeks.
CAPACITY = 20_000


@dataclasses.dataclass
class Entry:
    """One request. `status` and `answered_at` are None while it hangs; status 0 means that it got no answer at all."""

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

    def record(
        self,
        at: float,
        face: str,
        instance: str | None,
        method: str,
        path: str,
        query: str,
        status: int | None = None,
    ) -> Entry:
        """Note a request when it comes; whoever answers it later sets `status` and `answered_at`."""
        self._number += 1
        entry = Entry(self._number, at, face, instance, method, path, query, status)
        self._entries.append(entry)
        return entry

    def select(
        self,
        *,
        instance: str | None = None,
        path: str | None = None,
        face: str | None = None,
        since: float = 0.0,
        after: int = 0,
    ) -> list[Entry]:
        """Entries of an instance, below a path, from a time (`since`), past a number (`after`), oldest first."""
        return [
            entry
            for entry in self._entries
            if entry.number > after
            and entry.at >= since
            and (instance is None or entry.instance == instance)
            and (face is None or entry.face == face)
            and (path is None or _below_root(entry.path).startswith(_below_root(path)))
        ]

    def clear(self) -> None:
        self._entries.clear()


def _below_root(path: str) -> str:
    for root in ("/computeMetadata/v1/", "/compute/v1/"):
        if path.startswith(root):
            return path[len(root) :]
    return path
