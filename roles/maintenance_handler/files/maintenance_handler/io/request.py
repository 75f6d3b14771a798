# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of the command line to the running handler: datagrams on a Unix socket in its runtime directory.

The kernel decides who can send them, by the mode of the socket: its owner, root, and the members of its group, if it is
given one. The kernel also names the user who has sent one. The answer is in the status, under the name of the request.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._vm.records import dataclass
from ..core.checked import checked

REHEARSE = "rehearse"
DRAIN = "drain"
RESTORE = "restore"
HOLD = "hold"
UNHOLD = "unhold"
ACKNOWLEDGE = "acknowledge"
UNLOCK = "unlock"
COMMANDS = (REHEARSE, DRAIN, RESTORE, HOLD, UNHOLD, ACKNOWLEDGE, UNLOCK)

SOCKET = "requests"
# Bytes of a request, and characters of its texts.
MOST = 65536
LONGEST_NAME = 64
LONGEST_REASON = 200
LONGEST_HOLDER = 500
# Requests that are read at once, so that a flood of them does not hold up the loop.
_AT_ONCE = 20
# Seconds for a handler to make room for another request.
_PATIENCE = 5.0
# `struct ucred` of unix(7): process, user and group.
_NUMBER = 4
_CREDENTIALS = 3 * _NUMBER


@dataclass(frozen=True)
class Request:
    """A request. `tasks` are those to restore or to acknowledge; if empty, all that are not restored.

    `by` is what the sender says, `uid` is the sender. `event` is the one to rehearse, or as which to drain, for
    `seconds`, if they are limited. A drain waits `slot_within` seconds for a slot of the fleet limit. `holder` is the
    id whose slot to free.
    """

    command: str
    name: str
    by: str
    event: str = ""
    tasks: tuple[str, ...] = ()
    reason: str = ""
    seconds: float | None = None
    slot_within: float | None = None
    holder: str = ""
    uid: int = -1


class UnreadableRequest(Exception):
    """A request cannot be read. The text says who has sent it, and why."""


class Listener:
    """The socket of a handler. `fileno` is readable when there are requests."""

    def __init__(self, runtime_dir: Path) -> None:
        """Replace the socket of an earlier handler. Raises OSError."""
        self.path = runtime_dir / SOCKET
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            # The mode of the file that `bind` makes.
            os.fchmod(self._socket.fileno(), 0o600)
            with suppress(FileNotFoundError):
                self.path.unlink()
            with _address(runtime_dir) as address:
                self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def admit(self, group: int | None) -> None:
        """Let the members of a group send requests, or (None) only root and the handler's user. Raises OSError."""
        if self._socket.fileno() < 0:
            # Another one has taken its place meanwhile.
            return
        os.chmod(self.path, 0o600)
        if group is not None:
            os.chown(self.path, -1, group, follow_symlinks=False)
            os.chmod(self.path, 0o660)

    def take(self) -> Iterator[Request | UnreadableRequest]:
        """Some of the pending requests."""
        for _unused in range(_AT_ONCE):
            try:
                # There is no room for descriptors, which the kernel therefore closes.
                data, ancillary, _flags, _sender = self._socket.recvmsg(MOST + 1, socket.CMSG_SPACE(_CREDENTIALS))
            except BlockingIOError:
                return
            uid = _sender_of(ancillary)
            try:
                yield _request(data, uid)
            except (ValueError, KeyError, TypeError, RecursionError) as exc:
                yield UnreadableRequest(f"Reading a request of user {uid}: {exc!r:.300}.")

    def close(self) -> None:
        self._socket.close()


def send(runtime_dir: Path, request: Request) -> None:
    """Send a request to the handler. Raises OSError."""
    # An earlier handler does not know the fields of a fleet limit.
    left_out = {"uid", *(name for name in ("slot_within", "holder") if getattr(request, name) in (None, ""))}
    values = {name: value for name, value in vars(request).items() if name not in left_out}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(_PATIENCE)
        with _address(runtime_dir) as address:
            sender.connect(address)
        sender.send(json.dumps(values).encode())


@contextmanager
def _address(runtime_dir: Path) -> Iterator[str]:
    """The address of the socket, also where its path is longer than the 107 bytes that unix(7) takes."""
    directory = os.open(runtime_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)


def _sender_of(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The user who has sent a datagram; -1, which is nobody, if the kernel does not tell."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) >= _CREDENTIALS:
            return int.from_bytes(data[_NUMBER : 2 * _NUMBER], sys.byteorder)
    return -1


def _request(data: bytes, uid: int) -> Request:
    """Raises ValueError, KeyError, TypeError or RecursionError."""
    if len(data) > MOST:
        raise ValueError(f"longer than {MOST} bytes")
    raw: Any = json.loads(data)
    request = Request(**{**checked(Request, raw), "tasks": tuple(raw.get("tasks", ())), "uid": uid})
    if request.command not in COMMANDS:
        raise ValueError(f"there is no command {request.command!r:.100}")
    texts = (
        (request.name, LONGEST_NAME),
        (request.by, LONGEST_NAME),
        (request.reason, LONGEST_REASON),
        (request.holder, LONGEST_HOLDER),
    )
    for text, longest in texts:
        if len(text) > longest or not text.isprintable():
            raise ValueError(f"{text!r:.100} is not printable, or longer than {longest} characters")
    return request
