# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of notices on disk, between the handler, which adds to it, and the notifier, which sends from it.

A file for each notice, numbered in order, and a file for each target with the number up to which it is done. Notices
that all targets are done with stay for a while: their ids tell a handler that resumes an incident what was queued.
"""

from __future__ import annotations

import errno
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

from .files import read_own, sweep, write_whole

FOLDER = "notices"
# The notifier keeps the names of the VM in it, for notices while the metadata server does not answer.
NAMES = "vm.json"
# The newest notices that are kept, and the most that wait for a target.
KEPT = 100
MOST = 500
# Files, if no notifier runs that would give notices up.
MOST_FILES = 1000

_NOTICE = re.compile(r"(\d{10})\.([A-Za-z0-9_-]{1,150})\.json\Z")
_DONE = re.compile(r"done\.([A-Za-z0-9._-]{1,60})\.json\Z")


class NoticeQueue:
    """One folder in the state directory. All methods raise OSError."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / FOLDER

    def make(self) -> None:
        """Create the folder, which only the handler's user can read, and delete half-written notices of a crash."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep(lambda name: _NOTICE.match(name) is not None)

    def sweep_records(self) -> None:
        """Delete half-written records of a notifier that crashed. Only for one that holds the lock."""
        self._sweep(lambda name: _NOTICE.match(name) is None)

    def has_names(self) -> bool:
        """Whether the notifier has learned the names of the VM."""
        return (self.folder / NAMES).exists()

    def entries(self) -> list[tuple[int, str]]:
        """The number and the id of each notice, oldest first."""
        try:
            found = [_NOTICE.match(name) for name in os.listdir(self.folder)]
        except FileNotFoundError:
            return []
        return sorted((int(one[1]), one[2]) for one in found if one is not None)

    def add(self, number: int, notice: dict[str, Any]) -> None:
        """Add a notice. It is on disk when this returns."""
        if not _NOTICE.match(self._path(number, notice["id"]).name):
            raise OSError(errno.EINVAL, "the id of a notice is no name of a file", str(self.folder))
        write_whole(self._path(number, notice["id"]), json.dumps(notice).encode(), durable=True)

    def read(self, number: int, identity: str) -> dict[str, Any] | None:
        """A notice; None if its file is gone, or is not a notice."""
        try:
            notice = json.loads(read_own(self._path(number, identity)))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return notice if isinstance(notice, dict) and notice.get("id") == identity else None

    def done(self, target: str) -> int | None:
        """The number up to which a target is done; None if it is new."""
        try:
            number = json.loads(read_own(self._done_path(target)))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            return 0
        return number if isinstance(number, int) else 0

    def set_done(self, target: str, number: int) -> None:
        """Record it on disk."""
        write_whole(self._done_path(target), str(number).encode(), durable=True)

    def forget_others(self, targets: set[str]) -> None:
        """Delete the records of all targets but these: one that comes back begins with new notices."""
        for name in os.listdir(self.folder):
            match = _DONE.match(name)
            if match is not None and match[1] not in targets:
                os.unlink(self.folder / name)

    def trim(self, done: int, kept: int = KEPT) -> int:
        """Delete notices up to the number `done`, except the newest ones. Returns how many are left."""
        entries = self.entries()
        old = [entry for entry in entries[: max(0, len(entries) - kept)] if entry[0] <= done]
        for number, identity in old:
            with suppress(FileNotFoundError):
                os.unlink(self._path(number, identity))
        return len(entries) - len(old)

    def _sweep(self, is_meant: Callable[[str], bool]) -> None:
        for name in os.listdir(self.folder):
            final = name[1:].rpartition(".new")[0].rpartition(".")[0]
            if name.startswith(".") and is_meant(final):
                sweep(self.folder / final)

    def _path(self, number: int, identity: str) -> Path:
        return self.folder / f"{number:010d}.{identity}.json"

    def _done_path(self, target: str) -> Path:
        return self.folder / f"done.{target}.json"
