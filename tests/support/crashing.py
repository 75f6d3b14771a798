# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance handler, killed at one write of its journal: `python -m support.crashing run --config FILE`.

CRASH_AT is the number of the write, 0 for none, and CRASH_HOW says when: `before` a byte of it is written, `torn` with
half of them, or `after` it is on disk and before anything is done about it. FOLDER/writes has the number of the last.

However busy the machine is, a write has the same number each time: none is left out for a newer one, and none is made
because a step starts late.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

from maintenance_handler.app import open_incident
from maintenance_handler.app.cli import main
from maintenance_handler.io.journal import Entry, Journal
from maintenance_handler.io.state_writer import StateWriter

BEFORE, TORN, AFTER = "before", "torn", "after"
WAYS = (BEFORE, TORN, AFTER)

# Seconds for a working disk.
_PATIENCE = 60.0

_real_write = Journal.write
_real_write_journal = StateWriter.write_journal
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
        # The rest is allocated room.
        whole = bytes(data).rstrip(b"\n")
        _real_os[name](descriptor, whole[: len(whole) // 2], *position)
        _die()

    return half


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it is dead")


def _write_journal(self: StateWriter, entry: Entry) -> Callable[[float], bool]:
    """The loop waits for each write, so that no entries queue up."""
    self.journal_wait = _PATIENCE
    wait = _real_write_journal(self, entry)
    wait(_PATIENCE)
    return wait


if __name__ == "__main__":
    crash = _Crash()
    StateWriter.write_journal = _write_journal  # type: ignore[method-assign]
    # Fails if it is not there any more.
    patch.object(open_incident, "LATE", float("inf")).start()

    def write(self: Journal, entry: Entry) -> None:
        crash.write(self, entry)

    Journal.write = write  # type: ignore[method-assign]
    sys.exit(main())
