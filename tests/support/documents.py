# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of a handler's output: its status, and incidents in their public form."""

from __future__ import annotations

from typing import Any

from maintenance_handler import __version__

BOOT_ID = "boot-1"


def status(**changes: Any) -> dict[str, Any]:
    """The status of a healthy, idle handler on a VM that it has not identified yet."""
    return {
        "version": __version__,
        "pid": 42,
        "boot_id": BOOT_ID,
        "started_at": 1_780_000_000.0,
        "state": "idle",
        "incident": None,
        "last_good_answer": {},
        "poll_timeout": 60,
        "problems": [],
        "config_digest": "0123456789ab",
        "config_refused": [],
        "restart_required": False,
        "missed_migrations": 0,
        "guest_attribute": "",
        "reach": {},
        **changes,
    }


def incident(name: str, **changes: Any) -> dict[str, Any]:
    """An incident without any step."""
    return {
        "id": name,
        "opened_at": 1_780_000_000.0,
        "signals": [],
        "past": [],
        "steps": [],
        "skips": [],
        "held": [],
        **changes,
    }
