# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance handler, killed at one write of its journal: `python -m support.crashing run --config FILE`.

CRASH_AT is the number of the write, 0 for none, and CRASH_HOW says when: `before` a byte of it is written, `torn` with
half of them, or `after` it is on disk and before anything is done about it. FOLDER/writes has the number of the last.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from maintenance_handler.app.cli import main
from maintenance_handler.io.journal import Entry, Journal

BEFORE, TORN, AFTER = "before", "torn", "after"
WAYS = (BEFORE, TORN, AFTER)

_real_write = Journal.write
_real_os: Mapping[str, Callable[..., int]] = {"write": os.write, "pwrite": os.pwrite}


class _Crash:
    def __init__(self) -> None:
        self._at = int(os.environ["CRASH_AT"])
        self._how = os.environ["CRASH_HOW"]
        self._note = Path(os.environ["FOLDER"]) / "writes"
        self._count = 0

    def write(self, journal: Journal, entry: Entry) -> None:
        self._count += 1
        self._note.write_text(str(self._count), encoding="ascii")
        if self._count != self._at:
            _real_write(journal, entry)
            return
        if self._how == TORN:
            for name in _real_os:
                setattr(os, name, _half_of(name))
        if self._how != BEFORE:
            _real_write(journal, entry)
        _die()


def _half_of(name: str) -> Callable[..., NoReturn]:
    def half(descriptor: int, data: bytes, *position: int) -> NoReturn:
        # What follows the line is room.
        whole = bytes(data).rstrip(b"\n")
        _real_os[name](descriptor, whole[: len(whole) // 2], *position)
        _die()

    return half


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it is dead")


if __name__ == "__main__":
    crash = _Crash()

    def write(self: Journal, entry: Entry) -> None:
        crash.write(self, entry)

    Journal.write = write  # type: ignore[method-assign]
    sys.exit(main())
