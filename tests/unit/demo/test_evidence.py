# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of the demo from the platform, the handler and the tasks."""

from __future__ import annotations

import dataclasses

import pytest

from demo.evidence import Note, Task, parse_notes, raised_at, tasks_for

KEY = "instance/maintenance-event"


def answer(at: float | None, path: str = KEY, status: int | None = 200) -> dict[str, object]:
    return {"path": f"/computeMetadata/v1/{path}", "answered_at": at, "status": status}


def test_tasks_for_an_event():
    configured = [
        {"name": "Leave", "on": ["migrate", "preempt"], "restore": ["/bin/true"]},
        {"name": "Fail over", "on": ["terminate"], "restore": ["/bin/true"]},
        {"name": "Tell", "on": ["migrate"]},
    ]
    assert tasks_for("migrate", configured) == (Task("Leave"), Task("Tell", restores=False))


def test_parses_the_notes_of_tasks():
    text = "1000.25\tbegins\tdrain\tLeave the load balancer\n1001.5\tends\tdrain\tLeave the load balancer\n"
    assert parse_notes(text) == (
        Note(1000.25, "begins", "drain", "Leave the load balancer"),
        Note(1001.5, "ends", "drain", "Leave the load balancer"),
    )
    assert parse_notes("") == ()


def test_raised_with_the_last_answer_before_it_was_noticed():
    journal = [answer(900.0), answer(1000.0), answer(1000.4), answer(999.9, "instance/preempted")]
    assert raised_at(journal, KEY, [{"opened_at": 1000.002}]) == 1000.0


def test_failed_and_hanging_requests_are_ignored():
    journal = [answer(None, status=None), answer(1000.0, status=503)]
    assert raised_at(journal, KEY, [{"opened_at": 1000.002}]) is None


def test_not_raised_without_an_incident():
    assert raised_at([answer(1000.0)], KEY, []) is None


def test_the_event_of_a_vm_that_reboots_ends_with_the_boot(good):
    assert (good.event_at, good.over_at) == (1012.0, 1016.0)
    never = dataclasses.replace(good, stopped_at=None)
    assert (never.event_at, never.over_at) == (None, None)


def test_the_event_of_a_vm_that_is_migrated_ends_with_its_signal(good):
    stays = dataclasses.replace(good, case=dataclasses.replace(good.case, reboots=False), stopped_at=None)
    assert (stays.event_at, stays.over_at) == (pytest.approx(1012.0), 1016.1)
