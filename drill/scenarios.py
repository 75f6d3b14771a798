# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the platform does to VMs in the drill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """A scenario of the emulator with its options, in seconds. `vms` is how many VMs are maintained at once."""

    title: str
    name: str
    options: Mapping[str, float]
    event: str
    # The notice in the table, with the real one where it differs.
    notice: str
    vms: int = 1
    # The VM stays off until somebody starts it.
    stays_off: bool = False


# The notices are those of drill/inventory.yml.
SCENARIOS = (
    Scenario(
        "live migration, frozen for 3 s",
        "live-migration",
        {"notice": 20, "migration": 6, "blackout": 3},
        "migrate",
        "20 s (60 s)",
    ),
    Scenario("host termination", "host-termination", {"notice": 20, "down": 20}, "terminate", "20 s (1 h)"),
    Scenario("preemption", "preemption", {"notice": 30, "down": 20}, "preempt", "30 s"),
    Scenario(
        "graceful stop", "graceful-stop", {"graceful": 20, "shutdown": 10}, "stop", "20 s (up to 1 h)", stays_off=True
    ),
    Scenario("host termination, two VMs", "host-termination", {"notice": 20, "down": 20}, "terminate", "20 s (1 h)", 2),
)
