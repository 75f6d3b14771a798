# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the store of a fleet limit is asked, and what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from maintenance_handler._vm.maintenance import MIGRATE, TERMINATE
from maintenance_handler._vm.records import replace
from maintenance_handler.app.slot_keeper import LOST_AFTER, SlotKeeper
from maintenance_handler.core.fleet_limit import FleetLimit
from maintenance_handler.core.observations import DENIED, HELD, INVALID, RELEASED, UNREACHABLE, SlotAnswered
from maintenance_handler.io.fleet_limit import Ledger
from maintenance_handler.io.log import Log, PatientStream
from maintenance_handler.io.pool import Pool
from support.emulator import eventually
from support.incidents import Drive, task

LIMIT = FleetLimit("etcd", "web", ttl=600.0, reserve=10.0)
ME, OTHER = "us-central1-a/me/1", "us-central1-a/other/7"


class Waiting(Pool):
    """Jobs are kept, and the test answers in their place."""

    def __init__(self) -> None:
        super().__init__("work")
        self.asked = 0

    def do(self, job: object) -> None:
        self.asked += 1


class Course:
    """An incident with its keeper, both driven by the test."""

    def __init__(self, keeper: SlotKeeper, pool: Waiting) -> None:
        self.keeper, self.pool = keeper, pool
        self.drive = Drive(task("lb", MIGRATE, TERMINATE, timeout=20.0), fleet_limit=LIMIT)

    def turn(self) -> None:
        """What the handler's loop does each time it wakes up."""
        known = self.keeper.consider(self.drive.state.incident, self.drive.now.clock)
        if known is not None:
            self.drive.see(known)

    def answer(self, outcome: str, detail: str = "") -> None:
        """The store answers the last question."""
        slot = self.drive.state.incident.slot if self.drive.state.incident is not None else None
        found = SlotAnswered(self.pool.asked, outcome, detail)
        about_us = self.keeper.answered(found, self.drive.now.clock, slot is not None and slot.is_open)
        if about_us is not None:
            self.drive.see(about_us)

    def wait(self, seconds: float) -> int:
        """Let time pass, and wake up whenever the keeper wants to. Returns how often it did."""
        until, turns = self.drive.now.clock + seconds, 0
        while turns < 10_000:
            self.turn()
            turns += 1
            at = self.keeper.next_time(self.drive.state.incident)
            if at is None or at > until:
                break
            self.drive.wait(max(0.0, at - self.drive.now.clock))
        self.drive.wait(max(0.0, until - self.drive.now.clock))
        return turns


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    stream = PatientStream(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT))
    yield Log("info", stream)
    stream.finish(1.0)


@pytest.fixture
def course(tmp_path: Path, log: Log) -> Course:
    pool = Waiting()
    keeper = SlotKeeper(LIMIT, tmp_path, log, pool=pool, post=lambda _answer: None)
    keeper.named(ME)
    return Course(keeper, pool)


def test_nothing_is_asked_while_nothing_is_wanted(course: Course) -> None:
    assert course.wait(3600.0) == 1
    assert course.pool.asked == 0


def test_a_slot_is_renewed_three_times_in_its_life(course: Course) -> None:
    course.drive.on(TERMINATE)
    course.turn()
    course.answer(HELD)
    for count in (2, 3, 4):
        course.wait(199.0)
        assert course.pool.asked == count - 1
        course.wait(1.0)
        assert course.pool.asked == count
        course.answer(HELD)


def test_a_denied_slot_is_asked_for_again_and_once_more_at_the_end(course: Course) -> None:
    course.drive.on(TERMINATE)
    course.turn()
    for _unused in range(20):
        course.answer(DENIED)
        course.wait(10.0)
    asked = course.pool.asked
    assert 15 <= asked <= 40
    course.answer(DENIED)
    slot = course.drive.incident.slot
    assert slot is not None
    assert slot.until is not None
    course.drive.wait(slot.until - 3.0 - course.drive.now.clock)
    course.turn()
    assert course.pool.asked == asked + 1
    course.answer(HELD)
    assert course.drive.steps() == ["drain lb: running"]


def test_a_slot_that_cannot_be_renewed_counts_as_lost(course: Course) -> None:
    course.drive.on(TERMINATE)
    course.turn()
    course.answer(HELD)
    slot = course.drive.incident.slot
    assert slot is not None
    for _unused in range(200):
        course.wait(5.0)
        course.answer(UNREACHABLE)
    slot = course.drive.incident.slot
    assert slot is not None
    assert slot.exceeded


