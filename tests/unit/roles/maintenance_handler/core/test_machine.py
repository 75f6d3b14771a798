# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incident's state machine: what is drained and restored when, in which order, and with how much time.

Tests set the time. Actions of the machine are compared as text: "drain lb", "end restore lb", "close".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from maintenance_handler._vm.maintenance import (
    DEFAULT_NOTICE,
    MAINTENANCE_EVENT_KEY,
    MIGRATE,
    PREEMPT,
    STOP,
    TERMINATE,
    UPCOMING_MAINTENANCE_KEY,
    WINDOW,
    format_time,
)
from maintenance_handler._vm.records import replace
from maintenance_handler.core.actions import Limit, Start
from maintenance_handler.core.condition import RETRY_PAUSE
from maintenance_handler.core.incident import FAILED, NOT_STARTED, OK, TIMEOUT, held, not_restored
from maintenance_handler.core.observations import Acknowledged, Began, Finished, RetryWanted, ShutdownBegan, Tick
from maintenance_handler.core.plan import RESERVE_MOST
from maintenance_handler.core.tasks import GRACE, SKIP_LATER, Task
from support.incidents import Drive, drained, task

LB = task("lb", MIGRATE, TERMINATE, PREEMPT, stage=10)
APP = task("app", MIGRATE, TERMINATE, PREEMPT, stage=20)
DB = task("db", MIGRATE, TERMINATE, PREEMPT, stage=30)
HOUR = 3600.0
DAY = 86400.0


class TestDrainAndRestore:
    """Drain and restore are a pair."""

    def test_an_event_drains_and_its_end_restores(self) -> None:
        drive = Drive(LB)
        assert drive.on(MIGRATE) == ["drain lb"]
        assert drive.phase == "draining"
        assert drive.ends("lb") == []
        assert drive.phase == "drained"
        assert drive.off(MIGRATE) == ["restore lb"]
        assert drive.phase == "restoring"
        assert drive.ends("lb") == ["close"]
        assert drive.state.incident is None

    def test_stages_ascend_to_drain_and_descend_to_restore(self) -> None:
        drive = Drive(DB, LB, APP)
        assert drive.on(MIGRATE) == ["drain lb"]
        assert drive.ends("lb") == ["drain app"]
        assert drive.ends("app") == ["drain db"]
        assert drive.ends("db") == []
        assert drive.off(MIGRATE) == ["restore db"]
        assert drive.ends("db") == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_tasks_of_a_stage_run_side_by_side(self) -> None:
        drive = Drive(task("a", stage=1), task("b", stage=1), task("c", stage=2))
        assert drive.on(MIGRATE) == ["drain a", "drain b"]
        assert drive.ends("b") == []
        assert drive.ends("a") == ["drain c"]
        assert drive.ends("c") == []
        assert drive.off(MIGRATE) == ["restore c"]
        assert drive.ends("c") == ["restore a", "restore b"]
        assert drive.ends("a") == []
        assert drive.ends("b") == ["close"]

    def test_a_task_for_other_events_is_left_alone(self) -> None:
        drive = Drive(LB, task("spot", PREEMPT))
        assert drive.on(MIGRATE) == ["drain lb"]
        assert drive.ends("lb") == []
        assert drive.off(MIGRATE) == ["restore lb"]

    def test_task_that_was_not_started_is_not_restored(self) -> None:
        """The event is over before the second stage: only the first one is taken back."""
        drive = Drive(LB, APP)
        assert drive.on(MIGRATE) == ["drain lb"]
        assert drive.off(MIGRATE) == ["end drain lb"]
        assert drive.ends("lb", FAILED) == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_a_task_without_restore_is_not_restored(self) -> None:
        drive = drained(LB, task("log", stage=20, restore=False))
        assert drive.off(MIGRATE) == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    @pytest.mark.parametrize("outcome", [OK, FAILED])
    def test_a_task_without_restore_runs_before_each_event_of_an_incident(self, outcome: str) -> None:
        """A window keeps an incident open for days, with other events before it."""
        drive = Drive(LB, task("log", MIGRATE, WINDOW, stage=20, lead=HOUR, restore=False))
        drive.window(2 * DAY)
        for _event in range(2):
            assert drive.on(MIGRATE) == ["drain lb"]
            assert drive.ends("lb") == ["drain log"]
            assert drive.ends("log", outcome) == []
            assert drive.restart() == []
            assert drive.off(MIGRATE) == ["restore lb"]
            assert drive.ends("lb") == []
            assert (drive.phase, held(drive.incident)) == ("announced", ())
            assert drive.restart() == []
        assert drive.wait(2 * DAY - HOUR) == ["drain log"]

    def test_a_task_without_restore_runs_once_for_events_that_follow_each_other(self) -> None:
        drive = drained(task("log", MIGRATE, PREEMPT, restore=False))
        assert drive.on(PREEMPT) == []
        assert drive.off(MIGRATE) == []
        assert drive.phase == "drained"
        assert drive.off(PREEMPT) == ["close"]

    def test_a_task_without_restore_runs_again_if_the_event_is_back_during_a_restore(self) -> None:
        drive = drained(LB, task("log", stage=20, restore=False))
        assert drive.off(MIGRATE) == ["restore lb"]
        assert drive.on(MIGRATE) == ["end restore lb"]
        assert drive.ends("lb", FAILED) == ["drain lb"]
        assert drive.ends("lb") == ["drain log"]

    def test_failed_drain_is_restored(self) -> None:
        """It was started, and may have changed something."""
        drive = Drive(LB)
        drive.on(MIGRATE)
        assert drive.ends("lb", FAILED) == []
        assert held(drive.incident) == ("lb",)
        assert drive.off(MIGRATE) == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_repeated_announcement_does_not_drain_again(self) -> None:
        """A node was drained twice (aws/aws-node-termination-handler#146)."""
        drive = Drive(LB)
        assert drive.on(MIGRATE) == ["drain lb"]
        assert drive.on(MIGRATE) == []
        assert drive.ends("lb") == []
        assert drive.on(MIGRATE) == []
        assert drive.wait(30.0) == []
        assert drive.on(MIGRATE) == []
        assert drive.steps() == ["drain lb: ok"]

    def test_task_is_restored_once(self) -> None:
        drive = drained(LB, APP)
        assert drive.off(MIGRATE) == ["restore app"]
        assert drive.off(MIGRATE) == []
        assert drive.ends("app") == ["restore lb"]
        assert drive.off(MIGRATE) == []
        assert drive.ends("lb") == ["close"]
        assert drive.off(MIGRATE) == []

    def test_failed_restore_does_not_block_others(self) -> None:
        drive = drained(LB, APP)
        drive.off(MIGRATE)
        assert drive.ends("app", FAILED) == ["restore lb"]
        assert drive.ends("lb") == []
        assert drive.phase == "not restored"

    def test_an_event_without_any_task_opens_and_closes(self) -> None:
        drive = Drive(task("spot", PREEMPT))
        assert drive.on(MIGRATE) == []
        assert drive.phase == "announced"
        assert drive.off(MIGRATE) == ["close"]

    def test_nothing_happens_without_a_signal(self) -> None:
        drive = Drive(LB)
        assert drive.off(MIGRATE) == drive.no_window() == drive.wait(HOUR) == []
        assert drive.state == Drive(LB).state

    def test_end_of_an_unknown_event_changes_nothing(self) -> None:
        drive = drained(LB)
        before = drive.incident
        assert drive.see(Finished(99, FAILED)) == []
        assert drive.see(Finished(1, FAILED)) == []
        assert drive.incident == before

    def test_task_wanted_by_another_event_stays_drained(self) -> None:
        """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
        drive = Drive(task("both", MIGRATE, PREEMPT), task("one", MIGRATE))
        assert drive.on(MIGRATE) == ["drain both", "drain one"]
        drive.ends("both")
        drive.ends("one")
        assert drive.on(PREEMPT) == []
        assert drive.off(MIGRATE) == ["restore one"]
        assert drive.ends("one") == []
        assert drive.phase == "drained"
        assert drive.off(PREEMPT) == ["restore both"]
        assert drive.ends("both") == ["close"]


class TestEventEndsDuringDrain:
    def test_ends_the_drain_and_restores(self) -> None:
        """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
        drive = Drive(LB, APP)
        drive.on(MIGRATE)
        drive.ends("lb")
        assert drive.off(MIGRATE) == ["end drain app"]
        assert drive.see(Tick()) == []
        assert drive.ends("app", FAILED, detail="ended by SIGTERM") == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["close"]
        assert drive.steps() == [
            "drain lb: ok",
            "drain app: cancelled",
            "restore app: ok",
            "restore lb: ok",
        ]

    def test_restore_waits_for_the_end_of_the_drain(self) -> None:
        drive = Drive(task("slow", stage=10), task("quick", stage=10), task("first", stage=5))
        drive.on(MIGRATE)
        drive.ends("first")
        drive.ends("quick")
        assert drive.off(MIGRATE) == ["end drain slow"]
        assert drive.ends("slow", TIMEOUT) == ["restore slow", "restore quick"]

    def test_closes_the_incident_of_a_task_without_restore(self) -> None:
        drive = Drive(task("log", restore=False))
        drive.on(MIGRATE)
        assert drive.off(MIGRATE) == ["end drain log"]
        assert drive.ends("log", FAILED) == ["close"]

    def test_drain_that_succeeds_although_asked_to_end_is_restored(self) -> None:
        drive = Drive(LB)
        drive.on(MIGRATE)
        drive.off(MIGRATE)
        assert drive.ends("lb", OK) == ["restore lb"]
        assert drive.steps() == ["drain lb: ok", "restore lb: running"]

    def test_new_event_during_the_end_of_a_drain_drains_again(self) -> None:
        drive = Drive(LB)
        drive.on(MIGRATE)
        assert drive.off(MIGRATE) == ["end drain lb"]
        assert drive.on(PREEMPT) == []
        assert drive.ends("lb", FAILED) == ["drain lb"]
        assert drive.ends("lb") == []
        assert drive.off(PREEMPT) == ["restore lb"]


