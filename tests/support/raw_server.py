# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP server whose scripts send arbitrary bytes, also those that no HTTP server would send."""

from __future__ import annotations

import json
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

PATIENCE = 30.0  # a test that waits longer than this has failed


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, server: RawServer) -> None:
        self._socket = sock
        self._server = server
        self._buffer = b""

    def read_request(self) -> bytes:
        """The next request, head and body, unchanged; b"" if the client has disconnected."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._receive():
                return b""
        head, _unused, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        size = int(lengths[0]) if lengths else 0
        while len(self._buffer) < size:
            if not self._receive():
                return b""
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        self._server.requests.append(head + b"\r\n\r\n" + body)
        return self._server.requests[-1]

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close, as at the end of a script."""
        self._socket.close()

    def half_close(self) -> None:
        """Send FIN, and keep reading."""
        self._socket.shutdown(socket.SHUT_WR)

    @contextmanager
    def secured(self, context: ssl.SSLContext) -> Iterator[Peer]:
        """The same connection with TLS from here on, which the client starts."""
        with context.wrap_socket(self._socket, server_side=True) as sock:
            yield Peer(sock, self._server)

    def hang(self) -> None:
        """Send nothing until the client closes, and record in the server's ``ends`` how it did."""
        while self._receive():
            pass

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            self._server.ends.put("RST")
            return False
        self._buffer += data
        if not data:
            self._server.ends.put("FIN")
        return bool(data)


Script = Callable[[Peer], None]


class RawServer:
    """Plays one script for each connection, in order of arrival; the last script applies to all further ones.

    ``requests`` has what clients sent, ``connections`` how many there were, ``ends`` how clients left ("FIN", "RST").
    """

    def __init__(self, *scripts: Script, address: str = "127.0.0.1") -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.ends: queue.Queue[str] = queue.Queue()
        self._scripts = scripts
        self._failures: list[Exception] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.host = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End all connections and threads; raises the exception of a script."""
        self._closing = True
        with socket.socket(self._listener.family) as knock:  # accept() does not wake up when its socket is closed
            knock.connect(self._listener.getsockname())
            self._acceptor.join(PATIENCE)
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):  # the script or the client has closed it
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        if self._failures:
            raise self._failures[0]

    def _accept(self) -> None:
        while True:
            sock, _unused = self._listener.accept()
            if self._closing:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._sockets.append(sock)
            self._threads.append(threading.Thread(target=self._play, args=(script, sock)))
            self._threads[-1].start()

    def _play(self, script: Script, sock: socket.socket) -> None:
        with sock:
            try:
                with suppress(OSError):  # the client has disconnected, which a script need not handle
                    script(Peer(sock, self))
            except Exception as error:  # raised by close(), in the test's thread
                self._failures.append(error)


def answering(*answers: bytes) -> Script:
    """A script that answers one request after the other, and hangs after the last answer."""

    def script(peer: Peer) -> None:
        for answer in answers:
            if not peer.read_request():
                return
            peer.send(answer)
        peer.hang()

    return script


def http_answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """An answer like the metadata server's; header names are written with _ for -, and replace default ones."""
    merged = {"metadata-flavor": "Google", "content-type": "application/text", "content-length": str(len(body))}
    merged.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in merged.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_answer(document: Any, status: str = "200 OK") -> bytes:
    """An answer with a JSON document, as an API would give it."""
    return http_answer(status, json.dumps(document).encode(), content_type="application/json")


@contextmanager
def refusing_host() -> Iterator[str]:
    """A host with a reserved port on which nothing listens, so that connections are refused."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"
