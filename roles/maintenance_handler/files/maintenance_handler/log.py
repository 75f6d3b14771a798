# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line an occurrence, on standard error. The logging package costs 2 MB of a VM's memory; this needs none of it."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import TextIO

# The priorities that journald reads off the front of a line (sd-daemon(3)).
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}


class Log:
    """Writes lines at or above a level; with priorities under systemd, with the time elsewhere."""

    def __init__(self, level: str = "info", stream: TextIO | None = None) -> None:
        self.level = level
        self._stream = stream or sys.stderr
        self._for_journald = "JOURNAL_STREAM" in os.environ

    def debug(self, message: str) -> None:
        self._write("debug", message)

    def info(self, message: str) -> None:
        self._write("info", message)

    def warning(self, message: str) -> None:
        self._write("warning", message)

    def error(self, message: str) -> None:
        self._write("error", message)

    def _write(self, level: str, message: str) -> None:
        if _PRIORITIES[level] > _PRIORITIES[self.level]:
            return
        line = visible(" ".join(message.splitlines()))
        if self._for_journald:
            text = f"<{_PRIORITIES[level]}>{line}\n"
        else:
            text = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {level} {line}\n"
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more. That is no reason to stop watching.
            pass


def visible(text: str) -> str:
    """A text that a terminal shows and does not obey: what a task printed may move the cursor, or forge lines."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