class TestEventDuringRestore:
    def test_ends_the_restore_and_drains_again(self) -> None:
        """A second event crashed the handler or was lost (aws/aws-node-termination-handler#307)."""
        drive = drained(LB, APP)
        assert drive.off(MIGRATE) == ["restore app"]
        assert drive.on(PREEMPT) == ["end restore app"]
        assert drive.phase == "draining"
        assert drive.ends("app", FAILED) == ["drain app"]
        assert drive.ends("app") == []
        assert drive.off(PREEMPT) == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_drains_restored_tasks_at_once(self) -> None:
        drive = drained(LB, APP)
        drive.off(MIGRATE)
        assert drive.ends("app") == ["restore lb"]
        assert drive.on(PREEMPT) == ["end restore lb"]
        assert drive.ends("lb", FAILED) == ["drain lb"]
        assert drive.ends("lb") == ["drain app"]

    def test_restore_that_finished_in_time_counts(self) -> None:
        drive = drained(LB)
        drive.off(MIGRATE)
        assert drive.on(PREEMPT) == ["end restore lb"]
        assert drive.ends("lb", OK) == ["drain lb"]

    def test_that_ends_before_the_restore_does_restores_again(self) -> None:
        drive = drained(LB)
        drive.off(MIGRATE)
        assert drive.on(PREEMPT) == ["end restore lb"]
        assert drive.off(PREEMPT) == []
        assert drive.ends("lb", FAILED) == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_does_not_wait_for_the_restore_of_a_later_stage(self) -> None:
        drive = drained(LB, APP, task("db", MIGRATE, stage=30))
        drive.off(MIGRATE)
        drive.ends("db")
        drive.ends("app")
        assert drive.on(PREEMPT) == ["end restore lb"]
        assert drive.ends("lb", FAILED) == ["drain lb"]

    def test_directly_after_another_is_the_same_incident(self) -> None:
        drive = drained(LB)
        drive.off(MIGRATE)
        drive.on(TERMINATE)
        drive.ends("lb", FAILED)
        drive.ends("lb")
        drive.off(TERMINATE)
        assert drive.ends("lb") == ["close"]
        (incident,) = drive.closed
        assert [past.event for past in incident.past] == [MIGRATE, TERMINATE]


class TestBudget:
    """Deadlines are budgets."""

    def test_task_has_its_timeout_if_there_is_time(self) -> None:
        drive = Drive(task("a", timeout=20))
        drive.on(MIGRATE)
        assert drive.seconds("a") == 20.0
        assert drive.running("a").left == 60.0

    def test_stages_share_too_short_a_notice_proportionally(self) -> None:
        """Others have no deadline, or one for all events."""
        drive = Drive(task("a", stage=1, timeout=60), task("b", stage=2, timeout=120))
        drive.on(MIGRATE)
        # With the moments that they have to end.
        assert drive.seconds("a") == pytest.approx(59.0 * 62 / 184 - GRACE)
        drive.ends("a", TIMEOUT, after=59.0 * 62 / 184)
        assert drive.seconds("b") == pytest.approx(59.0 * 122 / 184 - GRACE)

    @pytest.mark.parametrize("timeout", [0.1, 3.0, 15.0, 27.0])
    def test_task_gets_its_whole_timeout_if_the_notice_allows_it(self, timeout: float) -> None:
        """A timeout of 15 s ended a task after 13.0 s."""
        drive = Drive(task("a", PREEMPT, timeout=timeout))
        drive.on(PREEMPT)
        assert drive.seconds("a") == pytest.approx(timeout)
        assert drive.running("a").until - drive.now.clock == pytest.approx(timeout + min(GRACE, timeout / 4))

    def test_unused_time_of_a_stage_goes_to_the_next(self) -> None:
        drive = Drive(task("a", stage=1, timeout=60), task("b", stage=2, timeout=120))
        drive.on(MIGRATE)
        drive.ends("a", after=1.0)
        assert drive.seconds("b") == pytest.approx(58.0 - GRACE)

    def test_a_stage_is_as_long_as_its_longest_task(self) -> None:
        drive = Drive(task("a", stage=1, timeout=30), task("b", stage=1, timeout=60), task("c", stage=2, timeout=58))
        drive.on(MIGRATE)
        part = 59.0 / (62 + 60)
        assert drive.seconds("a") == pytest.approx(part * 62 - GRACE)
        assert drive.seconds("b") == pytest.approx(part * 62 - GRACE)

    def test_a_short_task_is_not_shortened_for_a_long_one_beside_it(self) -> None:
        drive = Drive(task("flush", PREEMPT, timeout=8), task("app", STOP, timeout=300))
        drive.on(STOP)
        assert drive.seconds("app") == 300.0
        drive.on(PREEMPT)
        assert drive.seconds("flush") == 8.0
        # Both within the notice of the preemption.
        assert drive.seconds("app") == pytest.approx(29.0 - GRACE)

    def test_time_is_reserved_before_the_deadline(self) -> None:
        drive = Drive(task("a", TERMINATE, timeout=2 * HOUR))
        drive.on(TERMINATE)
        assert drive.seconds("a") == HOUR - RESERVE_MOST - GRACE

    def test_reserve_is_smaller_for_a_short_notice(self) -> None:
        drive = Drive(task("a", timeout=60), notice={MIGRATE: 2.0, TERMINATE: 2.0, PREEMPT: 2.0, WINDOW: 2.0})
        drive.on(MIGRATE)
        assert drive.running("a").until - drive.now.clock == pytest.approx(1.9)

    def test_tasks_get_their_timeouts_after_the_deadline(self) -> None:
        """The event is late by an unknown time."""
        drive = Drive(task("a", stage=1, timeout=20), task("b", stage=2, timeout=20))
        drive.on(MIGRATE)
        drive.ends("a", after=70.0)
        assert drive.seconds("b") == 20.0
        assert drive.running("b").left == -10.0

    def test_event_without_a_deadline_leaves_timeouts_unchanged(self) -> None:
        drive = Drive(task("a", WINDOW, timeout=300))
        assert drive.window(None) == ["drain a"]
        assert drive.seconds("a") == 300.0
        assert drive.running("a").left is None

    def test_restore_has_no_deadline(self) -> None:
        drive = drained(task("a", timeout=20, restore_timeout=300))
        drive.wait(50.0)
        drive.off(MIGRATE)
        assert drive.seconds("a") == 300.0
        assert drive.running("a").left is None

    def test_restore_timeout_defaults_to_the_drain_timeout(self) -> None:
        drive = drained(task("a", timeout=17))
        drive.off(MIGRATE)
        assert drive.seconds("a") == 17.0


