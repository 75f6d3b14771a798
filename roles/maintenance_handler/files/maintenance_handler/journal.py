# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The write-ahead journal: what was started, on disk before it starts.

It belongs to one instance, so that an image made of a drained VM starts clean, and names the boot in which it was
written, because clocks and processes do not outlive one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import write_whole
from .incident import Incident

VERSION = 1


class JournalError(Exception):
    """The journal is there, but cannot be read."""


@dataclass(frozen=True)
class Entry:
    """What the journal holds. `instance_id` is None when it was written before the metadata server said."""

    instance_id: str | None
    boot_id: str
    incident: Incident | None


class Journal:
    """One file in the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "journal.json"

    def read(self) -> Entry | None:
        """What was written last, None when nothing ever was. Raises `JournalError`."""
        try:
            raw = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as exc:
            raise JournalError(f"Reading the journal {self.path}: {exc}.") from None
        try:
            return _entry(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise JournalError(f"Reading the journal {self.path}: not as this version writes it ({exc!r}).") from None

    def write(self, entry: Entry) -> None:
        """Have it on disk when this returns. Raises OSError."""
        raw = {
            "version": VERSION,
            "instance_id": entry.instance_id,
            "boot_id": entry.boot_id,
            "incident": None if entry.incident is None else entry.incident.to_dict(),
        }
        write_whole(self.path, json.dumps(raw).encode(), durable=True)

    def set_aside(self, suffix: str) -> Path:
        """Keep an entry that is not ours, or not readable, under another name. Raises OSError."""
        aside = self.path.with_name(f"{self.path.name}.{suffix}")
        self.path.replace(aside)
        return aside


def _entry(raw: Any) -> Entry:
    if raw["version"] != VERSION:
        raise ValueError(f"version {raw['version']!r}")
    incident = raw["incident"]
    return Entry(
        instance_id=None if raw["instance_id"] is None else str(raw["instance_id"]),
        boot_id=str(raw["boot_id"]),
        incident=None if incident is None else Incident.from_dict(incident),
    )
