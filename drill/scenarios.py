# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the platform does to VMs in the drill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


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
    # Options that differ for the second VM, and the seconds after which its scenario begins.
    second: Mapping[str, float] = field(default_factory=dict)
    lag: float = 0.0
    # The events that follow in the same incident.
    then: Sequence[str] = ()
    # Each VM is back before the next one has to be ready.
    takes_turns: bool = True

    def options_of(self, number: int) -> Mapping[str, float]:
        """The options for a VM: 0 is the first one."""
        return {**self.options, **self.second} if number else self.options


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

# For all backends of a service. When the second VM has to be ready, the first one can be back.
TOGETHER = (
    Scenario(
        "live migration of both, frozen for 3 s",
        "live-migration",
        {"notice": 20, "migration": 6, "blackout": 3},
        "migrate",
        "20 s (60 s)",
        2,
    ),
    Scenario(
        "host termination, the second one 28 s later",
        "host-termination",
        {"notice": 30, "down": 5},
        "terminate",
        "30 s (1 h)",
        2,
        lag=28,
    ),
    Scenario(
        "host termination of both at the same moment",
        "host-termination",
        # Long enough that a boot that takes a second longer hardly counts.
        {"notice": 30, "down": 20},
        "terminate",
        "30 s (1 h)",
        2,
        takes_turns=False,
    ),
    Scenario(
        "announced window with a live migration, the second one 30 s later",
        "window-announced",
        # A handler looks for windows once a minute.
        {"starts_in": 75, "length": 60, "notice": 10, "migration": 6, "blackout": 3},
        "window",
        "75 s and 105 s (days)",
        2,
        second={"starts_in": 105},
        lag=2,
        then=("migrate",),
    ),
    Scenario(
        "graceful stop, the second one 30 s later",
        "graceful-stop",
        {"graceful": 15, "shutdown": 5},
        "stop",
        "15 s and 45 s (up to 1 h)",
        2,
        stays_off=True,
        second={"graceful": 45},
        lag=2,
    ),
)