class TestSecondEvent:
    def test_with_a_shorter_deadline_shortens_running_tasks_and_drains_once(self) -> None:
        """A second event crashed the handler or was lost (aws/aws-node-termination-handler#307)."""
        drive = Drive(task("a", TERMINATE, PREEMPT, stage=1, timeout=600), task("b", TERMINATE, stage=2, timeout=600))
        drive.on(TERMINATE)
        assert drive.seconds("a") == 600.0
        drive.wait(100.0)
        assert drive.on(PREEMPT) == ["limit drain a"]
        # Its 502 s and the 602 s of the stage after it share the 29 s that are left.
        assert drive.seconds("a") == pytest.approx(29.0 * 502 / 1104 - GRACE, abs=0.001)
        (limit,) = drive.actions
        assert isinstance(limit, Limit)
        assert limit.until == drive.running("a").until
        assert drive.ends("a", after=5.0) == ["drain b"]
        assert drive.seconds("b") == pytest.approx(24.0 - GRACE)

    def test_with_a_later_deadline_changes_no_timeout(self) -> None:
        drive = Drive(task("a", PREEMPT, TERMINATE, timeout=25))
        drive.on(PREEMPT)
        assert drive.on(TERMINATE) == []
        assert drive.seconds("a") == 25.0

    def test_with_a_shorter_deadline_keeps_tasks_that_fit(self) -> None:
        drive = Drive(task("a", TERMINATE, PREEMPT, timeout=20))
        drive.on(TERMINATE)
        assert drive.on(PREEMPT) == []
        assert drive.seconds("a") == 20.0

    def test_preemption_during_a_migration_is_one_incident(self) -> None:
        drive = Drive(LB, APP, task("spot", PREEMPT, stage=5))
        assert drive.on(MIGRATE) == ["drain lb"]
        assert drive.ends("lb") == ["drain app"]
        assert drive.on(PREEMPT) == ["limit drain app", "drain spot"]
        assert drive.ends("app") == []
        assert drive.ends("spot") == []
        assert drive.off(MIGRATE) == []
        assert drive.off(PREEMPT) == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["restore spot"]
        assert drive.ends("spot") == ["close"]

    def test_termination_instead_of_a_migration_on_the_same_key(self) -> None:
        """`maintenance-event` goes from MIGRATE to TERMINATE without NONE in between."""
        drive = Drive(LB, task("m", MIGRATE, stage=20), task("t", TERMINATE, stage=30))
        drive.on(MIGRATE)
        drive.ends("lb")
        drive.ends("m")
        assert drive.on(TERMINATE) == ["drain t"]
        assert drive.running("t").left == HOUR
        assert drive.ends("t") == ["restore m"]
        assert drive.ends("m") == []
        assert drive.phase == "drained"
        assert drive.off(TERMINATE) == ["restore t"]

    def test_window_and_the_migration_in_it_are_one_incident(self) -> None:
        drive = Drive(task("db", WINDOW, MIGRATE, lead=600, stage=10), LB)
        assert drive.window(HOUR) == []
        assert drive.wait(HOUR - 600) == ["drain db"]
        drive.ends("db")
        drive.wait(600)
        assert drive.on(MIGRATE) == ["drain lb"]
        drive.ends("lb")
        assert drive.off(MIGRATE) == ["restore lb"]
        assert drive.ends("lb") == []
        assert drive.no_window() == ["restore db"]
        assert drive.ends("db") == ["close"]
        assert len(drive.closed) == 1

    def test_removed_deadline_does_not_extend_running_tasks(self) -> None:
        drive = Drive(task("a", TERMINATE, PREEMPT, timeout=600))
        drive.on(TERMINATE)
        drive.on(PREEMPT)
        before = drive.running("a").until
        assert drive.off(PREEMPT) == []
        assert drive.running("a").until == before
        assert drive.ends("a") == []


class TestUnknownValue:
    def test_is_handled_as_the_configured_event(self) -> None:
        """Scripts compare with values that never occur, such as `TERMINATE`."""
        drive = Drive(LB)
        assert drive.hear(MAINTENANCE_EVENT_KEY, "HOST_IS_ON_FIRE") == ["drain lb"]
        assert drive.running("lb").event == TERMINATE


class TestRetries:
    def test_failed_drain_is_retried_after_a_pause(self) -> None:
        drive = Drive(task("a", retries=1, timeout=20), task("b", stage=60))
        drive.on(MIGRATE)
        assert drive.ends("a", FAILED, after=2.0) == []
        assert drive.wait(RETRY_PAUSE * 0.9) == []
        assert drive.wait(RETRY_PAUSE * 0.2) == ["drain a (attempt 2)"]
        assert drive.ends("a") == ["drain b"]

    def test_all_attempts_share_the_timeout(self) -> None:
        drive = Drive(task("a", retries=5, timeout=20))
        drive.on(MIGRATE)
        drive.ends("a", FAILED, after=4.0)
        drive.wait(RETRY_PAUSE)
        assert drive.seconds("a") == 15.0
        drive.ends("a", FAILED, after=4.0)
        drive.wait(RETRY_PAUSE)
        assert drive.seconds("a") == 10.0

    def test_attempts_are_limited_by_the_configuration(self) -> None:
        drive = Drive(task("a", retries=2), task("b", stage=60))
        drive.on(MIGRATE)
        drive.ends("a", FAILED)
        assert drive.wait(RETRY_PAUSE) == ["drain a (attempt 2)"]
        drive.ends("a", FAILED)
        assert drive.wait(RETRY_PAUSE) == ["drain a (attempt 3)"]
        assert drive.ends("a", FAILED) == ["drain b"]

    def test_no_retry_without_enough_time(self) -> None:
        drive = Drive(task("a", retries=5, timeout=20), task("b", stage=60))
        drive.on(MIGRATE)
        assert drive.ends("a", TIMEOUT, after=19.5) == ["drain b"]

    def test_restore_is_retried_before_the_next_stage(self) -> None:
        drive = drained(task("a", stage=1), task("b", stage=2, retries=1))
        drive.off(MIGRATE)
        assert drive.ends("b", FAILED) == []
        assert drive.wait(RETRY_PAUSE) == ["restore b (attempt 2)"]
        assert drive.ends("b", FAILED) == ["restore a"]

    def test_attempts_are_counted_anew_for_a_new_event(self) -> None:
        """After the event came back, a task has all its attempts and all its time again."""
        drive = Drive(task("a", retries=1, timeout=20))
        drive.on(MIGRATE)
        drive.ends("a", FAILED, after=5.0)
        drive.wait(RETRY_PAUSE)
        drive.ends("a", FAILED, after=5.0)
        drive.off(MIGRATE)
        drive.ends("a")
        assert drive.on(MIGRATE) == ["drain a"]
        drive.ends("a", FAILED, after=5.0)
        assert drive.wait(RETRY_PAUSE) == ["drain a (attempt 2)"]
        assert drive.seconds("a") == 14.0

    def test_end_of_the_event_ends_the_retries(self) -> None:
        drive = Drive(task("a", retries=3))
        drive.on(MIGRATE)
        drive.ends("a", FAILED)
        assert drive.off(MIGRATE) == ["restore a"]

    def test_retry_pause_does_not_delay_other_tasks_of_the_stage(self) -> None:
        drive = Drive(task("a", retries=1), task("b"))
        drive.on(MIGRATE)
        assert drive.ends("a", FAILED) == []
        assert drive.wait(RETRY_PAUSE) == ["drain a (attempt 2)"]
        assert drive.steps()[1] == "drain b: running"


