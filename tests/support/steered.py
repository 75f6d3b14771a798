# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance handler with simulated time: `python -m support.steered run --config FILE`.

With TIME=skip sleeping advances its clock at once; with TIME=hurry it sleeps a hundredth of
that. The wall clock is ahead by the seconds in FOLDER/wall, which may change at any time.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_HURRY = 100.0

_monotonic, _time, _sleep = time.monotonic, time.time, time.sleep


class _Time:
    def __init__(self) -> None:
        self._skips = os.environ.get("TIME") == "skip"
        self._hurries = os.environ.get("TIME") == "hurry"
        self._slept = 0.0
        self._wall = Path(os.environ["FOLDER"]) / "wall"

    def monotonic(self) -> float:
        return _monotonic() + self._slept

    def time(self) -> float:
        ahead = float(self._wall.read_text(encoding="ascii")) if self._wall.exists() else 0.0
        return _time() + self._slept + ahead

    def sleep(self, seconds: float) -> None:
        if self._skips:
            self._slept += seconds
            _sleep(0.0005)
        else:
            _sleep(seconds / _HURRY if self._hurries else seconds)


if __name__ == "__main__":
    steered = _Time()
    for name in ("monotonic", "time", "sleep"):
        setattr(time, name, getattr(steered, name))
    # Imported here, because it uses them as defaults.
    from maintenance_handler.app.cli import main

    sys.exit(main())
