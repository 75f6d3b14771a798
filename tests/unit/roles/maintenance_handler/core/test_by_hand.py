# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drains that an operator orders, and holds: alone, and together with events of the platform."""

from __future__ import annotations

from typing import Any

import pytest

from maintenance_handler._vm.maintenance import MANUAL, MIGRATE, TERMINATE, WINDOW
from maintenance_handler.core.actions import Start
from maintenance_handler.core.incident import FAILED, OK, Incident, held
from maintenance_handler.core.tasks import SKIP_LATER
from support.incidents import Drive, drained, task

LB = task("lb", MIGRATE, TERMINATE, stage=10)
DB = task("db", TERMINATE, stage=20)
APP = task("app", MANUAL, stage=30)
CACHE = task("cache", MIGRATE, stage=30)


def by_hand(*tasks: Any, as_event: str = TERMINATE, seconds: float | None = None) -> Drive:
    """All tasks of a drain by hand were drained without trouble."""
    drive = Drive(*tasks)
    words = drive.drain(as_event, seconds=seconds)
    while words:
        words = [word for started in words for word in drive.ends(started.partition(" ")[2], after=1.0)]
    return drive


def started(drive: Drive) -> Start:
    (start,) = (action for action in drive.actions if isinstance(action, Start))
    return start


class TestDrain:
    def test_runs_tasks_for_manual_and_for_the_event_that_is_named(self) -> None:
        drive = Drive(LB, DB, APP, CACHE)
        assert drive.drain() == ["drain lb"]
        assert drive.ends("lb") == ["drain db"]
        assert drive.ends("db") == ["drain app"]
        assert drive.ends("app") == []
        assert drive.phase == "drained"
        assert drive.release() == ["restore app"]
        assert drive.ends("app") == ["restore db"]
        assert drive.ends("db") == ["restore lb"]
        assert drive.ends("lb") == ["close"]
        assert by_hand(LB, DB, APP, CACHE, as_event=MIGRATE).steps() == [
            "drain lb: ok",
            "drain app: ok",
            "drain cache: ok",
        ]

    def test_a_task_runs_as_for_its_own_event(self) -> None:
        """Its program may not know of drains by hand, and its times are those of the event that it is for."""
        times = {TERMINATE: 300.0, MANUAL: 7.0}
        drive = Drive(
            task("db", TERMINATE, timeout=times, restore_timeout={TERMINATE: 200.0}),
            task("app", MANUAL, stage=60, timeout=times),
        )
        drive.drain()
        assert started(drive).event["name"] == TERMINATE
        assert (started(drive).step.event, started(drive).step.task_event) == (MANUAL, TERMINATE)
        assert drive.seconds("db") == pytest.approx(300.0)
        drive.ends("db")
        assert started(drive).event["name"] == MANUAL
        assert started(drive).event["source"] == "operator"
        assert drive.seconds("app") == pytest.approx(7.0)
        drive.ends("app")
        drive.release()
        assert drive.ends("app") == ["restore db"]
        assert started(drive).event["name"] == TERMINATE
        assert drive.seconds("db") == pytest.approx(200.0)

    def test_what_fails_stops_the_later_stages_as_for_its_own_event(self) -> None:
        drive = Drive(task("db", TERMINATE, stage=20, on_failure={TERMINATE: SKIP_LATER}), APP)
        drive.drain()
        assert drive.ends("db", FAILED) == []
        assert drive.skips() == [("app", "db failed")]
        assert drive.phase == "drained"

    def test_lead_does_not_matter(self) -> None:
        assert Drive(task("db", TERMINATE, WINDOW, lead=600.0)).drain() == ["drain db"]

    def test_is_over_after_its_time(self) -> None:
        drive = by_hand(LB, seconds=7200.0)
        assert drive.wait(7190.0) == []
        assert drive.phase == "drained"
        assert drive.wait(10.0) == ["restore lb"]
        assert drive.ends("lb") == ["close"]
        (past,) = drive.closed[0].past
        assert (past.ended_by, past.cancelled) == ("", False)

    def test_ended_in_the_middle_it_restores_what_was_started(self) -> None:
        drive = Drive(LB, DB)
        drive.drain()
        drive.ends("lb")
        assert drive.release() == ["end drain db"]
        assert drive.ends("db", FAILED) == ["restore db"]
        assert drive.ends("db") == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_may_be_repeated_without_a_pause(self) -> None:
        drive = Drive(LB)
        for _unused in range(20):
            assert drive.drain() == ["drain lb"]
            drive.ends("lb")
            assert drive.release() == ["restore lb"]
            assert drive.ends("lb") == ["close"]

    def test_who_asked_and_why_is_kept(self) -> None:
        drive = by_hand(LB)
        drive.release()
        drive.ends("lb")
        (past,) = drive.closed[0].past
        assert past.order is not None
        assert (past.event, past.order.by, past.order.reason, past.ended_by) == (MANUAL, "alice", "a new kernel", "bob")


