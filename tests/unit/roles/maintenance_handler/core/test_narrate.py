# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines about an incident."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from maintenance_handler._vm.maintenance import MANUAL, MIGRATE, PREEMPT
from maintenance_handler._vm.records import replace
from maintenance_handler.core.incident import FAILED, TIMEOUT
from maintenance_handler.core.narrate import Line, narrate
from maintenance_handler.core.tasks import SKIP_LATER, Task
from support.incidents import Drive, task

LB = task("lb", MIGRATE, PREEMPT, stage=10)
APP = task("app", stage=20, retries=1)


class Telling(Drive):
    """Tells what each observation made of the incident."""

    def tell(self, happen: Callable[[], object]) -> list[Line]:
        before = self.state.incident
        happen()
        after = self.state.incident or self.closed[-1]
        return narrate(before, after, self.now)


def test_an_incident_from_its_first_signal_to_its_last_restore() -> None:
    drive = Telling(LB, APP)
    assert drive.tell(lambda: drive.on(MIGRATE)) == [
        ("warning", "migrate is announced (MIGRATE_ON_HOST_MAINTENANCE), 60.0 s left"),
        ("info", "drain 'lb' starts, 60.0 s before migrate, timeout 20.0 s"),
    ]
    assert drive.tell(lambda: drive.on(MIGRATE)) == []
    drive.wait(2.0)
    assert drive.tell(lambda: drive.ends("lb")) == [
        ("info", "drain 'lb': ok after 2.0 s"),
        ("info", "drain 'app' starts, 58.0 s before migrate, timeout 20.0 s"),
    ]
    assert drive.tell(lambda: drive.ends("app", FAILED, detail="exit status 3")) == [
        ("warning", "drain 'app': failed after 0.0 s (exit status 3)"),
    ]
    assert drive.tell(lambda: drive.wait(1.0)) == [
        ("info", "drain 'app' starts, attempt 2, 57.0 s before migrate, timeout 19.0 s"),
    ]
    drive.ends("app")
    assert drive.tell(lambda: drive.off(MIGRATE)) == [
        ("info", "migrate is cancelled (MIGRATE_ON_HOST_MAINTENANCE)"),
        ("info", "no event is left: restoring"),
        ("info", "restore 'app' starts, timeout 20.0 s"),
    ]
    drive.wait(1.0)
    drive.ends("app")
    assert drive.tell(lambda: drive.ends("lb", TIMEOUT, detail="timed out")) == [
        ("error", "restore 'lb': timeout after 0.0 s (timed out); not restored, next attempt in 5 s"),
    ]


def test_a_restore_names_the_events_that_are_left() -> None:
    drive = Telling(LB, task("db", MANUAL))
    drive.on(PREEMPT)
    drive.ends("lb")
    drive.drain()
    drive.ends("db")
    told = [text for _level, text in drive.tell(drive.release)]
    assert told[-1].startswith("restore 'db' starts")
    assert "preempt" in told[-2]
    assert not any("no event is left" in text for text in told)
    drive.ends("db")
    assert ("info", "no event is left: restoring") in drive.tell(lambda: drive.off(PREEMPT))


def test_moved_window_is_logged_again() -> None:
    drive = Telling(LB)
    drive.window(600)
    assert drive.tell(lambda: drive.window(6000)) == [("warning", "window is announced (PENDING), 6000.0 s left")]


def test_rehearsal_is_marked() -> None:
    drive = Telling(LB)
    assert drive.tell(lambda: drive.rehearse(MIGRATE))[0] == (
        "warning",
        "migrate is rehearsed (rehearsal 1), 60.0 s left",
    )


def test_an_incident_that_closes_at_once() -> None:
    drive = Telling()
    assert drive.tell(lambda: drive.rehearse(MIGRATE)) == [("info", "migrate is over (rehearsal 1)")]


def test_skipped_task_is_logged_with_its_reason() -> None:
    drive = Telling(replace(LB, on_failure=SKIP_LATER), APP)
    drive.on(MIGRATE)
    assert drive.tell(lambda: drive.ends("lb", FAILED))[1:] == [
        ("info", "drain 'app' is skipped for migrate: lb failed")
    ]


def test_task_skipped_after_a_new_configuration_is_logged() -> None:
    def never(_task: Task, _event: Mapping[str, Any]) -> bool:
        return False

    drive = Telling(LB, applies=never)
    drive.on(MIGRATE)
    drive.wait(1.0)
    assert drive.tell(lambda: drive.configure(LB)) == [("info", "drain 'lb' is skipped for migrate: when is false")]


def test_step_interrupted_by_a_crash_is_logged_when_it_runs_again() -> None:
    drive = Telling(LB)
    drive.on(MIGRATE)
    assert ("info", "drain 'lb' starts, 60.0 s before migrate, timeout 20.0 s") in drive.tell(drive.restart)
