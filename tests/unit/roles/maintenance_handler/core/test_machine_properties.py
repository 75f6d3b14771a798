# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Invariants of the state machine with any tasks, signals and failures, in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from maintenance_handler._vm.maintenance import EVENTS, MANUAL, MIGRATE, PREEMPT, TERMINATE, UPCOMING_MAINTENANCE_KEY
from maintenance_handler.core.actions import Action, Close, End, Limit, Start
from maintenance_handler.core.incident import (
    CLOSED,
    FAILED,
    NOT_STARTED,
    OK,
    TIMEOUT,
    Incident,
    Step,
    held,
    last_steps,
    not_restored,
)
from maintenance_handler.core.observations import Acknowledged, Began, Finished, Observation, RetryWanted
from maintenance_handler.core.patience import Patience
from maintenance_handler.core.plan import RESERVE_MOST, RESERVE_SHARE
from maintenance_handler.core.tasks import CONTINUE, DRAIN, RESTORE, SKIP_LATER, Task
from maintenance_handler.core.trimming import MOST_PAST, MOST_STEPS
from support.incidents import SIGNALS, Drive, task

SLACK = 1e-6
# A process that is asked to end does so within this.
GRACE = 2.0


@st.composite
def some_tasks(draw: st.DrawFn) -> tuple[Task, ...]:
    return tuple(
        task(
            name,
            *draw(st.lists(st.sampled_from((*EVENTS, MANUAL)), min_size=1, max_size=4, unique=True)),
            stage=draw(st.integers(1, 3)),
            restore=draw(st.booleans()),
            timeout=draw(st.sampled_from([1.0, 20.0, 90.0, {MIGRATE: 1.0, TERMINATE: 90.0}])),
            retries=draw(st.integers(0, 2)),
            on_failure=draw(st.sampled_from([CONTINUE, SKIP_LATER, {MIGRATE: SKIP_LATER}])),
            lead=draw(st.sampled_from([None, 0.0, 30.0, 600.0])),
            when=draw(st.sampled_from([None, "can_reschedule"])),
        )
        for name in draw(st.lists(st.sampled_from("abcd"), max_size=4, unique=True))
    )


def applies(task: Task, event: Any) -> bool:
    return task.when is None or bool(event["can_reschedule"])


def stage_of(incident: Incident, step: Step) -> int:
    """Not significant for a task that a new configuration has removed."""
    return next((task.stage for task in incident.tasks if task.name == step.task), 99)


class Collecting(Drive):
    """Collects the actions since the last check."""

    def __init__(self, *tasks: Task) -> None:
        super().__init__(*tasks, applies=applies)
        self.to_do: list[Action] = []

    def see(self, observation: Observation) -> list[str]:
        words = super().see(observation)
        self.to_do += self.actions
        return words