class TestOnFailure:
    def test_continues_with_the_next_stage_by_default(self) -> None:
        drive = Drive(LB, APP)
        drive.on(MIGRATE)
        assert drive.ends("lb", FAILED) == ["drain app"]

    @pytest.mark.parametrize("outcome", [FAILED, TIMEOUT])
    def test_stop_skips_the_stages_after_it(self, outcome: str) -> None:
        drive = Drive(replace(LB, on_failure=SKIP_LATER), APP, DB)
        drive.on(MIGRATE)
        assert drive.ends("lb", outcome) == []
        assert drive.skips() == [("app", "lb failed"), ("db", "lb failed")]
        assert drive.off(MIGRATE) == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_stop_does_not_end_its_own_stage(self) -> None:
        drive = Drive(task("a", on_failure=SKIP_LATER), task("b"), task("c", stage=60))
        drive.on(MIGRATE)
        assert drive.ends("a", FAILED) == []
        assert drive.ends("b") == []
        assert drive.skips() == [("c", "a failed")]

    def test_stop_waits_for_the_last_attempt(self) -> None:
        drive = Drive(task("a", on_failure=SKIP_LATER, retries=1), task("b", stage=60))
        drive.on(MIGRATE)
        assert drive.ends("a", FAILED) == []
        assert drive.skips() == []
        drive.wait(RETRY_PAUSE)
        assert drive.ends("a") == ["drain b"]

    def test_stop_of_a_task_for_another_event_is_ignored(self) -> None:
        drive = Drive(task("a", PREEMPT, on_failure=SKIP_LATER, stage=1), task("b", MIGRATE, PREEMPT, stage=2))
        drive.on(PREEMPT)
        drive.ends("a", FAILED)
        assert drive.skips() == [("b", "a failed")]
        assert drive.off(PREEMPT) == ["restore a"]
        drive.ends("a")
        assert drive.on(MIGRATE) == ["drain b"]

    @pytest.mark.parametrize("event, skips", [(MIGRATE, []), (TERMINATE, [("app", "lb failed")])])
    def test_stop_applies_to_the_configured_event(self, event: str, skips: list[tuple[str, str]]) -> None:
        drive = Drive(
            replace(LB, on=(MIGRATE, TERMINATE), on_failure={TERMINATE: SKIP_LATER}),
            replace(APP, on=(MIGRATE, TERMINATE)),
        )
        drive.on(event)
        drive.ends("lb", FAILED)
        assert drive.skips() == skips

    @pytest.mark.parametrize("event, seconds", [(MIGRATE, 15.0), (TERMINATE, 600.0), (PREEMPT, 20.0)])
    def test_timeout_depends_on_the_event(self, event: str, seconds: float) -> None:
        lb = replace(LB, on=(MIGRATE, TERMINATE, PREEMPT), timeout={MIGRATE: 15.0, TERMINATE: 600.0})
        drive = Drive(lb)
        drive.on(event)
        assert drive.seconds("lb") == pytest.approx(seconds)

    def test_stop_does_not_affect_earlier_stages(self) -> None:
        drive = Drive(task("a", PREEMPT, on_failure=SKIP_LATER, stage=1), task("b", MIGRATE, stage=1))
        drive.on(PREEMPT)
        drive.ends("a", FAILED)
        assert drive.on(MIGRATE) == ["drain b"]

    def test_new_event_runs_skipped_tasks(self) -> None:
        drive = Drive(replace(LB, on_failure=SKIP_LATER), APP)
        drive.on(MIGRATE)
        drive.ends("lb", FAILED)
        drive.off(MIGRATE)
        drive.ends("lb")
        assert drive.on(MIGRATE) == ["drain lb"]
        assert drive.ends("lb") == ["drain app"]


def window_at(start: float) -> str:
    """A window as it is announced, at a fixed time of the wall clock."""
    return f"maintenance_status PENDING\nwindow_start_time {format_time(start)}"


def reschedulable(task: Task, event: Mapping[str, Any]) -> bool:
    return task.when is None or bool(event["can_reschedule"])


class TestWhen:
    def test_false_skips_the_task_and_never_restores_it(self) -> None:
        drive = Drive(replace(LB, when="can_reschedule"), APP, applies=reschedulable)
        assert drive.on(MIGRATE) == ["drain app"]
        assert drive.skips() == [("lb", "when is false")]
        drive.ends("app")
        assert drive.off(MIGRATE) == ["restore app"]
        assert drive.ends("app") == ["close"]

    def test_true_runs_it(self) -> None:
        drive = Drive(task("a", WINDOW, when="can_reschedule"), applies=reschedulable)
        assert drive.window(DAY, can_reschedule=True) == ["drain a"]

    def test_is_evaluated_once_for_an_announcement(self) -> None:
        drive = Drive(task("a", when="can_reschedule"), applies=reschedulable)
        drive.on(MIGRATE)
        drive.on(MIGRATE)
        drive.wait(30.0)
        assert drive.skips() == [("a", "when is false")]

    def test_is_evaluated_again_after_a_changed_announcement(self) -> None:
        drive = Drive(task("a", WINDOW, when="can_reschedule"), applies=reschedulable)
        assert drive.window(DAY, can_reschedule=False) == []
        assert drive.window(DAY, can_reschedule=True) == ["drain a"]

    def test_false_for_one_event_does_not_skip_for_another(self) -> None:
        drive = Drive(task("a", MIGRATE, WINDOW, when="can_reschedule"), applies=reschedulable)
        assert drive.on(MIGRATE) == []
        assert drive.window(DAY, can_reschedule=True) == ["drain a"]

    def test_that_becomes_false_later_keeps_running_tasks(self) -> None:
        drive = Drive(task("a", WINDOW, when="can_reschedule"), applies=reschedulable)
        drive.window(DAY, can_reschedule=True)
        assert drive.window(DAY, can_reschedule=False) == []
        assert drive.ends("a") == []
        assert drive.phase == "drained"


