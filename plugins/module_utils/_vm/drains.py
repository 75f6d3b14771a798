# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which drains of an incident count, by the steps in the handler's status. Pure.

An incident can have several drains by hand, because an announced window keeps it open for days.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Step = Mapping[str, Any]


def standing_drains(steps: Iterable[Step]) -> list[Step]:
    """The drains that are neither followed by a restore of their task nor over, in the order of their start."""
    drains: list[Step] = []
    for step in steps:
        if step["phase"] == "restore" and step["outcome"] == "not started":
            # It has changed nothing.
            continue
        # A task without a restore is over with its event.
        if step["phase"] == "drain" and not step.get("over"):
            drains.append(step)
        else:
            drains = [drain for drain in drains if drain["task"] != step["task"]]
    return drains


def unsuccessful(steps: Iterable[Step]) -> list[Step]:
    """The newest step of each task, if it has ended without success."""
    return [step for step in {step["task"]: step for step in steps}.values() if step["outcome"] not in ("ok", "")]
