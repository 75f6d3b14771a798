# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether systemd is shutting the machine down, queried by D-Bus, because the start of a program might hang."""

from __future__ import annotations

import os
import re
import socket
import struct
import time

# systemd's own socket is for root only, and works without the bus, which may have been stopped.
PRIVATE_SOCKET = "/run/systemd/private"
BUS_SOCKET = "/run/dbus/system_bus_socket"
# At a shutdown systemd is busy.
WITHIN = 5.0

_BUS = "org.freedesktop.DBus"
_SYSTEMD = "org.freedesktop.systemd1"
# A variant with a string in it, which is what `systemctl is-system-running` shows.
_STATE = re.compile(rb"\x01s\0\0.{4}([a-z]+)\0", re.DOTALL)
_RETURN = 2
# systemd also sends its signals, which are many during a shutdown.
_MOST_MESSAGES = 10_000
_MOST_BYTES = 1 << 20


def is_shutting_down(private: str = PRIVATE_SOCKET, bus: str = BUS_SOCKET, within: float = WITHIN) -> bool | None:
    """Whether it is; None if systemd does not answer in time, or does not run."""
    until = time.monotonic() + within
    for path, needs_name in ((private, False), (bus, True)):
        state = _state(path, needs_name, until)
        if state is not None:
            return state == "stopping"
    return None


def _state(path: str, needs_name: bool, until: float) -> str | None:
    """The state from one socket; None if there is no answer."""
    user = str(os.geteuid()).encode().hex()
    calls = _call(
        2, f"/{_SYSTEMD.replace('.', '/')}", f"{_BUS}.Properties", "Get", f"{_SYSTEMD}.Manager", "SystemState"
    )
    if needs_name:
        calls = _call(1, f"/{_BUS.replace('.', '/')}", _BUS, "Hello", destination=_BUS) + calls
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(max(0.001, until - time.monotonic()))
            connection.connect(path)
            stream = _Stream(connection, until)
            connection.sendall(f"\0AUTH EXTERNAL {user}\r\nBEGIN\r\n".encode())
            # systemd ignores what is sent together with BEGIN.
            if not stream.line().startswith(b"OK"):
                return None
            connection.sendall(calls)
            for _unused in range(_MOST_MESSAGES):
                kind, body = stream.message()
                found = _STATE.fullmatch(body) if kind == _RETURN else None
                if found is not None:
                    return found[1].decode()
    except (OSError, EOFError, struct.error):
        pass
    return None


class _Stream:
    """Reads from a connection, until a monotonic time. Raises OSError or EOFError."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._until = until
        self._data = b""

    def line(self) -> bytes:
        while b"\r\n" not in self._data:
            self._receive()
        line, _end, self._data = self._data.partition(b"\r\n")
        return line

    def message(self) -> tuple[int, bytes]:
        """The kind and the body of a message."""
        order = "<" if self._bytes(0, 16)[:1] == b"l" else ">"
        _order, kind, _flags, _version, body, _serial, fields = struct.unpack(f"{order}BBBBIII", self._bytes(0, 16))
        begin = 16 + fields + -fields % 8
        data = self._bytes(begin, begin + body)
        self._data = self._data[begin + body :]
        return kind, data

    def _bytes(self, begin: int, end: int) -> bytes:
        if end > _MOST_BYTES:
            raise EOFError
        while len(self._data) < end:
            self._receive()
        return self._data[begin:end]

    def _receive(self) -> None:
        self._connection.settimeout(max(0.001, self._until - time.monotonic()))
        data = self._connection.recv(4096)
        if not data:
            raise EOFError
        self._data += data


def _call(serial: int, path: str, interface: str, member: str, *arguments: str, destination: str = _SYSTEMD) -> bytes:
    """A method call with strings for arguments (https://dbus.freedesktop.org/doc/dbus-specification.html)."""
    body = b""
    for argument in arguments:
        body = _aligned(body, 4) + _string(argument)
    fields = b""
    for code, kind, value in ((1, b"o", path), (2, b"s", interface), (3, b"s", member), (6, b"s", destination)):
        fields = _aligned(fields, 8) + struct.pack("<BB", code, 1) + kind + b"\0" + _string(value)
    if arguments:
        signature = b"s" * len(arguments)
        fields = _aligned(fields, 8) + struct.pack("<BB", 8, 1) + b"g\0" + bytes([len(signature)]) + signature + b"\0"
    head = struct.pack("<BBBBIII", ord("l"), 1, 0, 1, len(body), serial, len(fields))
    return _aligned(head + fields, 8) + body


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def _aligned(data: bytes, size: int) -> bytes:
    return data + b"\0" * (-len(data) % size)
