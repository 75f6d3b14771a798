# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the handler is: what it writes into its runtime directory, and what a reader concludes from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .config import Config
from .files import is_locked, write_whole
from .incident import DRAINING, IDLE, RESTORING

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any

# A hanging GET answers within its timeout and 10 s, or is given up; this much more, and nobody has answered.
BLIND_AFTER = 15.0


def lock_path(config: Config) -> Path:
    """Locked for as long as a handler runs on the state directory."""
    return config.state_dir / "lock"


def status_path(config: Config) -> Path:
    return config.runtime_dir / "status.json"


def write(config: Config, status: Mapping[str, Any]) -> None:
    """Raises OSError."""
    write_whole(status_path(config), json.dumps(status).encode(), mode=0o644)


def read(config: Config, now_clock: float, boot_id: str) -> dict[str, Any]:
    """The handler's status as of now. Always has `running`, `healthy`, `state`, `problems` and `last_good_answer_age`.

    Raises OSError when the state directory cannot be looked into.
    """
    running = is_locked(lock_path(config))
    try:
        status = json.loads(status_path(config).read_bytes())
    except (FileNotFoundError, ValueError):
        status = {}
    if not running or not isinstance(status, dict) or status.get("boot_id") != boot_id:
        return {
            "running": running,
            "healthy": False,
            "state": IDLE,
            "incident": None,
            "last_good_answer_age": None,
            "problems": ["has not said anything yet" if running else "is not running"],
        }
    answers = status.pop("last_good_answer")
    ages = {key: None if clock is None else round(now_clock - clock, 3) for key, clock in answers.items()}
    known = [age for age in ages.values() if age is not None]
    problems = list(status.pop("problems"))
    problems += _blind_spots(ages, status["poll_timeout"])
    return {
        **status,
        "running": True,
        "healthy": not problems,
        "problems": problems,
        "last_good_answer_age": max(known) if len(known) == len(ages) else None,
        "last_good_answer_ages": ages,
    }


def in_flight(status: Mapping[str, Any]) -> bool:
    """Whether steps are being run, so that now is no time to restart the handler."""
    return status["state"] in (DRAINING, RESTORING)


def _blind_spots(ages: Mapping[str, float | None], poll_timeout: float) -> list[str]:
    problems = []
    for key, age in ages.items():
        if age is None:
            problems.append(f"has not heard of {key} yet")
        elif age > poll_timeout + BLIND_AFTER:
            problems.append(f"has not heard of {key} for {age:.0f} s")
    return problems
