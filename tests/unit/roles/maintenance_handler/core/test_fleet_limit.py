# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tasks wait for a slot of the fleet limit, how long, and what happens without one."""

from __future__ import annotations

from typing import Any

import pytest

from maintenance_handler._vm.maintenance import MANUAL, MIGRATE, PREEMPT, STOP, TERMINATE, WINDOW
from maintenance_handler._vm.records import replace
from maintenance_handler.core.fleet_limit import ANSWER, AWAY_FOR, DENIED_DEFAULT, FleetLimit
from maintenance_handler.core.incident import FAILED, NOT_STARTED
from maintenance_handler.core.observations import DENIED, HELD, INVALID, UNREACHABLE, SlotExpired
from maintenance_handler.core.slot import AWAY, EXCEEDED, GIVEN_BACK, LOST, REFUSED, TAKEN, Slot
from maintenance_handler.core.slot_lines import GIVEN_UP
from maintenance_handler.core.tasks import IGNORE, LATE, SKIP
from support.incidents import Drive, task

LIMIT = FleetLimit("etcd", "web", reserve=10.0)
OTHER = "us-central1-a/b/2"
LB = task("lb", MIGRATE, TERMINATE, PREEMPT, WINDOW, STOP, stage=10, timeout=20.0)
DB = task("db", TERMINATE, STOP, stage=20, timeout=30.0)
# The stages' time with the grace of each, and the reserve.
LATEST = 22.0 + 32.0 + 10.0


def limited(*tasks: Any, limit: FleetLimit = LIMIT, **options: Any) -> Drive:
    return Drive(*(tasks or (LB, DB)), fleet_limit=limit, **options)


def slot(drive: Drive) -> Slot:
    incident = drive.state.incident or drive.closed[-1]
    assert incident.slot is not None
    return incident.slot


def entries(drive: Drive) -> list[str]:
    return [entry.what for entry in slot(drive).entries]


def left(drive: Drive) -> float:
    """Seconds until the event."""
    deadline = drive.incident.deadline()
    assert deadline is not None
    return round(deadline - drive.now.clock, 3)


def test_without_a_limit_there_is_no_slot() -> None:
    drive = Drive(LB)
    assert drive.on(MIGRATE) == ["drain lb"]
    assert drive.incident.slot is None
    assert "slot" not in drive.incident.to_dict()


