# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that end abnormally."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web


def reset(transport: asyncio.Transport | None) -> None:
    """End a connection with RST, as after a crash of the host."""
    if transport is None or transport.is_closing():
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def nobody() -> web.Response:
    """The response to a client that disconnected during its request. An exception would be logged by aiohttp."""
    return web.Response(status=400)
