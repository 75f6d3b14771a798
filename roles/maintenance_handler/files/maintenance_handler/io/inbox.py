# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of threads and POSIX signals for the loop, and the file descriptor on which it waits for them."""

from __future__ import annotations

import queue
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any


class Inbox:
    """Messages from any thread, and POSIX signals, for one loop. `fileno` is readable when there may be some."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)

    def fileno(self) -> int:
        return self._wake.fileno()

    def take_signals(self, *numbers: int) -> None:
        """Receive these POSIX signals here, in the main thread. SIGCHLD only wakes the loop."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda received, _frame: self._signals.append(received))
        signal.signal(signal.SIGCHLD, lambda _received, _frame: None)

    def post(self, message: Any) -> None:
        """Add a message, from any thread. Never blocks."""
        self._messages.put(message)
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            # The socket is full, so the loop wakes up anyway.
            return

    def drain(self) -> None:
        """Make `fileno` unreadable until there is something new."""
        with suppress(BlockingIOError):
            # If there is more, it stays readable, and the loop comes here again.
            self._wake.recv(4096)

    def signals(self) -> Iterator[int]:
        """The signals received, including those that arrive during the iteration."""
        while self._signals:
            yield self._signals.pop(0)

    def messages(self) -> Iterator[Any]:
        """The messages posted, including those that arrive during the iteration."""
        while not self._messages.empty():
            yield self._messages.get()