class TestLead:
    def test_tasks_start_their_lead_before_a_window(self) -> None:
        """An event days away was handled at once (aws/aws-node-termination-handler#903), or never (#361)."""
        drive = Drive(task("a", WINDOW, lead=600))
        assert drive.window(3 * DAY) == []
        assert drive.phase == "announced"
        assert drive.wait(3 * DAY - 601) == []
        assert drive.wait(1) == ["drain a"]
        assert drive.running("a").left == pytest.approx(600)

    def test_without_a_lead_starts_at_once(self) -> None:
        drive = Drive(task("a", WINDOW))
        assert drive.window(3 * DAY) == ["drain a"]

    def test_starts_at_once_if_the_window_is_nearer_than_the_lead(self) -> None:
        drive = Drive(task("a", WINDOW, lead=600))
        assert drive.window(60) == ["drain a"]

    def test_tasks_start_their_lead_before_a_termination(self) -> None:
        drive = Drive(task("a", TERMINATE, lead=600), LB)
        assert drive.on(TERMINATE) == ["drain lb"]
        assert drive.ends("lb") == []
        assert drive.wait(HOUR - 601) == []
        assert drive.wait(2) == ["drain a"]

    def test_is_ignored_for_other_events(self) -> None:
        drive = Drive(task("a", TERMINATE, MIGRATE, lead=10))
        assert drive.on(MIGRATE) == ["drain a"]

    def test_of_a_lower_stage_does_not_delay_other_stages(self) -> None:
        drive = Drive(task("a", WINDOW, lead=600, stage=10), task("b", WINDOW, lead=3600, stage=20))
        drive.window(DAY)
        assert drive.wait(DAY - 3600) == ["drain b"]
        drive.ends("b")
        assert drive.wait(3000) == ["drain a"]
        drive.ends("a")
        assert drive.no_window() == ["restore b"]
        assert drive.ends("b") == ["restore a"]

    def test_window_that_moves_later_restores_and_waits_again(self) -> None:
        """An event days away was handled at once (aws/aws-node-termination-handler#903), or never (#361)."""
        drive = Drive(task("a", WINDOW, lead=600))
        drive.window(300)
        drive.ends("a")
        assert drive.window(2 * DAY) == ["restore a"]
        assert drive.ends("a") == []
        assert drive.phase == "announced"
        assert drive.wait(2 * DAY - 601) == []
        assert drive.wait(2) == ["drain a"]
        drive.ends("a")
        assert drive.no_window() == ["restore a"]
        assert drive.ends("a") == ["close"]

    def test_window_that_moves_later_ends_a_running_drain(self) -> None:
        drive = Drive(task("a", WINDOW, lead=600))
        drive.window(300)
        assert drive.window(2 * DAY) == ["end drain a"]
        assert drive.ends("a", FAILED) == ["restore a"]

    def test_window_that_moves_later_keeps_tasks_without_a_lead_drained(self) -> None:
        drive = Drive(task("a", WINDOW))
        drive.window(DAY)
        drive.ends("a")
        assert drive.window(2 * DAY) == []

    def test_moved_window_keeps_the_time_of_its_first_notice(self) -> None:
        drive = Drive(task("a", WINDOW, lead=600))
        drive.window(DAY)
        first = drive.now
        drive.wait(HOUR)
        drive.window(2 * DAY)
        assert [signal.noticed for signal in drive.incident.signals] == [first]

    def test_restore_gets_the_newest_document_of_its_event(self) -> None:
        drive = Drive(task("a", WINDOW), task("b", MIGRATE))
        drive.on(MIGRATE)
        drive.ends("b")
        for reason in ("FIRST", "SECOND"):
            drive.window(DAY, maintenance_reasons=[reason])
            drive.ends("a")
            assert drive.no_window() == ["restore a"]
            assert [action.event["reasons"] for action in drive.actions if isinstance(action, Start)] == [[reason]]
            drive.ends("a")

    def test_a_window_that_moves_earlier_starts_earlier(self) -> None:
        drive = Drive(task("a", WINDOW, lead=600))
        drive.window(2 * DAY)
        assert drive.window(HOUR) == []
        assert drive.wait(HOUR - 600) == ["drain a"]

    def test_a_window_that_moves_earlier_shortens_running_tasks(self) -> None:
        drive = Drive(task("a", WINDOW, timeout=900))
        drive.window(DAY)
        assert drive.seconds("a") == 900.0
        assert drive.window(61) == ["limit drain a"]
        assert drive.seconds("a") == pytest.approx(60.0 - GRACE)

    def test_a_window_cancelled_before_its_lead_starts_nothing(self) -> None:
        drive = Drive(task("a", WINDOW, lead=600))
        drive.window(DAY)
        assert drive.no_window() == ["close"]
        assert drive.wait(2 * DAY) == []

    def test_a_window_cancelled_after_the_drain_restores(self) -> None:
        drive = Drive(task("a", WINDOW))
        drive.window(DAY)
        drive.ends("a")
        assert drive.no_window() == ["restore a"]

    def test_completed_window_restores(self) -> None:
        drive = Drive(task("a", WINDOW))
        drive.window(DAY)
        drive.ends("a")
        assert drive.window(DAY, "COMPLETE") == ["restore a"]

    def test_window_that_starts_early_starts_all_tasks(self) -> None:
        drive = Drive(task("a", WINDOW, lead=600))
        drive.window(DAY)
        assert drive.window(DAY, "ONGOING") == ["drain a"]
        assert drive.running("a").left == 60.0
        drive.ends("a")
        assert drive.window(DAY, "ONGOING") == []
        assert drive.wait(HOUR) == []
        assert drive.window(-HOUR, "COMPLETE") == ["restore a"]

    def test_window_first_read_after_its_start_starts_all_tasks(self) -> None:
        drive = Drive(task("a", WINDOW, lead=10))
        assert drive.window(-5) == ["drain a"]

    def test_tasks_stay_drained_while_the_window_lasts(self) -> None:
        """Its deadline is assumed and passes; that is not the end of the window."""
        drive = Drive(task("a", WINDOW, lead=10))
        announced = window_at(drive.now.at - 5)
        drive.hear(UPCOMING_MAINTENANCE_KEY, announced)
        drive.ends("a")
        for _unused in range(5):
            assert drive.wait(60) == []
            assert drive.hear(UPCOMING_MAINTENANCE_KEY, announced) == []
        assert drive.phase == "drained"


class TestWallClock:
    """All timing is on the monotonic clock: the wall clock jumps during a migration."""

    def test_jump_does_not_move_the_deadline_of_an_event(self) -> None:
        drive = Drive(task("a", stage=1, timeout=40), task("b", stage=2, timeout=40))
        drive.on(MIGRATE)
        drive.wait(10)
        drive.set_wall_clock(+DAY)
        assert drive.on(MIGRATE) == []
        drive.ends("a")
        assert drive.running("b").left == 50.0

    @pytest.mark.parametrize("jump", [-HOUR, -5, 5, HOUR])
    def test_jump_does_not_move_the_deadline_of_a_window_with_started_tasks(self, jump: float) -> None:
        drive = Drive(task("a", WINDOW, lead=600, timeout=500), task("b", WINDOW, lead=600, stage=60))
        announced = window_at(drive.now.at + 590)
        assert drive.hear(UPCOMING_MAINTENANCE_KEY, announced) == ["drain a"]
        drive.wait(10)
        drive.set_wall_clock(jump)
        assert drive.hear(UPCOMING_MAINTENANCE_KEY, announced) == []
        assert drive.ends("a") == ["drain b"]
        assert drive.running("b").left == pytest.approx(580)

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    def test_started_window_stays_started(self, jump: float) -> None:
        drive = Drive(task("a", WINDOW, lead=10))
        announced = window_at(drive.now.at - 5)
        drive.hear(UPCOMING_MAINTENANCE_KEY, announced)
        drive.ends("a")
        drive.set_wall_clock(jump)
        assert drive.hear(UPCOMING_MAINTENANCE_KEY, announced) == []
        assert drive.wait(HOUR) == []

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    def test_corrected_clock_moves_the_start_of_a_window_days_ahead(self, jump: float) -> None:
        drive = Drive(task("a", WINDOW, lead=600))
        announced = window_at(drive.now.at + DAY)
        drive.hear(UPCOMING_MAINTENANCE_KEY, announced)
        drive.set_wall_clock(jump)
        assert drive.hear(UPCOMING_MAINTENANCE_KEY, announced) == []
        assert drive.wait(DAY - jump - 601) == []
        assert drive.wait(2) == ["drain a"]

    def test_corrected_clock_moves_a_window_that_was_moved_after_its_drain(self) -> None:
        drive = Drive(task("a", WINDOW, lead=600))
        drive.window(300)
        drive.ends("a")
        announced = window_at(drive.now.at + DAY)
        assert drive.hear(UPCOMING_MAINTENANCE_KEY, announced) == ["restore a"]
        drive.ends("a")
        drive.set_wall_clock(HOUR)
        assert drive.hear(UPCOMING_MAINTENANCE_KEY, announced) == []
        assert drive.wait(DAY - HOUR - 601) == []
        assert drive.wait(2) == ["drain a"]


