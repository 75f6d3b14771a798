# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which notices an incident gives, and that they are the same for a handler that resumes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from maintenance_handler._vm.maintenance import MIGRATE, PREEMPT, TERMINATE, WINDOW
from maintenance_handler.core import notices
from maintenance_handler.core.fleet_limit import FleetLimit
from maintenance_handler.core.incident import FAILED, TIMEOUT, Moment
from maintenance_handler.core.notices import Notice
from maintenance_handler.core.observations import DENIED, Finished
from maintenance_handler.core.public import recorded
from support.incidents import Drive, task

LB = task("lb", MIGRATE, PREEMPT, stage=10)
APP = task("app", stage=20, retries=1)


class Notifying(Drive):
    """The notices of each observation."""

    def notices(self, happen: Callable[[], object]) -> list[Notice]:
        before, was_closed = self.state.incident, len(self.closed)
        happen()
        after = self.state.incident
        found = [] if after is None else notices.changes(before, after, self.now)
        for closed in self.closed[was_closed:]:
            found.append(notices.restored(recorded(closed, self.now), self.now.at))
        return found

    def kinds(self, happen: Callable[[], object]) -> list[str]:
        return [notice.kind for notice in self.notices(happen)]

    def current(self) -> list[Notice]:
        assert self.state.incident is not None
        return notices.current(self.state.incident, self.now)


def test_an_incident_from_its_first_signal_to_its_end() -> None:
    drive = Notifying(LB, APP)
    noticed, draining = drive.notices(lambda: drive.on(MIGRATE))
    assert (noticed.kind, noticed.event, noticed.resolves) == ("noticed", MIGRATE, False)
    assert "in 60 s" in noticed.text
    assert noticed.deadline == drive.now.at + 60
    assert (draining.kind, draining.tasks) == ("draining", ("lb",))
    assert drive.kinds(lambda: drive.on(MIGRATE)) == []
    drive.wait(2.0)
    assert drive.kinds(lambda: drive.ends("lb")) == []
    (drained,) = drive.notices(lambda: drive.ends("app"))
    assert (drained.kind, drained.tasks) == ("drained", ("lb", "app"))
    assert "58 s before the event" in drained.text
    drive.wait(10.0)
    assert drive.kinds(lambda: drive.off(MIGRATE)) == []
    assert drive.kinds(lambda: drive.ends("app")) == []
    (restored,) = drive.notices(lambda: drive.ends("lb"))
    assert (restored.kind, restored.resolves, restored.tasks) == ("restored", True, ("app", "lb"))
    assert "12 s" in restored.text
    assert restored.opened_at == noticed.opened_at


def test_ids_are_unique_and_names_of_files() -> None:
    drive = Notifying(task("a b/../c", MIGRATE, PREEMPT), task("ä"))
    found = drive.notices(lambda: drive.on(MIGRATE))
    found += drive.notices(lambda: drive.ends("a b/../c", FAILED))
    found += drive.notices(lambda: drive.ends("ä", TIMEOUT))
    found += drive.notices(lambda: drive.on(PREEMPT))
    found += drive.notices(lambda: drive.off(PREEMPT))
    found += drive.notices(lambda: drive.off(MIGRATE))
    found += drive.notices(lambda: drive.ends("ä", FAILED))
    found += drive.notices(lambda: drive.ends("a b/../c", FAILED))
    ids = [notice.id for notice in found]
    assert len(set(ids)) == len(ids) > 6
    assert all(one.replace("-", "").replace("_", "").isalnum() for one in ids)


def test_failed_attempt_is_notified_only_when_no_retry_is_left() -> None:
    drive = Notifying(APP)
    drive.on(MIGRATE)
    assert drive.kinds(lambda: drive.ends("app", FAILED, detail="exit status 3")) == []
    drive.wait(1.0)
    failed, drained = drive.notices(lambda: drive.ends("app", FAILED, detail="exit status 3"))
    assert (failed.kind, failed.tasks) == ("failed", ("app",))
    assert "exit status 3" in failed.text
    assert "failed: app" in drained.text


def test_output_of_a_task_is_not_notified() -> None:
    drive = Notifying(LB)
    drive.on(MIGRATE)
    end = Finished(drive.running("lb").number, FAILED, output="password=hunter2")
    found = drive.notices(lambda: drive.see(end))
    assert found
    assert not any("hunter2" in str(notice.to_dict()) for notice in found)


def test_timeout_is_overdue() -> None:
    drive = Notifying(LB)
    drive.on(MIGRATE)
    overdue, _drained = drive.notices(lambda: drive.ends("lb", TIMEOUT))
    assert overdue.kind == "overdue"
    assert "within 20 s" in overdue.text


def test_drain_that_ends_after_the_event_has_begun_is_overdue() -> None:
    drive = Notifying(task("db", TERMINATE, timeout=4000, lead={TERMINATE: 10}), notice={TERMINATE: 10})
    drive.on(TERMINATE)
    drive.now = Moment(drive.now.clock + 13, drive.now.at + 13)
    overdue, drained = drive.notices(lambda: drive.ends("db"))
    assert (overdue.kind, drained.kind) == ("overdue", "drained")
    assert "3 s after" in overdue.text


