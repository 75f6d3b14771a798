# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses in parameters: `/run/x.sock` or `unix:/run/x.sock`, and `tcp:HOST:PORT`."""

from __future__ import annotations

import os
import socket

from client.errors import Refusal, Unreachable


def parsed(address: str) -> str | tuple[str, int]:
    """A path, or a host and a port. Raises `Refusal`."""
    if address.startswith("/"):
        return address
    kind, _colon, rest = address.partition(":")
    if kind == "unix" and rest.startswith("/"):
        return rest
    host, _colon, port = rest.rpartition(":")
    if kind == "tcp" and host and port.isdecimal() and 0 < int(port) < 65536:
        return host.strip("[]"), int(port)
    raise Refusal(f"{address!r} is not an address: write /path/of/socket, or tcp:HOST:PORT")


def connected(address: str, timeout: float) -> socket.socket:
    """A connection. Raises `Unreachable`, or `Refusal` for what is not an address."""
    where = parsed(address)
    try:
        if not isinstance(where, str):
            return socket.create_connection(where, timeout)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            channel.settimeout(timeout)
            channel.connect(where)
        except BaseException:
            channel.close()
            raise
        return channel
    except UnicodeError:
        # Of the codec idna, for a host name with an empty or a too long part.
        raise Refusal(f"{address!r} has no valid host name") from None
    except OSError as exc:
        raise Unreachable(f"{address} does not accept a connection: {_reason(exc, where)}") from None


def _reason(exc: OSError, where: str | tuple[str, int]) -> str:
    if isinstance(exc, socket.timeout):
        return "no answer in time"
    if isinstance(exc, PermissionError) and isinstance(where, str):
        return f"user {os.geteuid()} may not use it; give the task a user or group that may"
    return exc.strerror or str(exc)
