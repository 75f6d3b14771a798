# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The write-ahead journal: a step is on disk before it starts.

It names its instance, so that an image of a drained VM starts clean, and its boot, because monotonic clocks and
processes do not survive a reboot.

The file has a line of JSON for each entry; the last complete one counts. Between incidents, the file is replaced by one
with a single entry and allocated room behind it. The entries of an incident are written into that room, each into
blocks of its own, so that one sync writes an entry to the disk, without allocation or a change of the directory, even
if the file system is busy or full. Replacing the file takes three times as long on an idle machine, and more on a busy
one (bench/notice.py). An entry that is torn by a crash is not JSON, and overwrites no other.
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

# Entries begin at multiples of this, the size of a page and of the blocks of most file systems.
BLOCK = 4096
ROOM = 32 * BLOCK

# The suffix of a journal that could not be read.
UNREADABLE = "unreadable"


class JournalError(Exception):
    """The journal exists but cannot be read."""


@dataclass(frozen=True)
class Entry:
    """The content of the journal. `instance_id` is None if it was written before the metadata server returned it.

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
        # The inode of the file with room, and the offset of the room.
        self._room: tuple[int, int] | None = None

    def read(self) -> Entry | None:
        """The newest entry, None if there is none. Raises `JournalError`."""
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
        """Write an entry to the disk. Raises OSError."""
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
                # A full disk has no space for a new file, but the room behind the last entry is allocated.
                if not self._append(line):
                    raise
        elif not self._append(line):
            self._renew(line)

    def set_aside(self, suffix: str) -> Path:
        """Move the journal of another instance, or an unreadable one, to another name. Raises OSError."""
        aside = self.aside(suffix)
        self.path.replace(aside)
        return aside

    def aside(self, suffix: str) -> Path:
        """The path to which `set_aside` moves the journal."""
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def _renew(self, line: bytes) -> None:
        begin = _next_block(len(line))
        write_whole(self.path, line.ljust(begin + ROOM, b"\n"), durable=True)
        self._room = (self.path.stat().st_ino, begin)

    def _append(self, line: bytes) -> bool:
        """Write a line into the room, if the file at the path is still the same and has enough of it."""
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
    """The last line that is JSON. Raises ValueError if there is none."""
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
