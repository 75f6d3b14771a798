# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw HTTP requests, for tests of the exact answer."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FLAVOR: Mapping[str, str] = MappingProxyType({"Metadata-Flavor": "Google"})
V1 = "/computeMetadata/v1/"


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None

    @property
    def etag(self) -> str:
        etag = self.header("ETag")
        if etag is None:
            raise AssertionError(f"no ETag among {self.headers}")
        return etag

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "surrogateescape")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One connection, with one request after the other."""

    def __init__(self, address: str, *, timeout: float = 20.0) -> None:
        host, _unused, port = address.rpartition(":")
        self._host = address
        self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def send(self, target: str, *, method: str = "GET", headers: Mapping[str, str] = FLAVOR, body: bytes = b"") -> None:
        """Send a request; `target` starts with a slash, or is below /computeMetadata/v1/."""
        path = target if target.startswith("/") else V1 + target
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{key}: {value}" for key, value in {"Host": self._host, **headers}.items()]
        if body or method == "PUT":
            lines.append(f"Content-Length: {len(body)}")
        self.send_raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def send_raw(self, payload: bytes) -> None:
        self._socket.sendall(payload)

    def receive(self) -> Reply:
        """The next answer. Raises ConnectionError when the connection ends before or in it."""
        status_line = self.read_line()
        headers: list[tuple[str, str]] = []
        while line := self.read_line():
            key, _unused, value = line.partition(": ")
            headers.append((key, value))
        length = int(next(value for key, value in headers if key.lower() == "content-length"))
        body = self._file.read(length)
        if len(body) != length:
            raise ConnectionError(f"{len(body)} of {length} bytes came")
        return Reply(int(status_line.split(" ")[1]), tuple(headers), body)

    def is_closed_by_peer(self) -> bool:
        """Wait for the end of the connection: True when it ends without another byte."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def read_line(self) -> str:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the connection ended after {line!r}")
        return line[:-2].decode("utf-8", "surrogateescape")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()


def ask(
    address: str, target: str, *, method: str = "GET", headers: Mapping[str, str] = FLAVOR, body: bytes = b""
) -> Reply:
    """One request on a separate connection."""
    with Connection(address) as connection:
        connection.send(target, method=method, headers=headers, body=body)
        return connection.receive()
