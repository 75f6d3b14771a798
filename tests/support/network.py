# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Separate networks for tests, for root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address


@contextmanager
def network_namespace() -> Iterator[tuple[str, str, str]]:
    """A namespace with one link out of it: its name, and the addresses of the link's ends, outside and inside."""
    number = os.getpid() % 30_000
    name, outside, inside = f"gce-proof-{number}", f"gp{number}o", f"gp{number}i"
    # A network of its own (RFC 2544), also beside the tests of other processes.
    network = IPv4Address("198.18.0.0") + 4 * number
    ours, theirs = str(network + 1), str(network + 2)

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
        ip("address", "add", f"{ours}/30", "dev", outside)
        ip("link", "set", outside, "up")
        ip("-n", name, "address", "add", f"{theirs}/30", "dev", inside)
        ip("-n", name, "link", "set", inside, "up")
        yield name, ours, theirs
    finally:
        ip("netns", "delete", name)