class TestAfterTheHandler:
    def test_a_restart_drains_nothing_twice(self) -> None:
        drive = Drive(LB, DB)
        drive.drain()
        drive.ends("lb")
        assert drive.restart() == ["drain db"]
        drive.ends("db")
        assert drive.restart() == []
        assert drive.phase == "drained"
        assert drive.release() == ["restore db"]

    def test_a_reboot_does_not_end_it(self) -> None:
        drive = Drive(LB, DB)
        drive.drain()
        drive.ends("lb")
        assert drive.reboot() == ["drain db"]
        drive.ends("db")
        assert drive.phase == "drained"
        assert drive.wait(86400.0) == []
        assert drive.release() == ["restore db"]

    @pytest.mark.parametrize("down_for, left", [(600.0, 3000.0), (3600.0, 0.0), (90000.0, 0.0)])
    def test_its_time_goes_on_over_a_reboot(self, down_for: float, left: float) -> None:
        drive = by_hand(LB, seconds=3601.0)
        words = drive.reboot(down_for=down_for)
        if left:
            assert words == []
            assert drive.wait(left - 1.0) == []
            words = drive.wait(1.0)
        assert words == ["restore lb"]

    def test_an_event_that_is_over_by_then_does_not_keep_it(self) -> None:
        drive = drained(LB, event=TERMINATE)
        drive.drain()
        drive.reboot()
        assert drive.release() == []
        assert drive.off(TERMINATE) == ["restore lb"]

    def test_the_journal_has_nothing_new_for_an_earlier_version_without_a_drain_by_hand(self) -> None:
        raw = drained(LB).incident.to_dict()
        new = {"order", "ended_by", "as_event"}
        assert not any(new & set(one) for one in (*raw["signals"], *raw["past"], *raw["steps"]))

    @pytest.mark.parametrize(
        "order", [3, [], {}, {"by": 1, "as_event": "x"}, {"by": "a", "as_event": "x", "ends": "soon"}]
    )
    def test_a_damaged_order_is_refused(self, order: Any) -> None:
        raw = by_hand(LB).incident.to_dict()
        raw["signals"][0]["order"] = order
        with pytest.raises((KeyError, TypeError, ValueError)):
            Incident.from_dict(raw)


