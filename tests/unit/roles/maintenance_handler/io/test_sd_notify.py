# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notifications to systemd over a real socket."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from maintenance_handler.io.sd_notify import Supervisor, watchdog_interval


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_notification_arrives(tmp_path: Path, kind: str) -> None:
    name = str(tmp_path / "notify") if kind == "path" else f"@gce-guest-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1))
        with closing(Supervisor({"NOTIFY_SOCKET": name})) as supervisor:
            supervisor.notify("READY=1")
        assert systemd.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/no/such/socket"}])
def test_missing_listener_is_ignored(environ: dict[str, str]) -> None:
    with closing(Supervisor(environ)) as supervisor:
        supervisor.notify("READY=1")


def test_full_queue_does_not_block(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        with closing(Supervisor({"NOTIFY_SOCKET": name})) as supervisor:
            # Its queue holds a few hundred at the most (net.unix.max_dgram_qlen).
            for _unused in range(5000):
                supervisor.notify("WATCHDOG=1")


def test_works_without_a_free_descriptor(
    tmp_path: Path, no_descriptors: Callable[[], AbstractContextManager[None]]
) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        late, early = Supervisor({"NOTIFY_SOCKET": name}), Supervisor({"NOTIFY_SOCKET": name})
        early.notify("READY=1")
        assert systemd.recv(100) == b"READY=1"
        with no_descriptors():
            late.notify("STATUS=idle")
            early.notify("WATCHDOG=1")
        assert systemd.recv(100) == b"WATCHDOG=1"
        late.notify("STATUS=well")
        assert systemd.recv(100) == b"STATUS=well"
        early.close()
        late.close()


@pytest.mark.parametrize(
    "environ, seconds",
    [
        ({}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_watchdog_interval_is_half_the_limit(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval(environ) == seconds