def test_a_question_whose_process_hangs_is_given_up(course: Course) -> None:
    course.drive.on(TERMINATE)
    course.turn()
    course.wait(LOST_AFTER + 2.0)
    assert course.pool.asked == 2
    # Its answer comes too late.
    course.keeper.answered(SlotAnswered(1, HELD), course.drive.now.clock, is_drained=False)
    slot = course.drive.incident.slot
    assert slot is not None
    assert not slot.is_held


def test_a_slot_is_given_back_until_the_store_has_it(course: Course, tmp_path: Path) -> None:
    course.drive.on(MIGRATE)
    course.turn()
    course.answer(HELD)
    course.drive.ends("lb")
    course.drive.off(MIGRATE)
    course.drive.ends("lb")
    course.turn()
    assert course.keeper.document()["may_hold"]
    for asked in (2, 3, 4):
        assert course.pool.asked == asked
        course.answer(UNREACHABLE)
        while course.pool.asked == asked:
            course.wait(1.0)
    course.answer(RELEASED)
    assert not course.keeper.document()["may_hold"]
    asked = course.pool.asked
    course.wait(3600.0)
    assert course.pool.asked == asked


@pytest.mark.parametrize("is_held", [False, True])
def test_only_a_slot_that_was_held_is_given_back(course: Course, tmp_path: Path, log: Log, is_held: bool) -> None:
    course.drive.on(TERMINATE)
    course.turn()
    course.answer(HELD if is_held else DENIED)
    course.drive.off(TERMINATE)
    if is_held:
        course.drive.ends("lb")
        course.drive.ends("lb")
    course.turn()
    assert course.keeper.document()["may_hold"] is is_held
    # The store may have something else to forget.
    assert course.pool.asked == 2
    course.answer(RELEASED)
    log.info("the end")
    eventually(lambda: "the end" in (tmp_path / "log").read_text(), what="the log")
    assert ("given back" in (tmp_path / "log").read_text()) is is_held


def test_a_question_without_an_answer_may_have_taken_a_slot(course: Course) -> None:
    course.drive.on(TERMINATE)
    course.turn()
    course.answer(DENIED)
    course.wait(10.0)
    course.answer(UNREACHABLE)
    course.drive.off(TERMINATE)
    course.turn()
    assert course.keeper.document()["may_hold"]


def test_a_slot_that_the_store_does_not_take_back_is_logged(course: Course, tmp_path: Path) -> None:
    course.drive.on(TERMINATE)
    course.turn()
    course.answer(UNREACHABLE)
    course.drive.off(TERMINATE)
    course.turn()
    course.answer(INVALID, "permission denied")
    assert not course.keeper.document()["may_hold"]
    eventually(lambda: "permission denied" in (tmp_path / "log").read_text(), what="the log")
    assert "given back" not in (tmp_path / "log").read_text()


def test_a_vm_without_a_name_does_not_keep_the_loop_busy(tmp_path: Path, log: Log) -> None:
    course = Course(SlotKeeper(LIMIT, tmp_path, log, pool=Waiting(), post=lambda _answer: None), Waiting())
    course.drive.on(MIGRATE)
    assert course.wait(10.0) <= 20
    # As without a limit.
    assert course.drive.steps() == ["drain lb: running"]


def test_an_answer_that_comes_after_the_event_leads_to_the_release(course: Course) -> None:
    course.drive.on(TERMINATE)
    course.turn()
    course.drive.off(TERMINATE)
    course.turn()
    course.answer(HELD)
    course.turn()
    assert course.pool.asked == 2
    course.answer(RELEASED)
    assert not course.keeper.document()["may_hold"]


@pytest.mark.parametrize("outcome", [HELD, DENIED])
def test_an_answer_of_the_store_before_a_reload_is_not_one_of_the_new_store(course: Course, outcome: str) -> None:
    course.drive.on(TERMINATE)
    course.turn()
    course.keeper.configured(replace(LIMIT, group="db", options={"group": "db"}))
    course.answer(outcome)
    slot = course.drive.incident.slot
    assert slot is not None
    assert not slot.outcome
    assert course.drive.steps() == []
    course.turn()
    assert course.pool.asked == 2
    course.answer(HELD)
    assert course.drive.steps() == ["drain lb: running"]


def test_a_record_that_cannot_be_read_is_deleted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(OTHER, {"lease": "1"})
    assert ledger.read() == (OTHER, {"lease": "1"})
    (tmp_path / "fleet_limit.json").write_text("[")
    assert ledger.read() is None
    assert not (tmp_path / "fleet_limit.json").exists()
