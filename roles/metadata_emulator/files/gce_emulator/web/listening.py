# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listening sockets, for thousands of instances."""

from __future__ import annotations

import socket

BACKLOG = 4096


class Ports:
    """Opens listening sockets, on consecutive ports where the fleet file names none.

    The kernel's random search for a free port takes seconds for ten thousand sockets.
    """

    def __init__(self) -> None:
        self._last = 65535

    def listen(self, address: str, port: int) -> socket.socket:
        """A listening socket; port 0 is any free one. Raises OSError."""
        try:
            opened = _listen(address, port) if port else self._next_to_the_last(address) or _listen(address, 0)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: {address} port {port or '(any)'}") from None
        if port:
            return opened
        self._last = opened.getsockname()[1]
        return opened

    def reserve(self, address: str, port: int) -> socket.socket:
        """A socket that refuses connections, and keeps the port from others. Raises OSError."""
        return _bound(address, port)

    def _next_to_the_last(self, address: str) -> socket.socket | None:
        if self._last >= 65535:
            return None
        try:
            return _listen(address, self._last + 1)
        except OSError:
            return None


def _listen(address: str, port: int) -> socket.socket:
    opened = _bound(address, port)
    try:
        opened.listen(BACKLOG)
    except BaseException:
        opened.close()
        raise
    return opened


def _bound(address: str, port: int) -> socket.socket:
    family, kind, protocol, _unused, where = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(where)
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened
