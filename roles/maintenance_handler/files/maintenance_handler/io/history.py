# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The closed incidents, newest last, one JSON object a line. Limited in number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.checked import fits
from ..core.public import PUBLIC
from .files import read_own, write_whole

MOST = 200


class History:
    """One file in the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "history.jsonl"

    def read(self) -> list[dict[str, Any]]:
        """All incidents. Unreadable lines are skipped. Raises OSError, except for a missing file."""
        return [entry for entry in map(_entry, self._lines()) if entry is not None]

    def add(self, incident: dict[str, Any]) -> None:
        """Add an incident (of `incident.recorded`), or replace it if it is there already. Raises OSError."""
        earlier = [line for line in self._lines() if (_entry(line) or {}).get("id") != incident["id"]]
        self._write(self.path, [*earlier, json.dumps(incident)][-MOST:])

    def claim(self, instance_id: str, written_by: str | None) -> Path | None:
        """Move the incidents of other instances, which a copied disk or an image may contain, to another file.

        Entries without an instance are those of the instance `written_by`, or of this one if that is None. Returns the
        other file, or None if there was nothing to move. Raises OSError.
        """
        lines = self._lines()
        others = [
            line for line in lines if ((_entry(line) or {}).get("instance_id") or written_by) not in (None, instance_id)
        ]
        if not others:
            return None
        aside = self.path.with_name(f"{self.path.name}.of-another-instance")
        self._write(aside, others)
        self._write(self.path, [line for line in lines if line not in others])
        return aside

    @staticmethod
    def _write(path: Path, lines: list[str]) -> None:
        write_whole(path, "".join(f"{line}\n" for line in lines).encode(), durable=True)

    def _lines(self) -> list[str]:
        try:
            return read_own(self.path).decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if fits(entry, PUBLIC) else None
