# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a VM that is being stopped has nothing left to wait for. Pure."""

from __future__ import annotations

from .._vm.maintenance import PENDING_STOP, STOP, STOP_STATE_KEY
from .incident import DRAINED, FAILURES, Incident, last_steps
from .tasks import DRAIN


def stop_to_complete(incident: Incident | None) -> str:
    """The announcement of a graceful shutdown that powering off would complete; empty if there is none.

    Every task must be drained, at least one of them for a stop, and none of them may have failed: what is left of the
    time may still serve what its drain did not finish.
    """
    if incident is None or incident.phase != DRAINED:
        return ""
    if incident.slot is not None and incident.slot.waiting:
        # Tasks wait for a slot of the fleet limit.
        return ""
    stop = next((one for one in incident.signals if one.source == STOP_STATE_KEY and one.confirmed), None)
    steps = last_steps(incident.steps).values()
    for_stops = {task.name for task in incident.tasks if STOP in task.on}
    if stop is None or stop.value != PENDING_STOP:
        return ""
    if not any(one.phase == DRAIN and one.task in for_stops for one in steps):
        return ""
    return "" if any(one.outcome in FAILURES for one in steps) else f"{incident.id}/{stop.noticed.at}"