class AnyCourse(RuleBasedStateMachine):
    """Signals, and processes that end at any time, or when they are asked to."""

    @initialize(tasks=some_tasks())
    def start(self, tasks: tuple[Task, ...]) -> None:
        self.drive = Collecting(*tasks)
        # The current value of each key of the metadata server.
        self.world: dict[str, Any] = {}
        # For each process that runs, its step and when it is ended.
        self.processes: dict[int, tuple[Step, float]] = {}
        # Those whose start was reported.
        self.begun: set[int] = set()
        self.failed = False

    @rule(event=st.sampled_from([MIGRATE, TERMINATE, PREEMPT]))
    def announce(self, event: str) -> None:
        key, value, _unused = SIGNALS[event]
        self._say(key, value)

    @rule(event=st.sampled_from([MIGRATE, PREEMPT]))
    def take_back(self, event: str) -> None:
        key, _unused, value = SIGNALS[event]
        self._say(key, value)

    @rule(
        start_in=st.sampled_from([None, -60, 5, 45, 700, 86400]),
        status=st.sampled_from(["PENDING", "ONGOING", "COMPLETE"]),
        can_reschedule=st.booleans(),
    )
    def announce_window(self, start_in: float | None, status: str, can_reschedule: bool) -> None:
        self._act(self.drive.window(start_in, status, can_reschedule=can_reschedule))
        self.world[UPCOMING_MAINTENANCE_KEY] = self.drive.last_heard

    @rule()
    def cancel_window(self) -> None:
        self._say(UPCOMING_MAINTENANCE_KEY, None)

    @precondition(lambda self: self.drive.state.incident is None)
    @rule(event=st.sampled_from(EVENTS))
    def rehearse(self, event: str) -> None:
        self._act(self.drive.rehearse(event))

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), outcome=st.sampled_from([OK, OK, FAILED, NOT_STARTED]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        self._end(data.draw(st.sampled_from(sorted(self.processes))), outcome)

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), seconds=st.sampled_from([0.2, 4.0]))
    def begin_late(self, data: st.DataObject, seconds: float) -> None:
        """A user database or a disk has held up the start of a process."""
        number = data.draw(st.sampled_from(sorted(self.processes)))
        self.wait(seconds)
        if number in self.processes and number not in self.begun:
            self.begun.add(number)
            step, until = self.processes[number]
            self.processes[number] = (step, until + seconds)
            self._act(self.drive.see(Began(number, seconds)))

    @rule(seconds=st.sampled_from([0.5, 3.0, 25.0, 400.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        until = self.drive.now.clock + seconds
        while True:
            ends = [end for _unused, end in self.processes.values()]
            soonest = min([until, *ends, *([] if self.drive.state.wake_at is None else [self.drive.state.wake_at])])
            self._act(self.drive.wait(max(0.0, soonest - self.drive.now.clock)))
            late = [number for number, (_unused, end) in self.processes.items() if end <= self.drive.now.clock]
            for number in late:
                self._end(number, TIMEOUT)
            if not late and self.drive.now.clock >= until - SLACK:
                return

    @rule()
    def hear_the_same_again(self) -> None:
        for key, value in self.world.items():
            self._act(self.drive.hear(key, value))

    @precondition(lambda self: self.drive.state.incident is not None)
    @rule(tasks=st.lists(st.sampled_from("abcd"), unique=True).map(tuple), by=st.sampled_from(["", "ann"]))
    def end_by_hand(self, tasks: tuple[str, ...], by: str) -> None:
        """A user requests retries, or (with a name) acknowledges tasks, whether they are restored or not."""
        self._act(self.drive.see(Acknowledged(tasks, by) if by else RetryWanted(tasks)))

    @precondition(lambda self: self.drive.state.incident is None or self.drive.incident.by_hand() is None)
    @rule(as_event=st.sampled_from([MIGRATE, TERMINATE]), seconds=st.sampled_from([None, 30.0, 5000.0]))
    def drain_by_hand(self, as_event: str, seconds: float | None) -> None:
        self._act(self.drive.drain(as_event, seconds=seconds))

    @precondition(lambda self: self.drive.state.incident is not None)
    @rule()
    def release(self) -> None:
        self._act(self.drive.release())

    @precondition(lambda self: self.drive.state.incident is not None)
    @rule(is_held=st.booleans())
    def hold(self, is_held: bool) -> None:
        self._act(self.drive.hold() if is_held else self.drive.unhold())

    @rule(seconds=st.sampled_from([-4000, -5, 5, 4000]))
    def set_wall_clock(self, seconds: float) -> None:
        self.drive.set_wall_clock(seconds)

    @rule(tasks=some_tasks())
    def configure(self, tasks: tuple[Task, ...]) -> None:
        self._act(self.drive.configure(*tasks))

    @precondition(lambda self: self.drive.state.incident is not None)
    @rule()
    def crash(self) -> None:
        self.processes.clear()
        self._act(self.drive.restart(*self.drive.state.tasks))

    @precondition(lambda self: self.drive.state.incident is not None)
    @rule(down_for=st.sampled_from([1.0, 100.0, 5000.0]))
    def reboot(self, down_for: float) -> None:
        self.processes.clear()
        self._act(self.drive.reboot(*self.drive.state.tasks, down_for=down_for))

    @invariant()
    def the_state_and_the_processes_agree(self) -> None:
        incident = self.drive.state.incident
        steps = incident.steps if incident is not None else ()
        assert {one.number for one in steps if one.open} == set(self.processes)

    @invariant()
    def an_incident_survives_being_written_down(self) -> None:
        if self.drive.state.incident is not None:
            assert self.drive.incident == self.drive.state.incident

    @invariant()
    def an_incident_is_bounded(self) -> None:
        incident = self.drive.state.incident
        if incident is not None:
            assert len(incident.steps) <= max(MOST_STEPS, 4 * len(incident.tasks)) + len(incident.tasks)
            assert len(incident.past) <= MOST_PAST + len(EVENTS) + 1

    @invariant()
    def only_drains_without_a_restore_are_over(self) -> None:
        incident = self.drive.state.incident
        for step in incident.steps if incident is not None else ():
            assert not step.over or (step.phase == DRAIN and not step.open)

    @invariant()
    def what_is_not_restored_is_tried_again(self) -> None:
        """Never forgotten, and not less often than each ten minutes."""
        incident = self.drive.state.incident
        if incident is None:
            return
        for step in not_restored(incident):
            assert step.task in held(incident)
            if step.open or step.outcome not in (FAILED, TIMEOUT, NOT_STARTED):
                continue
            assert step.again_at is not None
            assert step.again_at <= self.drive.now.clock + Patience().retry_every + SLACK
            if incident.phase == "not restored":
                assert self.drive.state.wake_at is not None
                assert self.drive.state.wake_at <= step.again_at + SLACK

    def teardown(self) -> None:
        """In any state, the end of all signals and orders closes the incident."""
        if not hasattr(self, "drive") or self.failed:
            return
        self._act(self.drive.release())
        self._act(self.drive.unhold())
        for event in (MIGRATE, PREEMPT):
            self.take_back(event)
        self.cancel_window()
        for _unused in range(200):
            if self.drive.state.incident is None:
                return
            wake_at = self.drive.state.wake_at
            is_tried_later = self.drive.phase == "not restored" and wake_at is not None
            self.wait(max(0.0, wake_at - self.drive.now.clock) if is_tried_later and wake_at is not None else 30.0)
            for number in sorted(self.processes):
                self._end(number, OK)
        raise AssertionError(f"the incident does not close: {self.drive.incident}")

    def _say(self, key: str, value: Any) -> None:
        self.world[key] = value
        self._act(self.drive.hear(key, value))

    def _end(self, number: int, outcome: str) -> None:
        if self.processes.pop(number, None) is not None:
            self._act(self.drive.see(Finished(number, outcome)))

    def _act(self, _words: list[str]) -> None:
        """Carry out the machine's actions, and check that they are allowed."""
        actions, self.drive.to_do = self.drive.to_do, []
        self.failed = True
        for action in actions:
            if isinstance(action, Start):
                self._may_start(action)
                self.processes[action.step.number] = (action.step, action.step.until)
            elif isinstance(action, Limit):
                step, until = self.processes[action.number]
                self.processes[action.number] = (step, min(until, action.until))
            elif isinstance(action, End):
                step, until = self.processes[action.number]
                self.processes[action.number] = (step, min(until, self.drive.now.clock + GRACE))
            elif isinstance(action, Close):
                self._may_close(action.incident)
        self.failed = False

    def _may_start(self, start: Start) -> None:
        incident = self.drive.state.incident
        assert incident is not None
        earlier = [one for one in incident.steps if one.task == start.step.task and one.number < start.step.number]
        assert not any(one.open for one in earlier), "a task has two steps at once"
        assert start.step.until > self.drive.now.clock, "a step is started that is over already"
        if start.step.phase == DRAIN:
            self._may_drain(start, incident, earlier)
        else:
            self._may_restore(start, incident, earlier)

    def _may_drain(self, start: Start, incident: Incident, earlier: list[Step]) -> None:
        on = [signal for signal in incident.signals if signal.event == start.step.event]
        assert any(signal.confirmed for signal in on), "a drain without its event"
        assert start.step.task_event in [signal.event_for(start.task) for signal in on]
        assert start.step.task_event in start.task.on
        if earlier and not earlier[-1].acknowledged_by and not earlier[-1].over:
            since = [one for one in earlier if one.number >= max(_drains(earlier), default=0)]
            # A restore that could not be started has undone nothing.
            changed = [one for one in since if one.outcome != NOT_STARTED]
            finished_well = len(changed) == 1 and changed[0].phase == DRAIN and changed[0].outcome == OK
            assert not finished_well, "drained twice"
        known = [one for one in incident.signals if one.deadline is not None and one.confirmed]
        if known:
            first = min(known, key=lambda one: one.deadline or 0.0)
            assert first.deadline is not None
            notice = first.deadline - max(one.noticed.clock for one in known if one.deadline == first.deadline)
            reserved = first.deadline - min(RESERVE_MOST, RESERVE_SHARE * notice)
            if self.drive.now.clock < reserved:
                assert start.step.until <= reserved + SLACK, "a drain may run into its event"
        below = [one for one in incident.steps if stage_of(incident, one) < start.task.stage]
        unfinished = [one.task for one in below if one.open and one.phase == DRAIN and not one.ending]
        assert not unfinished, "a stage begins before the one below it has ended"

    def _may_restore(self, start: Start, incident: Incident, earlier: list[Step]) -> None:
        assert earlier, "restored, but never started"
        assert start.task.has(RESTORE)
        if earlier[-1].phase == RESTORE:
            assert earlier[-1].outcome != OK, "restored twice"
        assert not earlier[-1].acknowledged_by, "restored after it was acknowledged"
        again_at = earlier[-1].again_at
        assert again_at is None or again_at <= self.drive.now.clock + SLACK, "tried again too soon"
        assert not any(one.open and one.phase == DRAIN for one in incident.steps), "restored beside a drain"
        skipped = {skip.serial for skip in incident.skips if skip.task == start.task.name}
        wanting = [signal for signal in incident.signals if signal.event_for(start.task)]
        assert not (incident.is_held and earlier[-1].phase == DRAIN), "restored although it is held"
        at_once = [signal for signal in wanting if start.task.lead_for(signal.event) is None]
        assert skipped.issuperset(signal.serial for signal in at_once), "restored while its event is on"
        assert all(signal.confirmed for signal in incident.signals), "restored while blind"
        above = [each for each in incident.tasks if each.stage > start.task.stage and each.has(RESTORE)]
        failed = {step.task for step in not_restored(incident)}
        last = last_steps(incident.steps)
        kept = {name for name in last if incident.is_held and last[name].phase == DRAIN}
        to_restore = set(held(incident)) - failed - kept
        unwanted = [each for each in above if not any(signal.event_for(each) for signal in incident.signals)]
        due = [each.name for each in unwanted if each.name in to_restore]
        assert not due, "a stage is restored before the one above it"

    def _may_close(self, incident: Incident) -> None:
        assert incident.phase == CLOSED
        assert not incident.signals
        assert not any(one.open for one in incident.steps)
        names = {task.name for task in incident.tasks if task.has(RESTORE)}
        assert not names.intersection(held(incident)), "closed, but not restored"
        for name, last in last_steps(incident.steps).items():
            if name in names:
                is_restored = last.phase == RESTORE and last.outcome == OK
                # A new definition may have a restore that its last drain did not have.
                assert is_restored or last.acknowledged_by or last.over, "closed, but neither restored nor acknowledged"
        assert not not_restored(incident)


def _drains(steps: list[Step]) -> list[int]:
    return [one.number for one in steps if one.phase == DRAIN]


AnyCourse.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyCourse = AnyCourse.TestCase