class TestWithThePlatform:
    def test_an_event_on_top_drains_only_what_is_not_drained(self) -> None:
        drive = by_hand(LB, CACHE)
        assert drive.on(MIGRATE) == ["drain cache"]
        drive.ends("cache")
        assert drive.off(MIGRATE) == ["restore cache"]
        assert drive.ends("cache") == []
        assert drive.phase == "drained"
        assert held(drive.incident) == ("lb",)
        assert drive.release() == ["restore lb"]

    def test_released_during_the_event_it_stays_drained_until_that_is_over(self) -> None:
        drive = by_hand(LB, DB)
        assert drive.on(TERMINATE) == []
        assert drive.release() == []
        assert drive.phase == "drained"
        assert drive.off(TERMINATE) == ["restore db"]
        assert drive.ends("db") == ["restore lb"]
        assert drive.ends("lb") == ["close"]
        assert len(drive.closed) == 1

    def test_ordered_during_an_event_it_adds_to_it_and_outlasts_it(self) -> None:
        drive = drained(LB, DB, APP, event=MIGRATE)
        assert drive.drain() == ["drain db"]
        drive.ends("db")
        drive.ends("app")
        assert drive.off(MIGRATE) == []
        assert drive.phase == "drained"
        assert drive.release() == ["restore app"]

    def test_ordered_during_a_restore_it_drains_again(self) -> None:
        drive = drained(LB, event=TERMINATE)
        drive.off(TERMINATE)
        assert drive.drain() == ["end restore lb"]
        assert drive.ends("lb", FAILED) == ["drain lb"]

    def test_a_task_gets_the_nearer_event_if_both_concern_it(self) -> None:
        drive = Drive(LB, DB)
        drive.drain()
        drive.on(TERMINATE)
        drive.ends("lb")
        assert (started(drive).event["name"], started(drive).event["source"]) == (
            TERMINATE,
            "instance/maintenance-event",
        )
        assert drive.running("db").left == pytest.approx(3600.0)


class TestHold:
    def test_what_is_drained_stays_drained_after_the_event(self) -> None:
        drive = drained(LB)
        assert drive.hold() == []
        assert drive.off(MIGRATE) == []
        assert drive.phase == "drained"
        assert drive.wait(86400.0) == []
        assert drive.unhold() == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_a_drain_that_runs_is_finished_and_no_other_begins(self) -> None:
        drive = Drive(LB, task("app", MIGRATE, stage=60))
        drive.on(MIGRATE)
        drive.hold()
        assert drive.off(MIGRATE) == []
        assert drive.phase == "draining"
        assert drive.ends("lb") == []
        assert drive.phase == "drained"
        assert drive.steps() == ["drain lb: ok"]
        assert drive.unhold() == ["restore lb"]

    def test_a_later_stage_of_another_event_waits_for_a_drain_that_runs(self) -> None:
        drive = Drive(task("cache", MIGRATE, stage=10), DB)
        drive.on(MIGRATE)
        drive.hold()
        assert drive.off(MIGRATE) == []
        assert drive.on(TERMINATE) == []
        assert drive.ends("cache") == ["drain db"]

    def test_survives_a_restart_and_a_reboot(self) -> None:
        drive = drained(LB)
        drive.hold()
        assert drive.restart() == []
        assert drive.reboot() == []
        assert drive.off(MIGRATE) == []
        assert drive.phase == "drained"
        assert drive.unhold() == ["restore lb"]

    def test_outlasts_a_drain_by_hand(self) -> None:
        drive = by_hand(LB, seconds=60.0)
        drive.hold()
        assert drive.wait(61.0) == []
        assert drive.unhold() == ["restore lb"]

    def test_with_nothing_to_keep_the_incident_closes(self) -> None:
        drive = Drive(task("db", WINDOW, lead=60.0))
        drive.window(86400.0)
        drive.hold()
        assert drive.no_window() == ["close"]

    def test_a_restore_that_runs_or_failed_is_not_held(self) -> None:
        drive = drained(LB)
        drive.off(MIGRATE)
        assert drive.hold() == []
        assert drive.ends("lb", FAILED) == []
        assert drive.phase == "not restored"
        assert drive.wait(5.0) == ["restore lb (attempt 2)"]
        assert drive.ends("lb", OK) == ["close"]

    def test_another_event_finds_it_drained(self) -> None:
        drive = drained(LB)
        drive.hold()
        drive.off(MIGRATE)
        assert drive.on(TERMINATE) == []
        assert drive.unhold() == []
        assert drive.off(TERMINATE) == ["restore lb"]