class TestCrash:
    """The handler dies in the middle, and the next one of the same boot takes up its journal."""

    def test_interrupted_step_is_run_again(self) -> None:
        """A node was drained twice (aws/aws-node-termination-handler#146)."""
        drive = Drive(LB, APP)
        drive.on(MIGRATE)
        drive.ends("lb", after=1.0)
        drive.wait(4.0)
        assert drive.restart() == ["drain app"]
        assert drive.running("app").left == 55.0
        assert drive.steps() == ["drain lb: ok", "drain app: interrupted", "drain app: running"]
        assert drive.on(MIGRATE) == []
        assert drive.ends("app") == []
        assert drive.off(MIGRATE) == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_a_finished_step_is_not_run_again(self) -> None:
        drive = drained(LB, APP)
        assert drive.restart() == []
        assert drive.on(MIGRATE) == []
        assert drive.phase == "drained"

    def test_event_that_ended_in_the_meantime_is_restored(self) -> None:
        """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
        drive = drained(LB, APP)
        drive.restart()
        assert drive.off(MIGRATE) == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_interrupted_drain_of_an_ended_event_is_restored(self) -> None:
        drive = Drive(LB)
        drive.on(MIGRATE)
        drive.off(MIGRATE)
        assert drive.restart() == ["restore lb"]
        assert drive.steps() == ["drain lb: interrupted", "restore lb: running"]

    def test_an_interrupted_restore_is_run_again(self) -> None:
        drive = drained(LB, APP)
        drive.off(MIGRATE)
        assert drive.restart() == ["restore app"]
        assert drive.ends("app") == ["restore lb"]

    def test_failed_drain_keeps_its_number_of_attempts(self) -> None:
        drive = Drive(task("a", retries=1))
        drive.on(MIGRATE)
        drive.ends("a", FAILED)
        assert drive.restart() == []
        assert drive.wait(RETRY_PAUSE) == ["drain a (attempt 2)"]
        assert drive.ends("a", FAILED) == []
        assert drive.restart() == []


class TestReboot:
    """The monotonic clock restarts, and no signal counts until it is confirmed."""

    def test_waits_for_the_metadata_server(self) -> None:
        drive = drained(LB)
        assert drive.reboot() == []
        assert drive.wait(HOUR) == []
        assert held(drive.incident) == ("lb",)

    def test_without_an_announcement_everything_is_restored(self) -> None:
        """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
        drive = drained(LB, APP, event=TERMINATE)
        drive.reboot()
        assert drive.off(TERMINATE) == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_announced_event_is_resumed(self) -> None:
        drive = Drive(LB, APP)
        drive.on(TERMINATE)
        drive.ends("lb")
        drive.wait(5.0)
        assert drive.reboot(down_for=100.0) == []
        assert drive.on(TERMINATE) == ["drain app"]
        assert drive.running("app").left == pytest.approx(HOUR - 105)
        assert drive.steps() == ["drain lb: ok", "drain app: interrupted", "drain app: running"]

    def test_wall_clock_set_back_does_not_put_the_notice_into_the_future(self) -> None:
        drive = drained(LB, event=TERMINATE)
        drive.set_wall_clock(-HOUR)
        drive.reboot()
        assert drive.on(TERMINATE) == []
        assert drive.phase == "drained"
        assert drive.off(TERMINATE) == ["restore lb"]

    def test_interrupted_step_is_restored_after_the_event(self) -> None:
        drive = Drive(LB)
        drive.on(MIGRATE)
        drive.reboot()
        assert drive.off(MIGRATE) == ["restore lb"]

    def test_interrupted_restore_is_resumed(self) -> None:
        drive = drained(LB, APP)
        drive.off(MIGRATE)
        assert drive.reboot() == ["restore app"]

    def test_restore_waits_until_all_signals_are_confirmed(self) -> None:
        drive = drained(LB, task("db", WINDOW), event=MIGRATE)
        drive.window(DAY)
        drive.ends("db")
        drive.reboot()
        assert drive.off(MIGRATE) == []
        assert drive.no_window() == ["restore db"]

    def test_unconfirmed_signal_does_not_delay_a_drain_for_a_confirmed_one(self) -> None:
        """30 s of notice are too short to wait for another key."""
        drive = Drive(LB, task("db", WINDOW, PREEMPT))
        drive.window(DAY)
        drive.ends("db")
        drive.reboot()
        assert drive.on(PREEMPT) == ["drain lb"]
        assert drive.running("lb").left == 30.0
        assert drive.ends("lb") == []
        assert drive.off(PREEMPT) == []
        assert drive.no_window() == ["restore db"]
        assert drive.ends("db") == ["restore lb"]

    def test_unconfirmed_deadline_does_not_shorten_timeouts(self) -> None:
        drive = Drive(LB, task("a", PREEMPT))
        drive.on(MIGRATE)
        drive.ends("lb")
        drive.wait(57.0)
        drive.reboot(down_for=1.0)
        drive.on(PREEMPT)
        assert drive.running("a").left == 30.0
        assert drive.seconds("a") == 20.0

    def test_no_step_runs_while_it_waits(self) -> None:
        drive = Drive(LB)
        drive.on(MIGRATE)
        assert drive.phase == "draining"
        drive.reboot()
        assert drive.phase == "drained"

    def test_a_second_reboot_still_waits(self) -> None:
        drive = drained(LB)
        drive.reboot()
        drive.restart()
        assert drive.wait(HOUR) == []
        assert drive.reboot() == []
        assert drive.off(MIGRATE) == ["restore lb"]

    def test_deadline_of_a_window_is_converted_by_the_wall_clock(self) -> None:
        drive = Drive(task("a", WINDOW, lead=600))
        announced = window_at(drive.now.at + DAY)
        drive.hear(UPCOMING_MAINTENANCE_KEY, announced)
        drive.reboot(down_for=HOUR)
        assert drive.hear(UPCOMING_MAINTENANCE_KEY, announced) == []
        assert drive.wait(DAY - HOUR - 601) == []
        assert drive.wait(2) == ["drain a"]


class TestRehearsal:
    def test_ends_once_all_tasks_are_drained(self) -> None:
        """How to try it out was asked in aws/aws-node-termination-handler#110."""
        drive = Drive(LB, APP)
        assert drive.rehearse(MIGRATE) == ["drain lb"]
        assert drive.ends("lb") == ["drain app"]
        assert drive.ends("app") == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["close"]
        (past,) = drive.closed[0].past
        assert (past.event, past.rehearsal) == (MIGRATE, True)

    def test_ends_after_failed_drains(self) -> None:
        drive = Drive(task("a", retries=1), task("b", stage=60))
        drive.rehearse(MIGRATE)
        drive.ends("a", FAILED)
        assert drive.wait(RETRY_PAUSE) == ["drain a (attempt 2)"]
        assert drive.ends("a", FAILED) == ["drain b"]
        assert drive.ends("b", TIMEOUT) == ["restore b"]

    def test_of_an_event_without_tasks_ends_at_once(self) -> None:
        assert Drive(LB).rehearse(WINDOW) == ["close"]

    def test_does_not_wait_for_a_lead(self) -> None:
        drive = Drive(task("a", WINDOW, TERMINATE, lead=600))
        assert drive.rehearse(TERMINATE) == ["drain a"]

    def test_tasks_share_the_notice_of_the_event(self) -> None:
        drive = Drive(task("a", PREEMPT, timeout=60))
        drive.rehearse(PREEMPT)
        assert drive.seconds("a") == 29.0 - GRACE

    def test_merges_with_a_real_event(self) -> None:
        """Nothing is drained twice; tasks of the event stay drained, others are restored."""
        drive = Drive(task("both", MIGRATE, PREEMPT, stage=1), task("one", MIGRATE, stage=2))
        assert drive.rehearse(MIGRATE) == ["drain both"]
        assert drive.ends("both") == ["drain one"]
        assert drive.on(PREEMPT) == []
        assert drive.ends("one") == ["restore one"]
        assert drive.ends("one") == []
        assert drive.phase == "drained"
        assert drive.off(PREEMPT) == ["restore both"]
        assert drive.ends("both") == ["close"]

    def test_event_during_its_restore_drains_again(self) -> None:
        drive = Drive(LB)
        drive.rehearse(MIGRATE)
        assert drive.ends("lb") == ["restore lb"]
        assert drive.on(MIGRATE) == ["end restore lb"]
        assert drive.ends("lb", FAILED) == ["drain lb"]

    def test_ends_with_its_handler(self) -> None:
        drive = Drive(LB, APP)
        drive.rehearse(MIGRATE)
        drive.ends("lb")
        assert drive.restart() == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_ends_at_a_reboot(self) -> None:
        drive = Drive(LB)
        drive.rehearse(MIGRATE)
        assert drive.reboot() == ["restore lb"]


class TestReconfigured:
    def test_next_incident_has_the_new_tasks(self) -> None:
        drive = Drive(LB)
        assert drive.configure(APP) == []
        assert drive.on(MIGRATE) == ["drain app"]

    def test_started_task_keeps_its_definition(self) -> None:
        drive = Drive(LB, APP)
        drive.on(MIGRATE)
        drive.ends("lb")
        new = replace(LB, restore=("/new",)), replace(APP, restore=("/new",))
        assert drive.configure(*new) == []
        drive.ends("app")
        drive.off(MIGRATE)
        assert [action.task.restore for action in drive.actions if isinstance(action, Start)] == [APP.restore]
        drive.ends("app")
        assert [action.task.restore for action in drive.actions if isinstance(action, Start)] == [LB.restore]
        assert drive.ends("lb") == ["close"]
        assert drive.state.tasks == new

    def test_task_that_was_not_started_gets_the_new_definition(self) -> None:
        drive = Drive(LB, APP)
        drive.on(MIGRATE)
        drive.configure(LB, replace(APP, drain=("/new",)))
        drive.ends("lb")
        assert [action.task.drain for action in drive.actions if isinstance(action, Start)] == [("/new",)]

    def test_restored_task_gets_the_new_definition(self) -> None:
        """Also when its restore failed as often as it could."""
        for outcome in (OK, FAILED):
            drive = drained(task("a", retries=5, timeout=20), task("b", PREEMPT))
            drive.on(PREEMPT)
            drive.ends("b")
            drive.off(MIGRATE)
            drive.ends("a", FAILED, after=9.0)
            drive.wait(RETRY_PAUSE)
            drive.ends("a", outcome, after=9.5)
            drive.configure(task("a", drain=("/new",)), task("b", PREEMPT))
            assert drive.incident.task("a").drain == ("/new",)

    def test_removed_task_is_restored_if_it_was_started(self) -> None:
        drive = drained(LB, APP)
        assert drive.configure() == []
        assert drive.off(MIGRATE) == ["restore app"]
        assert drive.ends("app") == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_removed_task_is_not_started(self) -> None:
        drive = Drive(LB, APP)
        drive.on(MIGRATE)
        drive.configure(LB)
        assert drive.ends("lb") == []
        assert drive.phase == "drained"

    def test_added_task_for_an_announced_event_is_drained(self) -> None:
        drive = drained(LB)
        assert drive.configure(LB, APP) == ["drain app"]

    def test_new_condition_is_evaluated(self) -> None:
        drive = Drive(replace(LB, when="can_reschedule"), applies=reschedulable)
        assert drive.on(MIGRATE) == []
        assert drive.configure(LB) == ["drain lb"]

    def test_decision_about_a_started_task_is_kept(self) -> None:
        same = task("a", MIGRATE, WINDOW, when="can_reschedule")
        drive = Drive(same, applies=reschedulable)
        drive.on(MIGRATE)
        assert drive.window(DAY, can_reschedule=True) == ["drain a"]
        drive.ends("a")
        assert drive.configure(same) == []
        assert drive.no_window() == ["restore a"]


