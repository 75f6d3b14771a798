# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server whose answers do not end."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .recipes import PATIENCE

# Sends more of an answer, until the event is set.
Flow = Callable[[socket.socket, threading.Event], None]


def trickle(channel: socket.socket, over: threading.Event) -> None:
    """A byte now and then."""
    while not over.wait(0.05):
        channel.sendall(b"x")


def flood(channel: socket.socket, over: threading.Event) -> None:
    """As much as the client takes."""
    while not over.is_set():
        channel.sendall(b"x" * 65536)


@contextmanager
def endless(begin: bytes, flow: Flow) -> Iterator[int]:
    """Answer each request with these bytes and a flow. Yields the port; gives up when the tests' patience is over."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(65536)
                self.request.sendall(begin)
                flow(self.request, over)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        patience = threading.Timer(PATIENCE, over.set)
        patience.start()
        try:
            yield int(server.server_address[1])
        finally:
            patience.cancel()
            over.set()
            server.shutdown()
