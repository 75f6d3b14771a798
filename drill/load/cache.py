# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis clients that ask Sentinel for the master, and write. An acknowledged write is looked up at the end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence

from .tally import Tally

# As long as the other clients.
_TIMEOUT = 10.0
# As libraries do, a client connects again and repeats a write, but not for ever.
_PATIENCE = 3.0
_PAUSE = 0.1


class Redis:
    """A connection. Replies are lists of words; errors are raised as ValueError."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), 1.0)
        self._socket.settimeout(_TIMEOUT)
        self._file = self._socket.makefile("rb")

    def __call__(self, *words: str) -> list[str]:
        data = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
        self._socket.sendall(b"*%d\r\n%s" % (len(words), data))
        return self._reply()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _reply(self) -> list[str]:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection was closed")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise ValueError(rest)
        if kind == b"$":
            return [] if rest == "-1" else [self._file.read(int(rest) + 2)[:-2].decode()]
        if kind == b"*":
            return [word for _each in range(int(rest)) for word in self._reply()]
        return [rest]


class CacheLoad:
    """`workers` clients, each with a write every 0.2 seconds."""

    def __init__(self, sentinels: Sequence[str], workers: int = 8) -> None:
        self.workers = workers
        self._sentinels = sentinels
        self._run = f"{time.time():.0f}"

    def work(self, number: int, tally: Tally, stop: threading.Event) -> None:
        client = _Client(self._sentinels)
        count = 0
        while not stop.wait(0.2):
            key = f"{self._run}-{number}-{count}"
            count += 1
            began = time.monotonic()
            try:
                client.write(key, began + _PATIENCE)
            except (OSError, ValueError) as exc:
                tally.failure(began, f"{type(exc).__name__}: {exc}")
            else:
                tally.success(began, key)
        client.close()

    def lost(self, tally: Tally) -> int:
        redis = _master(self._sentinels)
        found = sum(redis("GET", key) == [key] for key in tally.acknowledged)
        redis.close()
        return len(tally.acknowledged) - found


class _Client:
    """Keeps its connection as long as it works."""

    def __init__(self, sentinels: Sequence[str]) -> None:
        self._sentinels = sentinels
        self._redis: Redis | None = None

    def write(self, key: str, deadline: float) -> None:
        """Raises OSError or ValueError if the write is not acknowledged by the deadline."""
        while True:
            try:
                if self._redis is None:
                    self._redis = _master(self._sentinels)
                self._redis("SET", key, key)
                return
            except (OSError, ValueError):
                self.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)

    def close(self) -> None:
        if self._redis is not None:
            self._redis.close()
            self._redis = None


def _master(sentinels: Sequence[str]) -> Redis:
    """As client libraries find it: by the first Sentinel that names a Redis that says that it is a master."""
    for address in sentinels:
        try:
            sentinel = Redis(address, 26379)
            host, port = sentinel("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
            sentinel.close()
            redis = Redis(host, int(port))
            if redis("ROLE")[0] == "master":
                return redis
            redis.close()
        except OSError:
            continue
    raise ConnectionError("no Sentinel knows a master")
