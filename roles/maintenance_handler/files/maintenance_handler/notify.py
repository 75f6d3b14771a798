# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell systemd how we are: sd_notify(3) without its library."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def notify(message: str, environ: Mapping[str, str] | None = None) -> None:
    """Send a line such as `READY=1`. Does nothing outside systemd, nor when systemd does not listen."""
    address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(message.encode(), address)
        except OSError:
            # A supervisor that is gone cannot be told; the watch goes on.
            return


def watchdog_interval(environ: Mapping[str, str] | None = None) -> float | None:
    """Seconds between signs of life, half of what systemd allows; None when it does not ask for any."""
    environ = os.environ if environ is None else environ
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000
