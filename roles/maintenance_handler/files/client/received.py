# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a socket receives, with a limit for the whole, not only for each byte."""

from __future__ import annotations

import io
import socket
import time
from typing import Any

# No answer that a program needs has more bytes.
MOST = 16 * 1024 * 1024


def received(channel: socket.socket, until: float) -> io.BufferedReader:
    """A reader of what a socket receives. From `until` on, by `time.monotonic`, it raises `socket.timeout`."""
    return io.BufferedReader(_Bounded(channel, until))


class _Bounded(io.RawIOBase):
    # A socket's own timeout begins again with each byte.
    def __init__(self, channel: socket.socket, until: float) -> None:
        self._channel = channel
        self._received = channel.makefile("rb", buffering=0)
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self._channel.settimeout(left)
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()
