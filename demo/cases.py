# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event of each VM, and its notice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
FLEET_FILE = FOLDER / "fleet.yml"


@dataclass(frozen=True)
class Case:
    """The event of a VM. `signal` is the metadata key that announces it, `event` its name in the handler."""

    host: str
    name: str
    event: str
    signal: str
    cause: str
    reboots: bool


CASES = (
    Case(
        "web-1",
        "live migration",
        "migrate",
        "instance/maintenance-event",
        "by the module gce.guest.host_maintenance",
        reboots=False,
    ),
    Case(
        "gpu-1",
        "host termination",
        "terminate",
        "instance/maintenance-event",
        "by the module gce.guest.host_maintenance",
        reboots=True,
    ),
    Case(
        "spot-1",
        "preemption",
        "preempt",
        "instance/preempted",
        "by the emulator's scenario preemption",
        reboots=True,
    ),
)

# Seconds of notice on Compute Engine.
REAL_NOTICE = {"migrate": 60, "terminate": 3600, "preempt": 30}


def notice() -> dict[str, float]:
    """Seconds of notice of each event in the demo."""
    fleet: Mapping[str, Any] = yaml.safe_load(FLEET_FILE.read_text(encoding="utf-8"))
    return {event: seconds / fleet["speed"] for event, seconds in fleet["notice"].items()}
