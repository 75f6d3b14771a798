# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary of a closed incident."""

from __future__ import annotations

from typing import Any

import pytest

from maintenance_handler.core.last_incident import last_incident
from support import documents

PAST = {
    "event": "migrate",
    "value": "X",
    "rehearsal": False,
    "noticed_at": 1_780_000_000.0,
    "ended_at": 1_780_000_060.0,
}


def step(phase: str, outcome: str, task: str = "lb", **more: Any) -> dict[str, Any]:
    return {
        "task": task,
        "phase": phase,
        "event": "migrate",
        "attempt": 1,
        "started_at": 1_780_000_090.0,
        "seconds_left": None,
        "seconds": 1.0,
        "outcome": outcome,
        "detail": "",
        **more,
    }


def test_names_the_event_and_its_times() -> None:
    closed = documents.incident("one", past=[PAST], steps=[step("drain", "ok"), step("restore", "ok")])
    assert last_incident(closed) == {
        "id": "one",
        "event": "migrate",
        "rehearsal": False,
        "opened_at": "2026-05-28T20:26:40Z",
        "ended_at": "2026-05-28T20:28:10Z",
        "outcome": "ok",
    }


def test_rehearsal_with_a_real_event_is_not_a_rehearsal() -> None:
    rehearsed = {**PAST, "rehearsal": True}
    assert last_incident(documents.incident("one", past=[rehearsed]))["rehearsal"] is True
    assert last_incident(documents.incident("one", past=[rehearsed, PAST]))["rehearsal"] is False


@pytest.mark.parametrize(
    "steps, outcome",
    [
        ([], "nothing run"),
        ([step("drain", "failed"), step("restore", "ok")], "drain failed"),
        ([step("drain", "timeout"), step("drain", "ok", "db"), step("restore", "ok")], "drain failed"),
        ([step("drain", "not started")], "drain failed"),
        # A retry replaces the attempt before.
        ([step("drain", "failed"), step("drain", "ok", attempt=2), step("restore", "ok")], "ok"),
        # The event was over before the drain.
        ([step("drain", "cancelled"), step("restore", "ok")], "ok"),
        ([step("drain", "ok"), step("restore", "failed"), step("restore", "ok", attempt=2)], "ok"),
    ],
)
def test_the_outcome_is_that_of_the_last_attempts(steps: list[dict[str, Any]], outcome: str) -> None:
    assert last_incident(documents.incident("one", past=[PAST], steps=steps))["outcome"] == outcome


def test_an_acknowledged_task_is_not_restored() -> None:
    closed = documents.incident(
        "one",
        past=[PAST],
        steps=[step("drain", "ok"), step("restore", "failed")],
        acknowledged=[{"task": "lb", "by": "root", "at": 1_780_000_500.0}],
    )
    found = last_incident(closed)
    assert (found["outcome"], found["ended_at"]) == ("not restored", "2026-05-28T20:35:00Z")
