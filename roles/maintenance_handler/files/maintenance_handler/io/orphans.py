# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaping of orphans: in a container, the handler may be the first process."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

# Seconds that the handler's own code has to reap a process.
PATIENCE = 2.0


class Orphans:
    """Ended processes that the handler has inherited."""

    def __init__(self) -> None:
        # When each was first seen, by process id.
        self._since: dict[int, float] = {}

    def reap(self, own: Collection[int], now: float) -> None:
        """Reap children that ended PATIENCE seconds ago and are not in `own`."""
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