def unrestored(*tasks: Task, outcome: str = FAILED) -> Drive:
    """An incident whose event is over, and in which the first restore has failed."""
    drive = drained(*tasks)
    (started,) = drive.off(MIGRATE)
    drive.ends(started.partition(" ")[2], outcome, detail="exit status 1")
    return drive


class TestNotRestored:
    """A VM that stays drained must not be reported as healthy."""

    def test_an_incident_stays_open_until_the_restore_succeeds(self) -> None:
        drive = unrestored(LB)
        assert drive.phase == "not restored"
        assert held(drive.incident) == ("lb",)
        assert drive.wait(4.9) == []
        assert drive.wait(0.2) == ["restore lb (attempt 2)"]
        assert drive.phase == "restoring"
        assert [one.task for one in not_restored(drive.incident)] == ["lb"]
        assert drive.ends("lb") == ["close"]
        assert drive.closed[0].phase == "closed"

    def test_task_of_a_later_stage_is_restored_in_the_meantime(self) -> None:
        drive = unrestored(LB, APP)
        assert drive.running("lb").phase == "restore"
        assert drive.ends("lb") == []
        assert drive.phase == "not restored"
        assert held(drive.incident) == ("app",)

    def test_retries_come_first(self) -> None:
        drive = unrestored(task("lb", retries=1))
        assert drive.phase == "restoring"
        assert not_restored(drive.incident) == ()
        assert drive.wait(RETRY_PAUSE) == ["restore lb (attempt 2)"]
        drive.ends("lb", FAILED)
        assert drive.phase == "not restored"
        assert drive.wait(5.0) == ["restore lb (attempt 3)"]

    @pytest.mark.parametrize("outcome", [FAILED, TIMEOUT, NOT_STARTED])
    def test_pauses_grow_for_an_hour_up_to_ten_minutes(self, outcome: str) -> None:
        drive = unrestored(LB, outcome=outcome)
        pauses: list[float] = []
        while sum(pauses) < 3 * HOUR:
            pauses.append((drive.state.wake_at or 0.0) - drive.now.clock)
            assert drive.wait(pauses[-1])[0].startswith("restore lb (attempt ")
            drive.ends("lb", outcome)
        assert pauses[0] == 5.0
        assert pauses == sorted(pauses)
        in_first_hour = next(index for index in range(len(pauses)) if sum(pauses[:index]) >= HOUR)
        assert in_first_hour < 45
        assert set(pauses[in_first_hour + 1 :]) == {600.0}
        assert pauses[in_first_hour - 2] < 600.0

    def test_is_retried_at_once_on_request(self) -> None:
        drive = unrestored(LB)
        drive.wait(2 * HOUR)
        drive.ends("lb", FAILED)
        assert drive.see(RetryWanted(("other",))) == []
        assert drive.see(RetryWanted(("lb",)))[0].startswith("restore lb")
        assert drive.see(RetryWanted(("lb",))) == []
        # The pauses start again.
        drive.ends("lb", FAILED)
        assert drive.wait(4.9) == []
        assert len(drive.wait(0.2)) == 1

    def test_can_be_acknowledged(self) -> None:
        drive = unrestored(LB)
        assert drive.see(Acknowledged(("other",), "ann")) == []
        assert drive.see(Acknowledged(("lb",), "ann")) == ["close"]
        (last,) = [one for one in drive.closed[0].steps if one.phase == "restore"]
        assert (last.acknowledged_by, last.acknowledged_at) == ("ann", drive.now.at)
        assert held(drive.closed[0]) == not_restored(drive.closed[0]) == ()

    def test_acknowledgement_ends_a_running_retry(self) -> None:
        drive = unrestored(LB)
        drive.wait(5.0)
        assert drive.see(Acknowledged(("lb",), "ann")) == ["end restore lb"]
        assert drive.ends("lb", FAILED) == ["close"]

    def test_only_tasks_that_are_not_restored_can_be_acknowledged(self) -> None:
        drive = drained(LB)
        assert drive.see(Acknowledged(("lb",), "ann")) == []
        assert drive.off(MIGRATE) == ["restore lb"]
        assert drive.see(Acknowledged(("lb",), "ann")) == []
        assert drive.ends("lb") == ["close"]
        assert not any(one.acknowledged_by for one in drive.closed[0].steps)

    def test_is_retried_at_once_after_a_restart(self) -> None:
        drive = unrestored(LB)
        drive.wait(HOUR)
        drive.ends("lb", FAILED)
        assert drive.restart()[0].startswith("restore lb")
        drive.ends("lb", FAILED)
        assert drive.phase == "not restored"

    def test_is_retried_at_once_after_a_reboot(self) -> None:
        drive = unrestored(LB)
        assert drive.reboot() == ["restore lb (attempt 2)"]
        assert drive.ends("lb") == ["close"]

    def test_interrupted_retry_is_not_healthy(self) -> None:
        drive = unrestored(LB)
        drive.wait(5.0)
        assert drive.restart() == ["restore lb"]
        assert [one.task for one in not_restored(drive.incident)] == ["lb"]

    def test_new_configuration_can_fix_it(self) -> None:
        drive = unrestored(LB)
        mended = replace(LB, restore=("/mended",), timeout=7.0)
        assert drive.configure(mended) == ["restore lb (attempt 2)"]
        (start,) = [action for action in drive.actions if isinstance(action, Start)]
        assert start.task == mended
        assert drive.seconds("lb") >= 7.0
        assert drive.ends("lb") == ["close"]

    def test_new_configuration_without_a_restore_does_not_end_it(self) -> None:
        drive = unrestored(LB)
        assert drive.configure(replace(LB, restore=())) == []
        assert drive.configure() == []
        assert drive.wait(5.0) == ["restore lb (attempt 2)"]

    def test_reload_of_the_same_configuration_keeps_its_pause(self) -> None:
        drive = unrestored(LB)
        assert drive.configure(LB) == []

    def test_new_event_drains_again_after_a_restore_that_ran(self) -> None:
        drive = unrestored(LB)
        assert drive.on(MIGRATE) == ["drain lb"]
        assert not_restored(drive.incident) == ()
        drive.ends("lb")
        assert drive.off(MIGRATE) == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_new_event_does_not_drain_again_if_the_restore_did_not_start(self) -> None:
        drive = unrestored(LB, outcome=NOT_STARTED)
        assert drive.on(MIGRATE) == []
        assert drive.phase == "drained"
        assert [one.task for one in not_restored(drive.incident)] == ["lb"]
        assert drive.wait(50.0) == []
        assert drive.off(MIGRATE) == ["restore lb (attempt 2)"]

    def test_new_event_drains_again_if_one_of_several_restores_ran(self) -> None:
        drive = unrestored(LB)
        drive.wait(5.0)
        drive.ends("lb", NOT_STARTED)
        assert drive.on(MIGRATE) == ["drain lb"]

    def test_new_event_ends_a_running_retry(self) -> None:
        drive = unrestored(LB)
        drive.wait(5.0)
        assert drive.on(MIGRATE) == ["end restore lb"]
        assert drive.ends("lb", FAILED) == ["drain lb"]

    def test_drain_of_another_task_precedes_the_next_retry(self) -> None:
        drive = unrestored(LB, task("spot", PREEMPT))
        assert drive.on(PREEMPT) == ["drain spot", "drain lb"] or drive.phase == "draining"

    def test_acknowledged_task_is_drained_for_the_next_event(self) -> None:
        drive = unrestored(LB, task("other", PREEMPT, restore=True))
        drive.on(PREEMPT)
        for name in ("lb", "other"):
            if any(one.task == name and one.open for one in drive.incident.steps):
                drive.ends(name)
        assert held(drive.incident) == ("lb", "other")


