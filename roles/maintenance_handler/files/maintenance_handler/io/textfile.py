# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The path of the metrics file, remembered so that the file at an earlier path is removed instead of going stale."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from .files import read_own, write_whole
from .metrics import FIRST_BYTES


class Textfile:
    """The path of the metrics file, kept in the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._note = state_dir / "metrics-textfile.json"

    def use(self, path: Path | None) -> Path | None:
        """Use this file from now on, or none. Returns the previous file if it was another and was removed.

        Raises OSError if the path cannot be saved.
        """
        wanted = None if path is None else str(path)
        before = self._before()
        if before == wanted:
            return None
        removed = Path(before) if before is not None and _remove_metrics(Path(before)) else None
        write_whole(self._note, json.dumps(wanted).encode())
        return removed

    def _before(self) -> str | None:
        try:
            before = json.loads(read_own(self._note))
        except (OSError, ValueError, RecursionError):
            return None
        return before if isinstance(before, str) else None


def _remove_metrics(path: Path) -> bool:
    """Delete a file if it contains metrics of a handler."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            is_ours = os.read(descriptor, len(FIRST_BYTES)) == FIRST_BYTES
        finally:
            os.close(descriptor)
        if is_ours:
            path.unlink()
            return True
    return False
