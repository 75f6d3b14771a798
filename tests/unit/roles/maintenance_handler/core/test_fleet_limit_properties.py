# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever happens in an incident with a fleet limit, these hold."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from maintenance_handler._vm.maintenance import MANUAL, MIGRATE, PREEMPT, STOP, TERMINATE, WINDOW
from maintenance_handler.core.actions import Start
from maintenance_handler.core.fleet_limit import FleetLimit
from maintenance_handler.core.incident import CLOSED, FAILED, OK, Incident, held
from maintenance_handler.core.observations import DENIED, HELD, INVALID, UNREACHABLE, Observation, SlotExpired
from maintenance_handler.core.tasks import DRAIN, IGNORE, SKIP
from support.incidents import Drive, task

LIMIT = FleetLimit("etcd", "web", reserve=10.0)
TASKS = (
    task("lb", MIGRATE, TERMINATE, PREEMPT, WINDOW, stage=10, timeout=20.0, lead={WINDOW: 600.0}),
    task("db", TERMINATE, STOP, stage=20, timeout=30.0, retries=1),
    task("cache", MIGRATE, TERMINATE, MANUAL, stage=20, when_denied=SKIP),
    task("page", MIGRATE, TERMINATE, stage=5, when_denied=IGNORE, restore=False),
)

EVENTS = st.sampled_from([MIGRATE, TERMINATE, PREEMPT, STOP])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("on"), EVENTS),
        st.tuples(st.just("off"), EVENTS),
        st.tuples(st.just("window"), st.sampled_from([700.0, 5000.0])),
        st.tuples(st.just("no_window")),
        st.tuples(st.just("drain"), st.sampled_from([TERMINATE, MIGRATE])),
        st.tuples(st.just("release")),
        st.tuples(st.just("hold")),
        st.tuples(st.just("unhold")),
        st.tuples(st.just("answer"), st.sampled_from([HELD, DENIED, UNREACHABLE, INVALID])),
        st.tuples(st.just("expire")),
        st.tuples(st.just("end"), st.sampled_from([OK, OK, FAILED])),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 5.0, 60.0, 1000.0])),
        st.tuples(st.just("restart")),
        st.tuples(st.just("reboot")),
    ),
    max_size=40,
)


def run(drive: Drive, name: str, argument: Any) -> None:
    if name == "expire":
        drive.see(SlotExpired("not renewed"))
    elif name == "end":
        running = [one.task for one in drive.incident.steps if one.open] if drive.state.incident is not None else []
        for each in running[:1]:
            drive.ends(each, argument)
    elif name in ("restart", "reboot"):
        if drive.state.incident is not None:
            getattr(drive, name)()
    elif argument is None:
        getattr(drive, name)()
    else:
        getattr(drive, name)(argument)


def judge(drive: Drive, before: Incident | None) -> None:
    incident = drive.state.incident
    for closed in drive.closed:
        assert closed.phase == CLOSED
        assert closed.slot is None or not closed.slot.is_wanted, "a slot that nobody gives back"
    if incident is None:
        return
    slot = drive.incident.slot
    assert slot == incident.slot
    for action in drive.actions:
        if not isinstance(action, Start) or action.step.phase != DRAIN or action.step.event not in LIMIT.denied:
            continue
        was_held = before is not None and action.task.name in held(before)
        if LIMIT.policy(action.task, action.step.event) != IGNORE and not was_held:
            assert slot is not None
            assert slot.is_open, "drained without a decision of the limit"
    if slot is None:
        return
    assert not slot.is_held or slot.is_open
    assert slot.is_wanted or not (slot.is_open or slot.is_held or slot.waiting)
    if slot.waiting:
        assert not slot.is_open
        assert slot.until is not None
        assert slot.until > drive.now.clock, "it waits although its time has come"
        assert drive.state.wake_at is not None
        assert drive.state.wake_at <= slot.until


class Judged(Drive):
    """Judges each observation."""

    def see(self, observation: Observation) -> list[str]:
        before = self.state.incident
        words = super().see(observation)
        judge(self, before)
        return words


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_no_task_starts_or_waits_against_the_limit(steps: list[tuple[Any, ...]]) -> None:
    drive = Judged(*TASKS, fleet_limit=LIMIT)
    for name, *arguments in steps:
        run(drive, name, arguments[0] if arguments else None)
