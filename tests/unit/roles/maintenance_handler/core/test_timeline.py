# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Incidents and plans as text."""

from __future__ import annotations

import pytest

from maintenance_handler._vm.maintenance import DEFAULT_NOTICE, MIGRATE, PREEMPT, TERMINATE, WINDOW
from maintenance_handler.core.incident import FAILED
from maintenance_handler.core.observations import Began
from maintenance_handler.core.plan import assumed_notice
from maintenance_handler.core.public import public
from maintenance_handler.core.timeline import incident_lines, news, plan_lines
from support.incidents import Drive, task

NOTICE = assumed_notice(DEFAULT_NOTICE, (), None)
LB = task("Leave the balancer", MIGRATE, TERMINATE, stage=10, timeout=15.0)
APP = task("app", MIGRATE, stage=20, retries=1)
LOG = task("log", MIGRATE, stage=20, timeout=5.0, restore=False)


def test_an_incident_in_order_of_time() -> None:
    drive = Drive(LB, APP, task("db", WINDOW), applies=lambda task, event: task.name != "db")
    drive.on(MIGRATE)
    drive.ends("Leave the balancer", after=1.5)
    drive.ends("app", FAILED, detail="exit status 3", after=0.5)
    drive.wait(1.0)
    drive.window(600)
    drive.ends("app", after=0.25)
    drive.off(MIGRATE)
    drive.wait(0.5)
    head, *lines = incident_lines(public(drive.incident, drive.now))
    assert head.startswith(f"Incident {drive.incident.id}, 2026-")
    assert lines == [
        "     +0.000 s  notice   migrate (MIGRATE_ON_HOST_MAINTENANCE)",
        "     +0.000 s  drain    Leave the balancer                     ok in 1.500 s, 60.0 s left at its start",
        "     +1.500 s  drain    app"
        "                                    failed in 0.500 s, 58.5 s left at its start, exit status 3",
        "     +3.000 s  notice   window (PENDING)                       599.2 s left now",
        "     +3.000 s  skip     db                                     when is false",
        "     +3.000 s  drain    app (attempt 2)                        ok in 0.250 s, 57.0 s left at its start",
        "     +3.250 s  migrate is cancelled",
        "     +3.250 s  restore  app                                    running",
    ]


def test_news_has_the_start_of_a_late_step_once() -> None:
    drive = Drive(LB)
    drive.on(MIGRATE)
    shown: set[str] = set()
    assert news(shown, public(drive.incident, drive.now)) == ["drain 'Leave the balancer' starts"]
    drive.see(Began(drive.running("Leave the balancer").number, 0.25))
    assert news(shown, public(drive.incident, drive.now)) == []
    drive.ends("Leave the balancer", after=1.5)
    assert news(shown, public(drive.incident, drive.now)) == [
        "drain 'Leave the balancer': ok in 1.250 s, 60.0 s left at its start"
    ]


def test_incident_without_steps() -> None:
    drive = Drive()
    drive.window(None)
    assert incident_lines(public(drive.incident, drive.now))[1:] == ["     +0.000 s  notice   window (PENDING)"]


def test_the_plan_of_an_event() -> None:
    reach = {MIGRATE: {"possible": True, "reason": "on-host-maintenance is MIGRATE"}}
    assert plan_lines(MIGRATE, [APP, LB, LOG], NOTICE, reach) == [
        "migrate (60 s of notice, the default): can reach this VM, on-host-maintenance is MIGRATE",
        "  at once",
        "    stage 10   drain    Leave the balancer  (+0 s, 15 s at most)",
        "    stage 20   drain    app, log  (+15 s, 20 s at most)",
        "    35 s at most, 25 s to spare",
        "  afterwards",
        "    stage 20   restore  app",
        "    stage 10   restore  Leave the balancer",
    ]


def test_plan_shows_timeouts_shortened_by_the_notice() -> None:
    """A moment before the event is kept free, and a task that is asked to end gets one to do so."""
    tasks = [task("a", MIGRATE, stage=1, timeout=30.0), task("b", MIGRATE, stage=2, timeout=30.0)]
    lines = plan_lines(MIGRATE, tasks, NOTICE, {})
    assert lines[4:6] == [
        "    60 s at most, 0 s to spare",
        "    shortened: the stages get 27.5 s and 27.5 s; 1 s before the event is kept free, and a task has up to 2 s "
        "to end",
    ]
    assert not any("shortened" in line for line in plan_lines(MIGRATE, tasks[:1], NOTICE, {}))


def test_plan_shows_timeouts_shortened_by_a_lead() -> None:
    (line,) = [
        line
        for line in plan_lines(WINDOW, [task("db", WINDOW, lead=300.0, timeout=299.0)], NOTICE, {})
        if "shortened" in line
    ]
    assert "the stages get 297.0 s" in line


def test_the_plan_of_a_window_with_leads() -> None:
    tasks = [
        task("now", WINDOW, restore=False),
        task("db", WINDOW, lead=600, timeout=300.0, restore=False),
    ]
    assert plan_lines(WINDOW, tasks, NOTICE, {}) == [
        "window (announced ahead)",
        "  at once",
        "    stage 50   drain    now  (+0 s, 20 s at most)",
        "  600 s before it",
        "    stage 50   drain    db  (+0 s, 300 s at most)",
        "    300 s at most, 300 s to spare",
    ]


@pytest.mark.parametrize(
    "possible, words",
    [(True, "can reach this VM"), (False, "cannot reach this VM"), (None, "unknown whether it can reach this VM")],
)
def test_plan_of_an_event_without_tasks(possible: bool | None, words: str) -> None:
    reach = {TERMINATE: {"possible": possible, "reason": "because"}}
    assert plan_lines(TERMINATE, [APP], NOTICE, reach) == [
        f"terminate (3600 s of notice, the default): {words}, because",
        "  no task is for it",
    ]


@pytest.mark.parametrize(
    "configured, shown, words",
    [
        ({}, None, "30 s of notice, the default"),
        ({}, 120.0, "120 s of notice, from the VM's scheduling"),
        ({PREEMPT: 90.0}, 120.0, "90 s of notice, set in the configuration"),
    ],
)
def test_plan_shows_the_assumed_notice_of_a_preemption(
    configured: dict[str, float], shown: float | None, words: str
) -> None:
    notice = assumed_notice({**DEFAULT_NOTICE, **configured}, configured, shown)
    assert plan_lines(PREEMPT, [], notice, {})[0] == f"preempt ({words})"
