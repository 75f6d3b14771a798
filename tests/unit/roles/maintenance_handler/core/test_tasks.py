# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and time limits of a task."""

from __future__ import annotations

import json

import pytest

from maintenance_handler._vm.maintenance import MIGRATE, PREEMPT, TERMINATE, WINDOW
from maintenance_handler.core.tasks import DRAIN, RESTORE, SKIP_LATER, Task

PROGRAMS = Task("lb", (MIGRATE,), drain=("/lb", "drain"), restore=("/lb", "enable"))
BY_EVENT = Task("x", (WINDOW,), lead={WINDOW: 1.0}, timeout={WINDOW: 5.0}, on_failure={WINDOW: SKIP_LATER})
PLAYBOOKS = Task("db", (MIGRATE,), playbook="/etc/drain.yml", restore_playbook="/etc/restore.yml")


def test_command_is_unchanged() -> None:
    assert PROGRAMS.command(DRAIN, {}) == ("/lb", "drain")
    assert PROGRAMS.command(RESTORE, {}) == ("/lb", "enable")


@pytest.mark.parametrize("phase, playbook", [(DRAIN, "/etc/drain.yml"), (RESTORE, "/etc/restore.yml")])
def test_each_phase_has_its_playbook(phase: str, playbook: str) -> None:
    command = PLAYBOOKS.command(phase, {"name": "migrate"})
    assert (command[0], command[-1]) == ("ansible-playbook", playbook)


def test_drain_command_can_have_a_restore_playbook() -> None:
    mixed = Task("x", (MIGRATE,), drain=("/a",), restore_playbook="/b.yml")
    assert mixed.command(DRAIN, {}) == ("/a",)
    assert mixed.command(RESTORE, {})[-1] == "/b.yml"


@pytest.mark.parametrize(
    "task, drains, restores",
    [
        (PROGRAMS, True, True),
        (PLAYBOOKS, True, True),
        (Task("x", (MIGRATE,), drain=("/a",)), True, False),
        (Task("x", (MIGRATE,), playbook="/a.yml", restore_playbook="/b.yml"), True, True),
    ],
)
def test_knows_its_phases(task: Task, drains: bool, restores: bool) -> None:
    assert (task.has(DRAIN), task.has(RESTORE)) == (drains, restores)


def test_restore_timeout_defaults_to_the_drain_timeout() -> None:
    assert Task("x", (MIGRATE,), timeout=5.0).limit(RESTORE, MIGRATE) == 5.0
    assert Task("x", (MIGRATE,), timeout=5.0, restore_timeout=50.0).limit(RESTORE, MIGRATE) == 50.0
    assert Task("x", (MIGRATE,), timeout=5.0, restore_timeout=50.0).limit(DRAIN, MIGRATE) == 5.0


def test_values_by_event_default_to_the_field_s_default() -> None:
    task = Task(
        "x",
        (MIGRATE, PREEMPT, TERMINATE, WINDOW),
        timeout={MIGRATE: 15.0, TERMINATE: 600.0},
        restore_timeout={TERMINATE: 300.0},
        lead={WINDOW: 900.0},
        on_failure={TERMINATE: SKIP_LATER},
    )
    assert [task.limit(DRAIN, event) for event in task.on] == [15.0, 20.0, 600.0, 20.0]
    # Without its own timeout, a restore has that of the drain for the event.
    assert [task.limit(RESTORE, event) for event in task.on] == [15.0, 20.0, 300.0, 20.0]
    assert [task.lead_for(event) for event in task.on] == [None, None, None, 900.0]
    assert [task.stops_after_failure(event) for event in task.on] == [False, False, True, False]


@pytest.mark.parametrize("event, lead", [(MIGRATE, None), (PREEMPT, None), (TERMINATE, 600.0), (WINDOW, 600.0)])
def test_lead_applies_to_events_announced_early_enough(event: str, lead: float | None) -> None:
    assert Task("x", (event,), lead=600.0).lead_for(event) == lead


@pytest.mark.parametrize(
    "task", [PROGRAMS, PLAYBOOKS, Task("x", (WINDOW,), env={"A": "1"}, lead=1.0, when="a"), BY_EVENT]
)
def test_task_survives_a_round_trip_through_json(task: Task) -> None:
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task
