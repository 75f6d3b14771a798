# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log of single lines on standard error. The package logging would use 2 MB of memory."""

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
        """A destination for lines. `write` returns 0 if the text was dropped."""

        def write(self, text: str, /) -> int:
            """Write a line."""

        def flush(self) -> object:
            """Write what is buffered."""


# The priorities that journald reads at the beginning of a line (sd-daemon(3)).
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}

# Characters that may wait for a slow reader. Further lines are dropped and counted.
MOST_WAITING = 1_000_000


class Log:
    """Writes lines of a minimum level: with priorities under systemd, otherwise with the time."""

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
            # The reader is gone. The handler goes on.
            pass

    def _line(self, level: str, message: str) -> str:
        text = visible(" ".join(message.splitlines()))
        if self._for_journald:
            return f"<{_PRIORITIES[level]}>{text}\n"
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {level} {text}\n"


class PatientStream:
    """Writes lines to a descriptor in a thread, so that a slow reader does not block the handler."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, text: str) -> int:
        """Queue a text, or return 0 if too much is waiting. Never blocks."""
        with self._lock:
            if self._waiting + len(text) > MOST_WAITING:
                return 0
            self._waiting += len(text)
        self._lines.put(text)
        return len(text)

    def flush(self) -> None:
        """Does nothing: the thread writes."""

    def finish(self, within: float) -> bool:
        """Wait until everything is written, at most `within` seconds. Returns whether it is."""
        done = threading.Event()
        self._lines.put(done)
        return done.wait(within)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            # UTF-8, whatever the locale is. A lone surrogate cannot be encoded.
            data = line.encode("utf-8", "backslashreplace")
            while data:
                data = data[self._write_some(data) :]
            with self._lock:
                self._waiting -= len(line)

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # Another process made the shared terminal or pipe non-blocking.
            select.select([], [self._descriptor], [])
            return 0
        except OSError:
            # The reader is gone.
            return len(data)


def visible(text: str) -> str:
    """A text without control characters, with which the output of a task could forge lines or control a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
