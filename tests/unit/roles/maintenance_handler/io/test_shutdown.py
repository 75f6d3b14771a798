# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the machine according to systemd, by D-Bus messages."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from maintenance_handler.io.shutdown import is_shutting_down
from support.raw_server import PATIENCE

SIGNAL, RETURN, ERROR = 4, 2, 3
Speak = Callable[[socket.socket], None]
Serve = Callable[[str, Speak], str]


def message(kind: int, body: bytes, order: str = "<") -> bytes:
    fields = b"\5\1u\0" + struct.pack(f"{order}I", 2)
    mark = b"l" if order == "<" else b"B"
    head = mark + struct.pack(f"{order}BBBIII", kind, 0, 1, len(body), 7, len(fields))
    return head + fields + b"\0" * (-len(fields) % 8) + body


def state(text: str, order: str = "<") -> bytes:
    return b"\1s\0\0" + struct.pack(f"{order}I", len(text)) + text.encode() + b"\0"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as ends:

        def make(name: str, speak: Speak) -> str:
            listener = ends.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(tmp_path / name))
            listener.listen()

            def accept() -> None:
                # The client may have given up already.
                with suppress(BrokenPipeError, ConnectionResetError), listener.accept()[0] as peer:
                    speak(peer)

            thread = threading.Thread(target=accept, daemon=True)
            thread.start()
            ends.callback(thread.join, PATIENCE)
            return str(tmp_path / name)

        yield make


def answering(*replies: bytes, calls: int = 1) -> Speak:
    """Let it in, and answer so many calls by these messages."""

    def speak(peer: socket.socket) -> None:
        assert peer.recv(4096).startswith(b"\0AUTH EXTERNAL ")
        peer.sendall(b"OK 1234deadbeef\r\n")
        seen = b""
        while seen.count(b"org.freedesktop.DBus") < calls:
            seen += peer.recv(4096)
        assert b"SystemState\0" in seen
        # A byte at a time, as a slow systemd may.
        for byte in b"".join(replies):
            peer.sendall(bytes([byte]))
        peer.recv(1)

    return speak


@pytest.mark.parametrize("text, expected", [("stopping", True), ("running", False), ("degraded", False)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_reads_the_state_from_systemd_s_own_socket(serve: Serve, text: str, expected: bool, order: str) -> None:
    path = serve("private", answering(message(RETURN, state(text, order), order)))
    assert is_shutting_down(path, "/nonexistent", within=10) is expected


def test_reads_the_state_from_the_bus_if_the_own_socket_is_denied(serve: Serve) -> None:
    hello = message(RETURN, struct.pack("<I", 4) + b":1.7\0")
    path = serve(
        "bus", answering(hello, message(SIGNAL, state("running")), message(RETURN, state("stopping")), calls=2)
    )
    assert is_shutting_down("/nonexistent", path, within=10) is True


def test_ignores_systemd_s_signals(serve: Serve) -> None:
    """At a shutdown, it sends signals about each unit, with states that look the same."""
    noise = [message(SIGNAL, state("running"))] * 20
    path = serve("private", answering(*noise, message(RETURN, state("stopping"))))
    assert is_shutting_down(path, "/nonexistent", within=10) is True


def silent(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.recv(1)


def refusing(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.sendall(b"REJECTED EXTERNAL\r\n")


def hanging_up(peer: socket.socket) -> None:
    peer.close()


def endless(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.sendall(b"OK 1\r\n" + b"l\2\0\1" + b"\xff" * 12)
    peer.recv(4096)


@pytest.mark.parametrize("speak", [silent, refusing, hanging_up, endless, answering(message(ERROR, state("stopping")))])
def test_ignores_invalid_data_within_bounds(serve: Serve, speak: Speak) -> None:
    began = time.monotonic()
    assert is_shutting_down(serve("private", speak), "/nonexistent", within=0.3) is None
    assert time.monotonic() - began < PATIENCE


def test_is_none_without_systemd() -> None:
    assert is_shutting_down("/nonexistent", "/nonexistent") is None
