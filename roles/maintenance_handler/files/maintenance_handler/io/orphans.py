# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""In a container the handler may be the first process: then it inherits orphans, and has to reap them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

# Seconds that whoever started a process has to reap it.
PATIENCE = 2.0


class Orphans:
    """Processes that have ended, whose parent we have become."""

    def __init__(self) -> None:
        # When each was first seen.
        self._since: dict[int, float] = {}

    def reap(self, own: Collection[int], now: float) -> None:
        """Reap what has ended for a while, is a child of ours, and is not one of `own`."""
        ended = [pid for pid in _ended_children(os.getpid()) if pid not in own]
        self._since = {pid: self._since.get(pid, now) for pid in ended}
        for pid, since in self._since.items():
            if now - since >= PATIENCE:
                _reap(pid)


def _ended_children(parent: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                state, its_parent = file.read().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state == "Z" and int(its_parent) == parent:
            yield int(name)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
