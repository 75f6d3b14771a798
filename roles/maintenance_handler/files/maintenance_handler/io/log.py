# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line an occurrence, on standard error. The logging package costs 2 MB of a VM's memory; this needs none of it."""

from __future__ import annotations

import os
import queue
import select
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:

    class Stream(Protocol):
        """Where lines go. `write` answers 0 if it could not take the text."""

        def write(self, text: str, /) -> int: ...

        def flush(self) -> object: ...


# The priorities that journald reads off the front of a line (sd-daemon(3)).
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}

# Characters that wait for whoever reads the log. What comes on top of them is dropped, and counted.
MOST_WAITING = 1_000_000


class Log:
    """Writes lines at or above a level; with priorities under systemd, with the time elsewhere."""

    def __init__(self, level: str = "info", stream: Stream | None = None) -> None:
        self.level = level
        self._stream = stream or sys.stderr
        self._for_journald = "JOURNAL_STREAM" in os.environ
        self._dropped = 0

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
        try:
            if self._dropped:
                lost = f"{self._dropped} lines were dropped because the log was not read"
                self._dropped = 0 if self._stream.write(self._line("warning", lost)) else self._dropped
            if not self._stream.write(self._line(level, message)):
                self._dropped += 1
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more. That is no reason to stop watching.
            pass

    def _line(self, level: str, message: str) -> str:
        text = visible(" ".join(message.splitlines()))
        if self._for_journald:
            return f"<{_PRIORITIES[level]}>{text}\n"
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {level} {text}\n"


class PatientStream:
    """A descriptor that lines are written to by a thread: whoever does not read them keeps nobody else waiting."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, text: str) -> int:
        """Take a text, or answer 0 if too much is waiting. Never blocks."""
        with self._lock:
            if self._waiting + len(text) > MOST_WAITING:
                return 0
            self._waiting += len(text)
        self._lines.put(text)
        return len(text)

    def flush(self) -> None:
        """That is what the thread does."""

    def finish(self, within: float) -> bool:
        """Wait until all is written, at most so many seconds. Answers whether it is."""
        done = threading.Event()
        self._lines.put(done)
        return done.wait(within)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            # A line is written whatever the locale says; half a surrogate pair has no form in any.
            data = line.encode("utf-8", "backslashreplace")
            while data:
                data = data[self._write_some(data) :]
            with self._lock:
                self._waiting -= len(line)

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # Somebody else made it so: it may be a terminal, or a pipe that is shared.
            select.select([], [self._descriptor], [])
            return 0
        except OSError:
            # Nobody reads any more.
            return len(data)


def visible(text: str) -> str:
    """A text that a terminal shows and does not obey: what a task printed may move the cursor, or forge lines."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
