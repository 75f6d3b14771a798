# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of a VM's serial ports, as far as it is kept. Pure."""

from __future__ import annotations

# https://cloud.google.com/compute/docs/troubleshooting/viewing-serial-port-output: "up to 1 MB".
KEPT = 2**20

PORTS = (1, 2, 3, 4)


class SerialOutput:
    """The output of one port. Positions count all bytes ever written."""

    def __init__(self) -> None:
        self._kept = b""
        self._dropped = 0

    @property
    def end(self) -> int:
        return self._dropped + len(self._kept)

    def write(self, text: str) -> None:
        everything = self._kept + text.encode("utf-8", "replace")
        self._kept = everything[-KEPT:]
        self._dropped += len(everything) - len(self._kept)

    def read(self, start: int) -> tuple[str, int]:
        """The text from `start` on, and its position: some may be dropped. A negative start counts from the end."""
        if start < 0:
            start += self.end
        start = min(max(start, self._dropped), self.end)
        return self._kept[start - self._dropped :].decode("utf-8", "replace"), start
