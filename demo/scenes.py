# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The current activity of a VM, in a few words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .evidence import DRAIN, RESTORE


@dataclass(frozen=True)
class Scene:
    """`ends_at` is the end of the notice (seconds since 1970); None without a notice."""

    text: str
    ends_at: float | None = None


def scene(
    instance: Mapping[str, Any], status: Mapping[str, Any], *, is_in_service: bool, count: int, notice: float
) -> Scene:
    """The activity, from the platform's state of the VM, the handler's status and the VM's files; `count` tasks."""
    if instance["status"] == "TERMINATED":
        return Scene("off, handler killed")
    if status.get("boot_id") != instance["boot_id"]:
        return Scene("booting")
    incident = status.get("incident")
    if incident is None:
        return Scene("in service" if is_in_service else "running, not yet in service")
    ends_at = min((signal["noticed_at"] + notice for signal in incident["signals"]), default=None)
    return Scene(_doing(incident, count), ends_at)


def is_quiet(instance: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether nothing is announced, and the handler has no incident."""
    announced = instance["maintenance_event"] != "NONE" or instance["preempted"]
    is_up = instance["status"] == "RUNNING" and status.get("boot_id") == instance["boot_id"]
    return is_up and not announced and status.get("incident") is None


def _doing(incident: Mapping[str, Any], count: int) -> str:
    for phase in (DRAIN, RESTORE):
        running = [step["task"] for step in incident["steps"] if step["phase"] == phase and not step["outcome"]]
        if running:
            return f"{phase}: {', '.join(running)}"
    drained = {step["task"] for step in incident["steps"] if step["phase"] == DRAIN}
    if not incident["signals"]:
        return "event over"
    return "drained" if len(drained) == count else f"{len(drained)} of {count} tasks drained"
