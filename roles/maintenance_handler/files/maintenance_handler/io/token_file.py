# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that keeps the token of `_vm/drift.py`."""

from __future__ import annotations

import json
from pathlib import Path

from .files import read_own, write_whole


class TokenFile:
    """The last token of this boot, so that the next handler detects a migration while none was running."""

    def __init__(self, state_dir: Path, boot_id: str) -> None:
        self._path = state_dir / "drift-token.json"
        self._boot_id = boot_id

    def read(self) -> str | None:
        """The token, None if there is none of this boot."""
        try:
            raw = json.loads(read_own(self._path))
            return str(raw["token"]) if raw["boot_id"] == self._boot_id else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            # Without it, a migration in the meantime is not detected.
            return None

    def write(self, token: str) -> None:
        """Raises OSError."""
        write_whole(self._path, json.dumps({"boot_id": self._boot_id, "token": token}).encode())
