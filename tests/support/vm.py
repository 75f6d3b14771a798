# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM of an emulated fleet, as the platform sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .emulator import Control, EmulatorProcess

# For each event: the key, a value that announces it, and one that ends it.
SIGNALS: Mapping[str, tuple[str, Any, Any]] = {
    "migrate": ("maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE", "NONE"),
    "terminate": ("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE", "NONE"),
    "preempt": ("preempted", True, False),
    "stop": ("shutdown-details/stop-state", "PENDING_STOP", "UNSPECIFIED"),
    "window": ("upcoming-maintenance", {"window_start_time": "2199-01-01T00:00:00Z"}, None),
}


class Vm:
    """`host` is where its metadata server listens."""

    def __init__(self, emulator: EmulatorProcess, name: str) -> None:
        self.name = name
        self.host = emulator.metadata[name]
        self.control: Control = emulator.control

    def set(self, key: str, value: Any) -> None:
        self.control.set(self.name, f"instance/{key}", value)

    def announce(self, event: str) -> None:
        """Have the platform announce an event."""
        key, value, _unused = SIGNALS[event]
        self.set(key, value)

    def withdraw(self, event: str) -> None:
        """Have the platform end the event."""
        key, _unused, nothing = SIGNALS[event]
        self.set(key, nothing)

    def fault(self, kind: str, **options: Any) -> str:
        """Inject a fault for this VM only, until `heal` is called or as the options define."""
        return self.control.fault(kind, instance=self.name, **options)

    def heal(self, fault: str) -> None:
        self.control.request("DELETE", f"faults/{fault}")

    def requests(self, key: str, **selection: str | float) -> list[dict[str, Any]]:
        """The requests for a key, oldest first."""
        return self.control.journal(instance=self.name, path=f"instance/{key}", **selection)

    def hanging_gets(self) -> int:
        return int(self.control.instance(self.name)["hanging_gets"])
