# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How tasks share the time before an event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance_handler._vm.maintenance import DEFAULT_NOTICE, MIGRATE, TERMINATE, WINDOW
from maintenance_handler.core.plan import Batch, batches, fraction, misfits, stages
from maintenance_handler.core.tasks import RESTORE, Task
from support.incidents import task

A = task("a", MIGRATE, TERMINATE, stage=20, timeout=10.0)
B = task("b", MIGRATE, stage=10, timeout=5.0)
C = task("c", MIGRATE, stage=20, timeout=30.0, restore_timeout=1.0, restore=False)
LATE = task("late", TERMINATE, WINDOW, lead=600, timeout=300.0)
LATER = task("later", WINDOW, lead=60, timeout=30.0)


def names(batch: Batch) -> list[tuple[int, str]]:
    return [(stage.number, each.name) for stage in batch.stages for each in stage.tasks]


def test_drain_stages_ascend_and_last_as_long_as_their_longest_task() -> None:
    rows = stages([A, B, C], MIGRATE)
    assert [(row.number, [one.name for one in row.tasks], row.seconds) for row in rows] == [
        (10, ["b"], 5.0),
        (20, ["a", "c"], 30.0),
    ]


def test_restore_stages_descend_and_omit_tasks_without_restore() -> None:
    rows = stages([A, B, C], MIGRATE, RESTORE)
    assert [(row.number, [one.name for one in row.tasks], row.seconds) for row in rows] == [
        (20, ["a"], 10.0),
        (10, ["b"], 5.0),
    ]


def test_batches_without_a_lead_precede_the_longest_lead() -> None:
    now = task("now", WINDOW)
    found = batches([LATER, LATE, now, A], WINDOW)
    assert [(batch.lead, names(batch)) for batch in found] == [
        (None, [(50, "now")]),
        (600, [(50, "late")]),
        (60, [(50, "later")]),
    ]


def test_event_without_tasks_has_no_batches() -> None:
    assert batches([B], WINDOW) == ()


@pytest.mark.parametrize(
    "needs, left, part",
    [
        (30.0, 60.0, 1.0),
        (60.0, 60.0, 1.0),
        (60.0, 30.0, 0.5),
        (0.0, 30.0, 1.0),
        # After the deadline, by an unknown time, tasks get their timeouts.
        (60.0, 0.0, 1.0),
        (60.0, -5.0, 1.0),
    ],
)
def test_fraction(needs: float, left: float, part: float) -> None:
    assert fraction(needs, left) == part


@given(st.floats(0, 1e6), st.floats(0.001, 1e6))
def test_fraction_is_limited_by_time_left_and_time_needed(needs: float, left: float) -> None:
    part = fraction(needs, left)
    assert 0 < part <= 1
    assert needs * part <= left * (1 + 1e-9)


@pytest.mark.parametrize(
    "tasks, event",
    [
        ([], MIGRATE),
        ([A, B, C], MIGRATE),
        ([task("x", timeout=60.0)], MIGRATE),
        ([task("x", stage=1, timeout=30.0), task("y", stage=2, timeout=30.0)], MIGRATE),
        # For another event it does not matter.
        ([task("x", WINDOW, timeout=500.0)], MIGRATE),
        # A window is announced long before.
        ([task("x", WINDOW, timeout=80000.0)], WINDOW),
        ([LATE, LATER], WINDOW),
        ([LATE], TERMINATE),
        # A lead means nothing to a migration.
        ([task("x", MIGRATE, WINDOW, lead=5.0, timeout=4.0)], MIGRATE),
    ],
)
def test_tasks_that_fit_the_notice_are_accepted(tasks: list[Task], event: str) -> None:
    assert misfits(tasks, event, DEFAULT_NOTICE) == []


@pytest.mark.parametrize(
    "tasks, event, expected",
    [
        ([task("x", timeout=61.0)], MIGRATE, ["task 'x', field 'timeout': the stages for migrate take 61 s, more"]),
        (
            [task("x", stage=1, timeout=30.0), task("y", stage=2, timeout=31.0)],
            MIGRATE,
            ["task 'y', field 'timeout': the stages for migrate take 30 + 31 = 61 s, more than the notice of 60 s"],
        ),
        (
            [task("x", WINDOW, lead=60, timeout=61.0)],
            WINDOW,
            ["task 'x', field 'timeout': the stages for window take 61 s, more than the lead of 60 s"],
        ),
        # Earlier tasks have to leave time for later ones.
        (
            [task("x", WINDOW, lead=100, stage=1, timeout=60.0), task("y", WINDOW, lead=60, stage=2, timeout=50.0)],
            WINDOW,
            ["task 'x', field 'timeout': the stages for window take 60 + 50 = 110 s, more than the lead of 100 s"],
        ),
        (
            [task("x", TERMINATE, lead=4000, timeout=10.0)],
            TERMINATE,
            ["task 'x', field 'lead': 4000 s before a terminate event, of which 3600 s of notice are given"],
        ),
    ],
)
def test_tasks_that_exceed_the_notice_are_reported(tasks: list[Task], event: str, expected: list[str]) -> None:
    """Others have no deadline, or one for all events."""
    found = misfits(tasks, event, DEFAULT_NOTICE)
    assert len(found) == len(expected)
    assert all(map(str.startswith, found, expected))


def test_leads_of_a_termination_must_fit_the_notice_in_total() -> None:
    tasks = [task("x", TERMINATE, stage=1, timeout=3500.0), task("y", TERMINATE, lead=600, stage=2, timeout=200.0)]
    (line,) = misfits(tasks, TERMINATE, DEFAULT_NOTICE)
    assert line.startswith("task 'x', field 'timeout': the stages for terminate take 3500 + 200 = 3700 s, more than")
