# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A check of the fleet limit on this machine: its options and files, and whether the store answers."""

from __future__ import annotations

from .._vm.web_url import is_loopback
from ..core.fleet_limit import FleetLimit
from ..core.observations import FINE, INVALID
from ..io.fleet_limit import CHECK, Question, ask
from .fleet_limit_fields import CONSUL

# Seconds for an answer.
PATIENCE = 5.0


def store_check(limit: FleetLimit) -> tuple[list[str], list[str]]:
    """Notes and problems, a line for each. A store that does not answer is no problem: the limit does without it."""
    found = ask(Question(0, CHECK, limit.options, timeout=PATIENCE))
    if found.outcome == INVALID:
        return [], [f"field 'fleet_limit': {found.detail}"]
    if found.outcome == FINE:
        return [f"fleet limit: {found.detail}", *_cautions(limit)], []
    silent = f"field 'fleet_limit': the store does not answer: {found.detail}. Until it does, there is no limit"
    return [silent, *_cautions(limit)], []


def _cautions(limit: FleetLimit) -> list[str]:
    address = limit.options.get("address")
    if limit.backend != CONSUL or not is_loopback(str(address)):
        return []
    return [
        f"field 'fleet_limit': address {address!r} is that of an agent on this VM, which leaves the cluster when the "
        "VM shuts down. Then the slot is free while the VM is still drained; give the address of a server"
    ]
