# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name resolution with a time limit, which also remembers the address that worked last.

Private to the collection: it may change at any time. Standard library only.

``getaddrinfo`` has no timeout. If name servers do not answer, it takes the resolver's 5 s for each try and server, and
an NSS module may block for ever. It therefore runs in a thread that need not be waited for.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Family, kind and protocol of a socket, and what it connects to.
    Address = tuple[int, int, int, Any]


class NotResolved(Exception):
    """A host has no address, or none was found in time; str() says why."""


class Addresses:
    """The addresses of hosts, for all threads of a process: each host is looked up by one thread at a time."""

    def __init__(self, look_up: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], _Lookup] = {}
        self._kept: dict[tuple[str, int], Address] = {}

    def resolve(self, host: str, port: int, seconds: float) -> list[Address]:
        """All addresses of a host. Raises NotResolved, after ``seconds`` at the latest.

        A lookup that takes longer goes on, and the next call waits for it.
        """
        if literal := self.literal(host, port):
            return literal
        with self._lock:
            lookup = self._lookups.get((host, port))
            if lookup is None:
                lookup = self._lookups[host, port] = _Lookup()
                self._start(lookup, host, port)
        if not lookup.done.wait(seconds):
            raise NotResolved(f"there was no answer within {seconds:g} s")
        if lookup.problem:
            raise NotResolved(lookup.problem)
        return lookup.found

    def literal(self, host: str, port: int) -> list[Address]:
        """The address of a host that is written as an address; none for a name."""
        try:
            return self._ask(host, port, socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return []

    def keep(self, host: str, port: int, address: Address) -> None:
        """Remember the address that a connection was made to."""
        self._kept[host, port] = address

    def kept(self, host: str, port: int) -> Address | None:
        """The address that the last connection was made to."""
        return self._kept.get((host, port))

    def forget(self, host: str, port: int) -> None:
        """Keep no address of a host."""
        self._kept.pop((host, port), None)

    def _start(self, lookup: _Lookup, host: str, port: int) -> None:
        def run() -> None:
            try:
                lookup.found = self._ask(host, port)
            except (OSError, UnicodeError) as error:
                lookup.problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
            finally:
                self._end(host, port)
                lookup.done.set()

        try:
            threading.Thread(target=run, name=f"resolve {host}", daemon=True).start()
        except RuntimeError as error:  # out of threads
            del self._lookups[host, port]
            raise NotResolved(str(error)) from error

    def _end(self, host: str, port: int) -> None:
        with self._lock:
            del self._lookups[host, port]

    def _ask(self, host: str, port: int, flags: int = 0) -> list[Address]:
        # As bytes: a str would make getaddrinfo import the IDNA codec and the Unicode database.
        found = self._look_up(host.encode("ascii"), port, type=socket.SOCK_STREAM, flags=flags)
        return [(family, kind, protocol, address) for family, kind, protocol, _name, address in found]


class _Lookup:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.found: list[Address] = []
        self.problem = ""


ADDRESSES = Addresses()
