# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until the handler reaches a state, for scripts and playbooks that depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ..core.incident import ANNOUNCED, DRAINED, IDLE
from .status import UNKNOWN, in_flight, waits_by_hand

RUNNING = "running"
WELL = "well"
SETTLED = "settled"

# running: it runs and has written a status. well: it is healthy. settled: no task is being drained or restored.
# idle: nothing is drained. drained: every task is.
GOALS = (RUNNING, WELL, SETTLED, IDLE, DRAINED)

# Seconds between two reads of the status. It is a file, so reading it is cheap.
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
    """Read the status until `goal` is reached, at most `timeout` seconds. Return whether it is, and the last status."""
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
    """Whether a status has reached the goal with the configuration of this digest. An empty digest matches any."""
    if not is_known(now):
        return False
    if digest and not is_in_force(digest, now):
        return False
    if goal == RUNNING:
        return bool(now["running"])
    if goal == WELL:
        return bool(now["healthy"])
    if goal == SETTLED:
        return not in_flight(now) and not waits_by_hand(now)
    if goal == IDLE:
        return now["state"] in (IDLE, ANNOUNCED)
    return bool(now["state"] == goal)


def is_known(now: Mapping[str, Any]) -> bool:
    """Whether no handler is running, or the running one has written its status."""
    return not now["running"] or ("version" in now and now["state"] != UNKNOWN)


def is_in_force(digest: str, now: Mapping[str, Any]) -> bool:
    """Whether the handler has read the configuration of this digest, and rejected none since."""
    current = now.get("config_digest") or ""
    return current != "" and digest.startswith(current) and not now.get("config_refused")
