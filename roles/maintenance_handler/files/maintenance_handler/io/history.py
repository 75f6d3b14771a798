# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incidents that are over, newest last, a line of JSON each. Bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.checked import fits
from ..core.incident import PUBLIC
from .files import read_own, write_whole

MOST = 200


class History:
    """One file in the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "history.jsonl"

    def read(self) -> list[dict[str, Any]]:
        """All that is kept. A line that cannot be read is left out. Raises OSError but for a missing file."""
        return [entry for entry in map(_entry, self._lines()) if entry is not None]

    def add(self, incident: dict[str, Any]) -> None:
        """Keep an incident (as `incident.public` shows it), once however often it is added. Raises OSError."""
        earlier = [line for line in self._lines() if (_entry(line) or {}).get("id") != incident["id"]]
        self._write(self.path, [*earlier, json.dumps(incident)][-MOST:])

    def claim(self, instance_id: str, written_by: str | None) -> Path | None:
        """Leave only what is this instance's: a disk or an image brings along the incidents of another.

        An entry that does not say whose it is was written by the instance `written_by`, or by this one if that is None.
        The others are kept in the file that is answered; None if there are none. Raises OSError.
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
