# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The notices in the queue, read once for all targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maintenance_handler.core.checked import fits
from maintenance_handler.io.notice_queue import NoticeQueue

_SHAPE = {
    "id": "str",
    "kind": "str",
    "text": "str",
    "at": "float",
    "opened_at": "float",
    "incident": "str",
    "event": "str",
    "tasks": ["str"],
    "rehearsal": "bool",
    "resolves": "bool",
    "deadline": "float | None",
    "instance_id": "str | None",
}


class Backlog:
    """Notices by number. `refresh` is called by one thread; the others read `notices`, which is replaced as a whole."""

    def __init__(self, queue: NoticeQueue) -> None:
        self._queue = queue
        self.notices: Mapping[int, Mapping[str, Any]] = {}
        # The number of the newest, also if it could not be read.
        self.newest = 0
        # Files that are not notices.
        self.unreadable: tuple[str, ...] = ()

    def refresh(self) -> None:
        """Read what is new, and forget what is deleted. Raises OSError."""
        found: dict[int, Mapping[str, Any]] = {}
        unreadable = []
        entries = self._queue.entries()
        for number, identity in entries:
            notice = self.notices.get(number) or self._queue.read(number, identity)
            if notice is not None and fits(notice, _SHAPE):
                found[number] = notice
            else:
                unreadable.append(identity)
        self.notices = found
        self.unreadable = tuple(unreadable)
        self.newest = max(self.newest, entries[-1][0] if entries else 0)
