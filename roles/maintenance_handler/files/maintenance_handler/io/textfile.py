# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of the metrics, and the one before: figures that nobody writes any more would be shown for ever."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from .files import read_own, write_whole
from .metrics import FIRST_BYTES


class Textfile:
    """Where the metrics of a state directory's handlers are written, which outlives each of them."""

    def __init__(self, state_dir: Path) -> None:
        self._note = state_dir / "metrics-textfile.json"

    def use(self, path: Path | None) -> Path | None:
        """Write to this file from now on, or to none. Answers the file of before, if it was another and was removed.

        Raises OSError when this cannot be noted.
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
    """Delete a file that a handler wrote its metrics to; whatever else is there stays."""
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
