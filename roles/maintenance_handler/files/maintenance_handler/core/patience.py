# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pauses between attempts of failed restores, and for events that come and go. Pure. Times in seconds."""

from __future__ import annotations

from collections.abc import Mapping

from .._vm.maintenance import MANUAL
from .._vm.records import dataclass
from .actions import Action, Start
from .incident import Moment
from .tasks import DRAIN

# The shortest pause before a failed restore is retried, and before a task that is drained often is restored.
LEAST_PAUSE = 5.0
MOST_CALM = 300.0
# Drains of a task that are further apart than this are unrelated.
FLAP_SPAN = 3600.0


@dataclass(frozen=True)
class Patience:
    """The settings. A failed restore is retried with growing pauses for `retry_for`, then every `retry_every`."""

    retry_for: float = 3600.0
    retry_every: float = 600.0
    # After more drains than this in a row, a task is restored only after a pause without events.
    flap_limit: int = 5


@dataclass(frozen=True)
class Drains:
    """The number of drains of a task in a row, and when the last of them began."""

    count: int
    last: float


def retry_pause(patience: Patience, failing_for: float) -> float:
    """Seconds until the next attempt of a restore that has been failing for this long.

    The pause is a fixed share of that time, so it reaches `retry_every` after `retry_for`.
    """
    if failing_for >= patience.retry_for:
        return patience.retry_every
    share = patience.retry_every / max(patience.retry_for, patience.retry_every)
    return min(patience.retry_every, max(LEAST_PAUSE, failing_for * share))


def calm_until(patience: Patience, drains: Drains | None) -> float:
    """Until when on the monotonic clock a task stays drained after its event, because its events come and go."""
    if drains is None or drains.count <= patience.flap_limit:
        return 0.0
    # Doubled each time. The exponent is limited, so that the result stays finite.
    doublings = min(10, drains.count - patience.flap_limit - 1)
    return float(drains.last + min(MOST_CALM, LEAST_PAUSE * 2**doublings))


def with_drain(drains: Mapping[str, Drains], task: str, now: float) -> Mapping[str, Drains]:
    """The counts after the start of a drain."""
    before = drains.get(task)
    count = before.count + 1 if before is not None and now - before.last <= FLAP_SPAN else 1
    return {**drains, task: Drains(count, now)}


def counted(drains: Mapping[str, Drains], actions: list[Action], now: Moment) -> Mapping[str, Drains]:
    """The counts after these actions of the state machine."""
    for action in actions:
        if not isinstance(action, Start) or action.step.phase != DRAIN or action.step.attempt > 1:
            continue
        # Rehearsals and drains by hand may be repeated without limit.
        if not action.event.get("rehearsal") and action.step.event != MANUAL:
            drains = with_drain(drains, action.task.name, now.clock)
    return drains
