# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a connection is ended the hard way."""

from __future__ import annotations

import asyncio
import socket
import struct


def reset(transport: asyncio.Transport | None) -> None:
    """End a connection with RST, as a host that is gone does."""
    if transport is None or transport.is_closing():
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