def test_failed_restore_is_notified_once_for_each_drain() -> None:
    drive = Notifying(LB)
    drive.on(MIGRATE)
    drive.ends("lb")
    drive.off(MIGRATE)
    (failed,) = drive.notices(lambda: drive.ends("lb", FAILED, detail="exit status 1"))
    assert (failed.kind, failed.tasks, failed.resolves) == ("restore_failed", ("lb",), False)
    assert "tries again at" in failed.text
    drive.wait(5.0)
    assert drive.kinds(lambda: drive.ends("lb", FAILED)) == []
    drive.wait(1000.0)
    assert drive.kinds(lambda: drive.ends("lb")) == ["restored"]


def test_event_that_is_over_before_anything_has_run_is_closed() -> None:
    drive = Notifying(task("db", TERMINATE, lead={TERMINATE: 600}))
    drive.on(TERMINATE)
    (restored,) = drive.notices(lambda: drive.off(TERMINATE))
    assert "nothing was drained" in restored.text
    assert restored.resolves


def test_a_drain_by_hand_without_a_slot_says_why_nothing_was_drained() -> None:
    drive = Notifying(LB, fleet_limit=FleetLimit("etcd", "web"))
    drive.drain(PREEMPT, slot_within=120.0)
    drive.answer(DENIED, "us-central1-a/other/7")
    (restored,) = drive.notices(lambda: drive.wait(120.0))
    assert "nothing was drained" in restored.text
    assert "us-central1-a/other/7" in restored.text


def test_an_incident_is_called_after_the_event_that_was_noticed_first() -> None:
    """The end of a window and that of its migration are two answers, which arrive in either order."""
    drive = Notifying(LB)
    drive.window(600)
    drive.wait(600)
    drive.on(MIGRATE)
    drive.ends("lb")
    drive.off(MIGRATE)
    drive.no_window()
    (restored,) = drive.notices(lambda: drive.ends("lb"))
    assert restored.event == WINDOW
    assert restored.text.startswith("window, migrate is over")
    (closed,) = drive.closed
    assert [past["event"] for past in recorded(closed, drive.now)["past"]] == [WINDOW, MIGRATE]


def test_moved_window_is_noticed_again() -> None:
    drive = Notifying(LB)
    drive.window(600)
    assert drive.kinds(lambda: drive.window(6000)) == ["noticed"]


def test_rehearsal_is_marked() -> None:
    drive = Notifying(LB)
    assert all(notice.rehearsal for notice in drive.notices(lambda: drive.rehearse(MIGRATE)))


@pytest.mark.parametrize("reboots", [False, True])
def test_handler_that_resumes_an_incident_finds_what_was_not_queued(reboots: bool) -> None:
    drive = Notifying(LB, APP)
    queued = [notice.id for notice in drive.notices(lambda: drive.on(MIGRATE))]
    drive.ends("lb")
    lost = drive.notices(lambda: drive.ends("app"))
    (drive.reboot if reboots else drive.restart)(LB, APP)
    missing = [one for one in drive.current() if not notices.is_repeated(one.to_dict(), queued)]
    assert [one.id for one in missing] == [one.id for one in lost]
    known = queued + [one.id for one in lost]
    assert all(notices.is_repeated(one.to_dict(), known) for one in drive.current())


def test_draining_is_not_repeated_by_a_handler_that_starts_a_step_again() -> None:
    drive = Notifying(LB)
    queued = [notice.id for notice in drive.notices(lambda: drive.on(MIGRATE))]
    drive.restart(LB)
    assert all(notices.is_repeated(one.to_dict(), queued) for one in drive.current())


def test_incident_that_was_closed_just_before_a_crash_is_left_open() -> None:
    assert notices.is_left_open("1f-migrate", ["1f-migrate-noticed-1", "1f-migrate-drained-2"])
    assert not notices.is_left_open("1f-migrate", ["1f-migrate-noticed-1", "1f-migrate-restored"])
    assert not notices.is_left_open("1f-migrate", ["2f-migrate-noticed-1"])


def test_limit_is_notified_once_for_each_announcement() -> None:
    drive = Notifying(LB)
    drive.on(MIGRATE)
    incident = drive.state.incident
    assert incident is not None
    one = notices.limit_exceeded(incident, "web has 2 of 2 slots taken", drive.now)
    drive.wait(1.0)
    assert one.id == notices.limit_exceeded(incident, "another reason", drive.now).id
    assert "web has 2 of 2 slots taken" in one.text


def test_blindness_begins_and_ends() -> None:
    blind, seeing = notices.blind(900.0, Moment(0, 1000.0)), notices.seeing(900.0, Moment(0, 1100.0))
    assert "100 s" in blind.text
    assert (blind.kind, blind.resolves, seeing.kind, seeing.resolves) == ("blind", False, "blind", True)
    assert notices.is_blind_after([blind.id])
    assert notices.is_blind_after([seeing.id, blind.id, "1f-migrate-restored"])
    assert not notices.is_blind_after([blind.id, seeing.id])
    assert not notices.is_blind_after([])


def test_long_texts_and_many_tasks_are_cut() -> None:
    drive = Notifying(*(task(f"t{number}" + "x" * 100) for number in range(90)))
    for notice in drive.notices(lambda: drive.on(MIGRATE)):
        document = notice.to_dict()
        assert len(document["text"]) <= 1000
        assert len(document["tasks"]) <= 50