class TestWithASlot:
    @pytest.mark.parametrize("event", [MIGRATE, TERMINATE, STOP])
    def test_tasks_start_when_it_is_taken(self, event: str) -> None:
        drive = limited()
        assert drive.on(event) == []
        assert (drive.phase, slot(drive).waiting[0]) == ("announced", "lb")
        assert drive.answer(HELD) == ["drain lb"]
        assert slot(drive).is_held
        assert entries(drive) == [TAKEN]

    def test_it_is_kept_until_the_last_restore(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(HELD)
        assert drive.ends("lb") == ["drain db"]
        drive.ends("db")
        assert drive.off(TERMINATE) == ["restore db"]
        assert drive.ends("db") == ["restore lb"]
        assert slot(drive).is_held
        assert drive.ends("lb") == ["close"]
        assert not slot(drive).is_wanted
        assert entries(drive) == [TAKEN, GIVEN_BACK]

    def test_a_failed_restore_keeps_it(self) -> None:
        drive = limited(LB)
        drive.on(MIGRATE)
        drive.answer(HELD)
        drive.ends("lb")
        drive.off(MIGRATE)
        drive.ends("lb", FAILED)
        assert drive.phase == "not restored"
        assert slot(drive).is_held
        assert drive.wait(5.0) == ["restore lb (attempt 2)"]
        assert drive.ends("lb") == ["close"]
        assert entries(drive) == [TAKEN, GIVEN_BACK]

    def test_it_is_given_back_if_nothing_was_drained(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        assert drive.off(TERMINATE) == ["close"]
        assert not slot(drive).is_wanted

    def test_it_is_given_back_if_all_is_restored_while_another_event_is_announced(self) -> None:
        drive = limited(task("lb", MIGRATE, WINDOW, lead=600.0))
        drive.window(5000.0)
        drive.on(MIGRATE)
        drive.answer(HELD)
        drive.ends("lb")
        assert drive.off(MIGRATE) == ["restore lb"]
        drive.ends("lb")
        assert drive.phase == "announced"
        assert not slot(drive).is_wanted
        assert drive.wait(4500.0) == []
        assert slot(drive).is_wanted
        assert drive.answer(HELD) == ["drain lb"]

    def test_a_lost_slot_undoes_nothing(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(HELD)
        assert drive.see(SlotExpired("not renewed for 600 s")) == []
        assert slot(drive).exceeded
        assert drive.ends("lb") == ["drain db"]
        assert drive.answer(DENIED, OTHER) == []
        assert drive.answer(HELD) == []
        assert not slot(drive).exceeded
        assert entries(drive)[:2] == [TAKEN, LOST]

    def test_renewals_change_nothing(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(HELD)
        before = drive.incident
        drive.answer(HELD)
        assert drive.incident == before

    def test_a_late_answer_changes_nothing(self) -> None:
        drive = limited(task("lb", MIGRATE), task("app", WINDOW, lead=1.0))
        drive.window(5000.0)
        drive.on(MIGRATE)
        drive.off(MIGRATE)
        assert drive.answer(HELD) == []
        assert not slot(drive).is_held


class TestDenied:
    def test_a_migration_is_skipped(self) -> None:
        drive = limited()
        drive.on(MIGRATE)
        assert drive.answer(DENIED, OTHER) == []
        assert drive.skips() == [("lb", f"no slot is free, held by {OTHER} (terminate)")]
        assert not slot(drive).is_wanted
        assert drive.wait(100.0) == []
        assert drive.off(MIGRATE) == ["close"]

    def test_a_termination_waits_as_long_as_its_tasks_fit(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(DENIED, OTHER)
        drive.wait(1000.0)
        assert drive.answer(DENIED, OTHER) == []
        assert drive.wait(left(drive) - LATEST - 1) == []
        assert drive.wait(1.0) == ["drain lb"]
        assert left(drive) == LATEST
        assert slot(drive).exceeded
        assert entries(drive) == [REFUSED, EXCEEDED]
        assert OTHER in slot(drive).entries[-1].detail
        assert drive.ends("lb") == ["drain db"]

    def test_it_takes_a_slot_that_becomes_free(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(DENIED, OTHER)
        drive.wait(left(drive) - LATEST - 1)
        assert drive.answer(HELD) == ["drain lb"]
        assert entries(drive) == [REFUSED, TAKEN]

    def test_it_takes_a_slot_also_after_it_went_ahead(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(DENIED, OTHER)
        drive.wait(left(drive) - LATEST)
        drive.answer(HELD)
        assert not slot(drive).exceeded
        assert entries(drive) == [REFUSED, EXCEEDED, TAKEN]

    def test_a_preemption_never_asks(self) -> None:
        drive = limited()
        assert drive.on(PREEMPT) == ["drain lb"]
        assert drive.incident.slot is None

    def test_a_preemption_ends_the_wait_for_another_event(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(DENIED, OTHER)
        assert drive.on(PREEMPT) == ["drain lb"]

    def test_a_window_waits_until_the_last_moment_and_goes_ahead(self) -> None:
        drive = limited(task("lb", WINDOW, lead=600.0))
        drive.window(5000.0)
        assert drive.wait(4400.0) == []
        drive.answer(DENIED, OTHER)
        assert drive.wait(600.0) == ["drain lb"]
        assert entries(drive) == [REFUSED, EXCEEDED]

    def test_a_window_that_moves_moves_the_moment(self) -> None:
        drive = limited(task("lb", WINDOW, lead=600.0))
        drive.window(5000.0)
        drive.wait(4400.0)
        drive.answer(DENIED, OTHER)
        assert drive.window(5000.0) == []
        assert not slot(drive).is_wanted
        assert drive.wait(4000.0) == []

    def test_a_drain_by_hand_waits_for_its_timeout_and_fails(self) -> None:
        drive = limited()
        assert drive.drain(slot_within=120.0) == []
        drive.answer(DENIED, OTHER)
        assert drive.wait(119.0) == []
        assert drive.wait(1.0) == ["close"]
        assert entries(drive) == [REFUSED, GIVEN_UP]
        assert OTHER in slot(drive).entries[-1].detail
        assert drive.closed[-1].past[0].order is not None

    def test_a_drain_by_hand_that_waits_late_goes_ahead(self) -> None:
        drive = limited(limit=FleetLimit("etcd", "web", denied={**DENIED_DEFAULT, MANUAL: LATE}))
        drive.drain(slot_within=120.0)
        drive.answer(DENIED, OTHER)
        assert drive.wait(120.0) == ["drain lb"]

    def test_a_drain_by_hand_that_waits_is_ended_by_hand(self) -> None:
        drive = limited()
        drive.drain()
        drive.answer(DENIED, OTHER)
        assert drive.release() == ["close"]

    def test_a_rehearsal_waits_as_its_event(self) -> None:
        drive = limited()
        assert drive.rehearse(TERMINATE) == []
        drive.answer(DENIED, OTHER)
        assert drive.phase == "announced"
        assert drive.answer(HELD) == ["drain lb"]
        drive.ends("lb")
        assert drive.ends("db") == ["restore db"]

    def test_a_rehearsed_migration_without_a_slot_ends(self) -> None:
        drive = limited()
        drive.rehearse(MIGRATE)
        assert drive.answer(DENIED, OTHER) == ["close"]
        assert drive.steps() == []

    def test_each_task_may_say_what_it_does(self) -> None:
        page = task("page", TERMINATE, stage=5, when_denied=IGNORE)
        cache = task("cache", TERMINATE, stage=6, when_denied={TERMINATE: SKIP})
        drive = limited(page, cache, LB)
        assert drive.on(TERMINATE) == ["drain page"]
        drive.ends("page")
        drive.answer(DENIED, OTHER)
        assert [name for name, _reason in drive.skips()] == ["cache"]
        assert slot(drive).waiting == ("lb",)
        assert drive.answer(HELD) == ["drain lb"]

    def test_an_event_that_gives_no_time_cannot_wait(self) -> None:
        lb = task("lb", MIGRATE, PREEMPT, when_denied=LATE)
        assert (LIMIT.policy(lb, MIGRATE), LIMIT.policy(lb, PREEMPT)) == (SKIP, IGNORE)

    def test_a_second_event_asks_anew(self) -> None:
        drive = limited(task("lb", MIGRATE), task("app", WINDOW, lead=1.0))
        drive.window(90000.0)
        drive.on(MIGRATE)
        drive.answer(DENIED, OTHER)
        drive.off(MIGRATE)
        drive.wait(60.0)
        assert drive.on(MIGRATE) == []
        assert drive.answer(HELD) == ["drain lb"]


class TestWithoutAnAnswer:
    @pytest.mark.parametrize("outcome", [UNREACHABLE, INVALID])
    def test_a_migration_drains_as_without_a_limit(self, outcome: str) -> None:
        drive = limited()
        drive.on(MIGRATE)
        assert drive.answer(outcome, detail="connection refused") == ["drain lb"]
        assert slot(drive).exceeded
        assert slot(drive).entries[-1].detail == "connection refused"

    def test_a_migration_does_not_wait_for_a_store_that_hangs(self) -> None:
        drive = limited()
        drive.on(MIGRATE)
        assert drive.wait(ANSWER - 0.1) == []
        assert drive.wait(0.1) == ["drain lb"]
        assert entries(drive) == [EXCEEDED]

    def test_a_short_notice_is_not_spent_on_the_question(self) -> None:
        drive = limited(notice={MIGRATE: 10.0})
        drive.on(MIGRATE)
        assert drive.wait(0.5) == ["drain lb"]

    def test_a_termination_goes_ahead_at_the_last_moment(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(UNREACHABLE)
        assert drive.wait(left(drive) - LATEST - 1) == []
        assert drive.wait(1.0) == ["drain lb"]
        assert entries(drive) == [AWAY, EXCEEDED]

    def test_tasks_that_are_due_at_the_last_moment_do_not_wait(self) -> None:
        drive = limited(task("lb", TERMINATE, lead=20.0, timeout=15.0))
        drive.on(TERMINATE)
        assert drive.wait(left(drive) - 20.0) == []
        assert drive.wait(1.0) == ["drain lb"]

    def test_a_drain_by_hand_does_not_fail_because_of_it(self) -> None:
        drive = limited()
        drive.drain(slot_within=120.0)
        drive.answer(UNREACHABLE, detail="connection refused")
        assert drive.wait(AWAY_FOR - 1) == []
        drive.answer(UNREACHABLE, detail="connection refused")
        assert drive.wait(1.0) == ["drain lb"]

    def test_a_short_outage_does_not_end_its_wait(self) -> None:
        drive = limited()
        drive.drain(slot_within=120.0)
        drive.answer(UNREACHABLE)
        drive.wait(AWAY_FOR - 1)
        drive.answer(DENIED, OTHER)
        assert drive.wait(AWAY_FOR) == []

    def test_an_outage_does_not_lose_the_slot(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(HELD)
        drive.answer(UNREACHABLE)
        assert slot(drive).is_held


class TestAfterTheHandler:
    @pytest.mark.parametrize("boots", [False, True])
    def test_what_is_drained_goes_on_and_the_slot_is_asked_for_again(self, boots: bool) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(HELD)
        drive.ends("lb")
        drive.ends("db", NOT_STARTED)
        words = drive.reboot() if boots else drive.restart()
        assert words == []
        assert slot(drive).is_wanted
        assert not slot(drive).is_held
        drive.on(TERMINATE)
        assert drive.answer(DENIED, OTHER) == []
        # A slot never blocks a restore.
        assert drive.off(TERMINATE) == ["restore db"]

    def test_what_waits_waits_on(self) -> None:
        drive = limited()
        drive.on(TERMINATE)
        drive.answer(DENIED, OTHER)
        drive.wait(100.0)
        assert drive.restart() == []
        assert slot(drive).outcome == ""
        assert drive.wait(left(drive) - LATEST - 1) == []
        assert drive.wait(1.0) == ["drain lb"]

    def test_a_slot_for_which_nothing_was_drained_is_not_relied_on(self) -> None:
        drive = limited(task("lb", WINDOW, lead=600.0))
        drive.window(700.0)
        drive.wait(100.0)
        drive.answer(HELD)
        drive.ends("lb", NOT_STARTED)
        assert drive.reboot(down_for=10.0) == []

    def test_an_older_journal_has_no_slot(self) -> None:
        drive = limited()
        drive.on(PREEMPT)
        assert "slot" not in drive.incident.to_dict()
        assert all("when_denied" not in one for one in drive.incident.to_dict()["tasks"])


class TestPlan:
    def test_shows_the_latest_moment(self) -> None:
        assert LIMIT.plan(TERMINATE, [LB, DB], 3600.0) == [
            f"    without a slot: lb, db: waits, then drained all the same, {LATEST:g} s before it"
        ]
        assert LIMIT.plan(TERMINATE, [LB, DB], 60.0) == [
            f"    without a slot: lb, db: drained at once all the same: the tasks and the reserve need {LATEST:g} s"
        ]

    def test_shows_each_policy(self) -> None:
        page = task("page", MIGRATE, MANUAL, when_denied=IGNORE)
        assert LIMIT.plan(MIGRATE, [LB, page], 60.0) == [
            "    without a slot: lb: not drained",
            "    without a slot: page: drained: never asks for a slot",
        ]
        assert LIMIT.plan(MANUAL, [task("app", MANUAL)], None) == [
            "    without a slot: app: waits for the time of --timeout, then fails"
        ]
        assert LIMIT.plan("missed", [task("app", "missed")], None) == []


def test_a_limit_that_is_removed_lets_all_tasks_start() -> None:
    drive = limited()
    drive.on(TERMINATE)
    drive.answer(DENIED, OTHER)
    drive.state = replace(drive.state, fleet_limit=None)
    assert drive.configure(LB, DB) == ["drain lb"]
    assert slot(drive).waiting == ()
    assert not slot(drive).is_wanted


def test_a_task_without_a_restore_does_not_keep_the_slot() -> None:
    drive = limited(task("page", MIGRATE, restore=False), task("app", WINDOW, lead=1.0))
    drive.window(90000.0)
    drive.on(MIGRATE)
    drive.answer(HELD)
    drive.ends("page")
    assert slot(drive).is_held
    drive.off(MIGRATE)
    assert drive.phase == "announced"
    assert not slot(drive).is_wanted


def test_all_tasks_go_ahead_together() -> None:
    drive = limited(task("lb", TERMINATE, stage=10, when_denied=SKIP), DB)
    drive.on(TERMINATE)
    assert drive.wait(ANSWER) == ["drain lb"]
    assert slot(drive).waiting == ()
    assert drive.ends("lb") == ["drain db"]
