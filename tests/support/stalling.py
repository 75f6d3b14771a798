# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance handler on a disk that stalls while FOLDER/stalled exists: `python -m support.stalling`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from maintenance_handler.app.cli import main


def stalling(sync: Callable[[int], None]) -> Callable[[int], None]:
    """Sync a file to the disk once the disk responds."""
    stalled = Path(os.environ["FOLDER"]) / "stalled"

    def wait_and_sync(descriptor: int) -> None:
        while stalled.exists():
            time.sleep(0.02)
        sync(descriptor)

    return wait_and_sync


if __name__ == "__main__":
    for name in ("fsync", "fdatasync"):
        setattr(os, name, stalling(getattr(os, name)))
    sys.exit(main())
