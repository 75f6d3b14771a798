# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports for daemons that cannot choose one themselves."""

from __future__ import annotations

import itertools
import os
import socket

# Linux takes the ports of outgoing connections, and those of servers that ask for port 0, from 32768 upwards
# (net.ipv4.ip_local_port_range). A port below stays free until the daemon takes it, and after the daemon was stopped.
_FIRST = 12_000
_END = 32_000
# Tests run in several processes: each has ports of its own.
_EACH = 2_000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % ((_END - _FIRST) // _EACH)
# Another run of the tests on this machine begins elsewhere.
_OFFSETS = itertools.count(os.getpid())


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, another one each time."""
    for offset in itertools.islice(_OFFSETS, _EACH):
        port = _FIRST + _WORKER * _EACH + offset % _EACH
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError(f"none of {_EACH} ports is free")