class TestFlapping:
    """Signals that come and go made an incident of 1,126 steps."""

    def flap(self, drive: Drive, times: int, *, ends: bool) -> int:
        """Events that come and go every 60 ms. Answers how many drains they have started."""
        drains = 0
        for index in range(times):
            words = drive.on(MIGRATE) if index % 2 == 0 else drive.off(MIGRATE)
            words += drive.wait(0.06)
            drains += words.count("drain lb")
            if drive.state.incident is not None:
                for one in drive.state.incident.steps:
                    if one.open and (ends or one.ending):
                        words = drive.ends(one.task, OK if ends else FAILED)
                        drains += words.count("drain lb")
        return drains

    @pytest.mark.parametrize("ends", [True, False], ids=["quick tasks", "slow tasks"])
    def test_task_stays_drained_between_frequent_events(self, ends: bool) -> None:
        drive = Drive(LB)
        assert self.flap(drive, 1501, ends=ends) < 15
        assert len(drive.incident.steps) < 30
        assert len(drive.incident.past) <= 30
        assert drive.incident.past_dropped > 50

    def test_task_is_restored_after_a_pause_without_events(self) -> None:
        drive = Drive(LB)
        self.flap(drive, 200, ends=True)
        drive.off(MIGRATE)
        assert drive.phase == "drained"
        assert drive.wait(301.0) == ["restore lb"]
        assert drive.ends("lb") == ["close"]

    def test_events_on_different_days_do_not_count(self) -> None:
        drive = Drive(LB)
        for _unused in range(20):
            drive.on(MIGRATE)
            drive.ends("lb")
            assert drive.off(MIGRATE) == ["restore lb"]
            assert drive.ends("lb") == ["close"]
            drive.wait(DAY)

    def test_rehearsals_do_not_count(self) -> None:
        drive = Drive(LB)
        for _unused in range(20):
            drive.rehearse(MIGRATE)
            assert drive.ends("lb") == ["restore lb"]
            assert drive.ends("lb") == ["close"]


class TestCancelled:
    """An event that was taken back reads differently from one that came."""

    def last(self, drive: Drive) -> bool:
        incident = drive.state.incident or drive.closed[-1]
        return incident.past[-1].cancelled

    def test_event_that_ends_before_its_deadline_is_cancelled(self) -> None:
        drive = drained(LB)
        drive.off(MIGRATE)
        assert self.last(drive)

    def test_event_that_ends_after_its_deadline_is_not_cancelled(self) -> None:
        drive = drained(LB)
        drive.wait(70.0)
        drive.off(MIGRATE)
        assert not self.last(drive)

    def test_event_that_ends_with_a_reboot_is_not_cancelled(self) -> None:
        drive = drained(LB, event=TERMINATE)
        drive.reboot()
        drive.off(TERMINATE)
        assert not self.last(drive)

    def test_future_window_that_ends_with_a_reboot_is_cancelled(self) -> None:
        drive = Drive(task("db", WINDOW, lead=600.0))
        drive.window(3 * DAY)
        drive.reboot()
        drive.no_window()
        assert self.last(drive)

    def test_rehearsal_is_not_cancelled(self) -> None:
        drive = Drive(LB)
        drive.rehearse(MIGRATE)
        drive.ends("lb")
        assert not self.last(drive)


class TestLateStart:
    """A step may have to wait for its start: for a user database, a file system, the journal's disk."""

    def test_time_of_a_step_counts_from_its_start(self) -> None:
        drive = Drive(task("lb", TERMINATE, timeout=15.0))
        drive.on(TERMINATE)
        given = drive.seconds("lb")
        drive.wait(10.0)
        assert drive.see(Began(drive.running("lb").number, 10.0)) == []
        assert drive.seconds("lb") == given
        drive.ends("lb", after=2.0)
        step = drive.incident.steps[0]
        assert step.finished is not None
        assert step.finished.clock - step.started.clock == 2.0

    def test_late_start_does_not_move_the_deadline(self) -> None:
        drive = Drive(task("lb", PREEMPT, timeout=15.0, stage=10), task("db", PREEMPT, timeout=10.0, stage=20))
        drive.on(PREEMPT)
        drive.wait(10.0)
        assert drive.see(Began(drive.running("lb").number, 10.0)) == ["limit drain lb"]
        # Of the 20 s that are left, the next stage has its part, and the reserve.
        assert 0 < drive.seconds("lb") < 15.0
        assert drive.ends("lb", TIMEOUT, after=drive.seconds("lb")) == ["drain db"]
        assert 0 < drive.seconds("db") <= 30.0 - (drive.now.clock - drive.incident.signals[0].noticed.clock)

    def test_ended_step_is_unchanged(self) -> None:
        drive = Drive(task("lb", TERMINATE))
        drive.on(TERMINATE)
        number = drive.running("lb").number
        drive.ends("lb", after=1.0)
        before = drive.incident
        assert drive.see(Began(number, 5.0)) == []
        assert drive.incident == before

    def test_step_can_be_ended_before_its_start(self) -> None:
        drive = Drive(task("lb", TERMINATE))
        drive.on(TERMINATE)
        number = drive.running("lb").number
        assert drive.off(TERMINATE) == ["end drain lb"]
        assert drive.see(Began(number, 1.0)) == []
        assert drive.ends("lb", NOT_STARTED) == ["restore lb"]


class TestShutdown:
    """The ACPI signal comes before the deadline that was assumed."""

    STOPPING = task("lb", PREEMPT, STOP, timeout=60.0)

    @pytest.mark.parametrize("event", [PREEMPT, STOP])
    def test_running_steps_get_less_time(self, event: str) -> None:
        drive = Drive(self.STOPPING, notice={**DEFAULT_NOTICE, PREEMPT: 120.0, STOP: 120.0})
        drive.on(event)
        drive.wait(5.0)
        assert drive.see(ShutdownBegan(30.0)) == ["limit drain lb"]
        assert drive.incident.deadline() == drive.now.clock + 30.0
        assert drive.see(ShutdownBegan(30.0)) == []

    def test_never_gives_more_time(self) -> None:
        drive = Drive(self.STOPPING)
        drive.on(PREEMPT)
        drive.wait(20.0)
        assert drive.see(ShutdownBegan(30.0)) == []
        assert drive.incident.deadline() == drive.now.clock + 10.0

    def test_repeated_announcement_does_not_restore_the_time(self) -> None:
        drive = Drive(self.STOPPING, notice={**DEFAULT_NOTICE, PREEMPT: 120.0})
        drive.on(PREEMPT)
        drive.see(ShutdownBegan(30.0))
        drive.on(PREEMPT)
        assert drive.incident.deadline() == drive.now.clock + 30.0

    @pytest.mark.parametrize("event", [MIGRATE, TERMINATE])
    def test_other_events_keep_their_time(self, event: str) -> None:
        """A user may reboot a VM whose termination is an hour away."""
        drive = drained(LB, event=event)
        before = drive.incident.deadline()
        drive.see(ShutdownBegan(30.0))
        assert drive.incident.deadline() == before

    def test_opens_no_incident_and_ends_no_rehearsal(self) -> None:
        drive = Drive(self.STOPPING, notice={**DEFAULT_NOTICE, PREEMPT: 120.0})
        assert drive.see(ShutdownBegan(30.0)) == []
        assert drive.state.incident is None
        drive.rehearse(PREEMPT)
        before = drive.incident.deadline()
        drive.see(ShutdownBegan(30.0))
        assert drive.incident.deadline() == before
