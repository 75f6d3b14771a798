# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What threads and the system have to say to the loop, and the one file descriptor on which it waits for them."""

from __future__ import annotations

import queue
import signal
import socket
from collections.abc import Iterator
from typing import Any


class Inbox:
    """Messages that any thread posts, and signals, for one loop; readable (`fileno`) when there may be some."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)

    def fileno(self) -> int:
        return self._wake.fileno()

    def take_signals(self, *numbers: int) -> None:
        """Have these signals of the process come here, in the main thread. The end of a child only wakes the loop."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda received, _frame: self._signals.append(received))
        signal.signal(signal.SIGCHLD, lambda _received, _frame: None)

    def post(self, message: Any) -> None:
        """From any thread. Never blocks."""
        self._messages.put(message)
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            # Full: then it wakes up anyway.
            return

    def drain(self) -> None:
        """Be readable only when there is more than now."""
        try:
            while self._wake.recv(4096):
                pass
        except BlockingIOError:
            return

    def signals(self) -> Iterator[int]:
        """Those that came, also while the ones before are dealt with."""
        while self._signals:
            yield self._signals.pop(0)

    def messages(self) -> Iterator[Any]:
        """What was posted, also while what came before is dealt with."""
        while not self._messages.empty():
            yield self._messages.get()
