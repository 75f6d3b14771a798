# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incidents that are over, newest last, a line of JSON each. Bounded."""

from __future__ import annotations

import json
from pathlib import Path

from .checked import fits
from .files import write_whole
from .incident import PUBLIC

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any

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
        lines = [*earlier, json.dumps(incident)][-MOST:]
        write_whole(self.path, ("\n".join(lines) + "\n").encode(), mode=0o644, durable=True)

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if fits(entry, PUBLIC) else None
