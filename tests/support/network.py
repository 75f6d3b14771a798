# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Separate networks for tests, for root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def network_namespace() -> Iterator[tuple[str, str, str]]:
    """A namespace with one link out of it: its name, and the addresses of the link's ends, outside and inside."""
    number = os.getpid() % 60_000
    name, outside, inside = f"gce-proof-{number}", f"gp{number}o", f"gp{number}i"
    network = f"198.18.{number % 250}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
        ip("address", "add", f"{network}.1/24", "dev", outside)
        ip("link", "set", outside, "up")
        ip("-n", name, "address", "add", f"{network}.2/24", "dev", inside)
        ip("-n", name, "link", "set", inside, "up")
        yield name, f"{network}.1", f"{network}.2"
    finally:
        ip("netns", "delete", name)
