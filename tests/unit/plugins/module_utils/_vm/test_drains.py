# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which drains of an incident count."""

from __future__ import annotations

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.drains import Step, standing_drains, unsuccessful


def steps(text: str) -> list[Step]:
    """Steps such as `drain lb failed`, with commas between them."""
    return [dict(zip(("phase", "task", "outcome"), one.split(maxsplit=2), strict=True)) for one in text.split(", ")]


@pytest.mark.parametrize(
    "before, standing",
    [
        ("drain lb failed, drain db ok", "drain lb failed, drain db ok"),
        ("drain lb failed, restore lb ok, drain db ok", "drain db ok"),
        ("drain lb failed, restore lb ok, drain lb failed, drain lb ok", "drain lb failed, drain lb ok"),
        # A restore that ran may have done part of its work.
        ("drain lb ok, drain db ok, restore lb failed", "drain db ok"),
        ("drain db ok, drain lb ok, restore lb not started", "drain db ok, drain lb ok"),
        ("drain db ok, drain lb ok, restore lb failed, restore lb not started", "drain db ok"),
    ],
)
def test_restores_end_the_drains_of_their_task(before: str, standing: str) -> None:
    assert standing_drains(steps(before)) == steps(standing)


def test_a_task_without_a_restore_is_over_with_its_event() -> None:
    *earlier, last = steps("drain mail failed, drain mail failed")
    later = steps("drain lb ok")
    assert standing_drains([*earlier, {**last, "over": True}, *later]) == later


@pytest.mark.parametrize(
    "all_steps, tasks",
    [
        ("drain lb failed, drain lb ok, drain db ok", []),
        ("drain lb ok, drain lb timeout, drain db interrupted, drain app ok", ["lb", "db"]),
    ],
)
def test_the_newest_step_of_a_task_counts(all_steps: str, tasks: list[str]) -> None:
    assert [step["task"] for step in unsuccessful(steps(all_steps))] == tasks


def test_what_runs_has_not_failed() -> None:
    assert unsuccessful([{"task": "lb", "phase": "drain", "outcome": ""}]) == []
