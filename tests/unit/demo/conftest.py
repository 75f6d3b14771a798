# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A successful host termination, announced at 1000, for tests to change."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from demo.cases import Case
from demo.evidence import Evidence, Note, Task

CASE = Case("gpu-1", "host termination", "terminate", "instance/maintenance-event", "by hand", reboots=True)


def step(task: str, phase: str, at: float, seconds: float = 1.0, outcome: str = "ok") -> dict[str, Any]:
    return {
        "task": task,
        "phase": phase,
        "event": "terminate",
        "attempt": 1,
        "started_at": at,
        "seconds_left": None,
        "limit": 2.0,
        "seconds": seconds,
        "outcome": outcome,
        "detail": "",
    }


def notes(task: str, phase: str, at: float, seconds: float = 1.0) -> tuple[Note, ...]:
    return Note(at + 0.01, "begins", phase, task), Note(at + seconds, "ends", phase, task)


GOOD = Evidence(
    case=CASE,
    notice=12.0,
    tasks=(Task("Leave"), Task("Save")),
    raised_at=1000.0,
    stopped_at=1012.0,
    booted_at=1016.0,
    incidents=[
        {
            "opened_at": 1000.002,
            "past": [
                {
                    "event": "terminate",
                    "value": "TERMINATE_ON_HOST_MAINTENANCE",
                    "noticed_at": 1000.002,
                    "ended_at": 1016.1,
                }
            ],
            "steps": [
                step("Leave", "drain", 1000.0),
                step("Save", "drain", 1006.0),
                step("Save", "restore", 1016.2),
                step("Leave", "restore", 1017.2),
            ],
        }
    ],
    notes=(
        *notes("Leave", "drain", 1000.0),
        *notes("Save", "drain", 1006.0),
        *notes("Save", "restore", 1016.2),
        *notes("Leave", "restore", 1017.2),
    ),
    before={"service/load-balancer": "in service"},
    after={"service/load-balancer": "in service"},
)


@pytest.fixture
def good():
    return GOOD


@pytest.fixture
def spoilt():
    """Make the good case another: `spoilt(raised_at=None)`; `steps` replaces those of its one incident."""

    def make(steps: list[dict[str, Any]] | None = None, **changes: Any) -> Evidence:
        if steps is not None:
            changes["incidents"] = [{**GOOD.incidents[0], "steps": steps}]
        return dataclasses.replace(GOOD, **changes)

    return make
