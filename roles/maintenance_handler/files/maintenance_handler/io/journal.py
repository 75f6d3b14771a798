# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The write-ahead journal: what was started, on disk before it starts.

It belongs to one instance, so that an image made of a drained VM starts clean, and names the boot in which it was
written, because clocks and processes do not outlive one.

The file has a line of JSON for each entry; the last whole one counts. Between incidents it is replaced by a new one
with room behind its one entry, and an incident's entries go into that room, each into blocks of its own. The file
system then has neither blocks to find nor a directory to change, so that one sync brings an entry to the disk, in the
time of a write to it, also when the file system is busy or full: replacing the file takes three times as long on an
idle machine, and more on a busy one (bench/notice.py). What a crash leaves of an entry is no JSON, and overwrites none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .._vm.records import dataclass
from ..core.incident import Incident
from .files import read_own, write_whole

VERSION = 1

# An entry begins at a multiple of this, the size of a page and of most file systems' blocks.
BLOCK = 4096
ROOM = 32 * BLOCK

# What is behind the name of a journal that could not be read.
UNREADABLE = "unreadable"


class JournalError(Exception):
    """The journal is there, but cannot be read."""


@dataclass(frozen=True)
class Entry:
    """What the journal holds. `instance_id` is None when it was written before the metadata server said.

    `stopped` is whether the handler of that boot was stopped in order, as at a shutdown; None from earlier versions.
    """

    instance_id: str | None
    boot_id: str
    incident: Incident | None
    stopped: bool | None = False


class Journal:
    """One file in the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "journal.json"
        # The file that has room, by its number, and where in it the room begins.
        self._room: tuple[int, int] | None = None

    def read(self) -> Entry | None:
        """What was written last, None when nothing ever was. Raises `JournalError`."""
        try:
            raw = _last_json(read_own(self.path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as exc:
            raise JournalError(f"Reading the journal {self.path}: {exc}.") from None
        try:
            return _entry(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise JournalError(
                f"Reading the journal {self.path}: not in the format of this version ({exc!r})."
            ) from None

    def write(self, entry: Entry) -> None:
        """Have it on disk when this returns. Raises OSError."""
        raw = {
            "version": VERSION,
            "instance_id": entry.instance_id,
            "boot_id": entry.boot_id,
            "stopped": entry.stopped,
            "incident": None if entry.incident is None else entry.incident.to_dict(),
        }
        line = json.dumps(raw).encode() + b"\n"
        if entry.incident is None:
            try:
                self._renew(line)
            except OSError:
                # A full disk has no place for a new file; the room behind the last entry was made before.
                if not self._append(line):
                    raise
        elif not self._append(line):
            self._renew(line)

    def set_aside(self, suffix: str) -> Path:
        """Keep an entry that is not ours, or not readable, under another name. Raises OSError."""
        aside = self.aside(suffix)
        self.path.replace(aside)
        return aside

    def aside(self, suffix: str) -> Path:
        """Where `set_aside` keeps an entry."""
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def _renew(self, line: bytes) -> None:
        begin = _next_block(len(line))
        write_whole(self.path, line.ljust(begin + ROOM, b"\n"), durable=True)
        self._room = (self.path.stat().st_ino, begin)

    def _append(self, line: bytes) -> bool:
        """Put a line into the room, if there is enough in the file that is now at the path."""
        if self._room is None:
            return False
        number, begin = self._room
        self._room = None
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            found = os.fstat(descriptor)
            if found.st_ino != number or begin + len(line) > found.st_size:
                return False
            if os.pwrite(descriptor, line, begin) < len(line):
                return False
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._room = (number, begin + _next_block(len(line)))
        return True


def _next_block(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _last_json(data: bytes) -> Any:
    """What the last line that is JSON holds. Raises ValueError when there is none."""
    *earlier, last = data.rstrip(b"\n").split(b"\n")
    try:
        return json.loads(last)
    except ValueError:
        if not earlier:
            raise
        return _last_json(b"\n".join(earlier))


def _entry(raw: Any) -> Entry:
    if raw["version"] != VERSION:
        raise ValueError(f"version {raw['version']!r}")
    incident = raw["incident"]
    return Entry(
        instance_id=None if raw["instance_id"] is None else str(raw["instance_id"]),
        boot_id=str(raw["boot_id"]),
        stopped=None if raw.get("stopped") is None else bool(raw["stopped"]),
        incident=None if incident is None else Incident.from_dict(incident),
    )
