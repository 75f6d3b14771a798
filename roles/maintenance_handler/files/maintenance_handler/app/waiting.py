# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until the handler is as somebody needs it: for scripts and playbooks that must not go on before."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.incident import ANNOUNCED, DRAINED, IDLE
from .status import in_flight

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable

RUNNING = "running"
WELL = "well"
SETTLED = "settled"

# What somebody can wait for: that it runs and has said how it is; that it is well; that no task is being drained or
# restored; that nothing is drained; that everything is.
GOALS = (RUNNING, WELL, SETTLED, IDLE, DRAINED)

# How often the status is looked at, in seconds. It is a file, so that this costs next to nothing.
LOOK_EVERY = 0.2


def wait_until(
    goal: str,
    digest: str,
    timeout: float,
    read: Callable[[], Mapping[str, Any]],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[bool, Mapping[str, Any]]:
    """Read the status until it is as wanted, or for `timeout` seconds. Answers whether it is, and the last one read."""
    give_up_at = clock() + timeout
    while True:
        now = read()
        if is_reached(goal, digest, now):
            return True, now
        left = give_up_at - clock()
        if left <= 0:
            return False, now
        sleep(min(LOOK_EVERY, left))


def is_reached(goal: str, digest: str, now: Mapping[str, Any]) -> bool:
    """Whether a status is as wanted; `digest`: with this configuration in force, or with any if it is empty."""
    if now["running"] and "pid" not in now:
        return False
    if digest and not (now.get("config_digest") and digest.startswith(now["config_digest"])):
        return False
    if goal == RUNNING:
        return bool(now["running"])
    if goal == WELL:
        return bool(now["healthy"])
    if goal == SETTLED:
        return not in_flight(now)
    if goal == IDLE:
        return now["state"] in (IDLE, ANNOUNCED)
    return bool(now["state"] == goal)
