# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of a recipe: its time, and waiting for what is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recipes.record import Record
from recipes.run import Refusal, Run, Unfinished


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(clock: Clock, tmp_path: Path) -> Run:
    record = Record(tmp_path / "record.json", "machine", locked=False)
    return Run({}, "drain", {"GCE_TASK_TIMEOUT_SECONDS": "10"}, record, clock=clock, sleep=clock.sleep)


def answers(*values: str | Exception) -> Callable[[], str]:
    remaining: Iterator[str | Exception] = iter(values)

    def answer() -> str:
        value = next(remaining)
        if isinstance(value, Exception):
            raise value
        return value

    return answer


def test_waits_until_nothing_is_open(run: Run, clock: Clock) -> None:
    run.wait_until(answers("2 jobs", "1 job", ""), every=3.0)
    assert clock.now == 1006.0


def test_says_what_is_open_when_the_time_is_over(run: Run) -> None:
    with pytest.raises(Unfinished, match="1 job"):
        run.wait_until(answers("3 jobs", "2 jobs", "1 job"), every=5.0)
    assert run.left() == 0


def test_a_request_that_the_end_of_the_time_cuts_short_does_not_hide_what_is_open(run: Run) -> None:
    with pytest.raises(Unfinished, match="1 job"):
        run.wait_until(answers("2 jobs", "1 job", Refusal("no answer in time")), every=5.0)


def test_a_service_that_does_not_answer_at_the_end_of_the_time_does_not_hide_what_is_open(run: Run) -> None:
    found = answers("2 jobs", "")
    with pytest.raises(Unfinished, match="2 jobs"):
        run.wait_until(lambda: found() or run.unanswered("no answer in time"), every=20.0)


def test_a_service_that_has_not_answered_until_the_time_is_over_is_what_is_open(run: Run, clock: Clock) -> None:
    clock.sleep(1.0)
    assert run.unanswered("no answer in time") == "no answer in time"
    clock.sleep(20.0)
    with pytest.raises(Unfinished, match="no answer in time"):
        run.wait_until(lambda: run.unanswered("no answer in time"))


@pytest.mark.parametrize("before", [[], ["2 jobs"]])
def test_any_other_refusal_ends_the_wait(before: list[str], run: Run) -> None:
    with pytest.raises(Refusal, match="not permitted"):
        run.wait_until(answers(*before, Refusal("not permitted")), every=5.0)


def test_what_was_open_last_is_reported_if_the_time_ends_between_two_waits(run: Run) -> None:
    run.wait_until(answers("2 jobs", ""), every=3.0)
    assert str(run.unfinished()) == "2 jobs"
    run.open = "promote had not ended"
    assert str(run.unfinished()) == "promote had not ended"


def test_a_part_of_the_time_can_be_kept_for_later(run: Run) -> None:
    left = run.left()
    with run.keeping(4.0):
        assert run.left() == left - 4.0
    assert run.left() == left
    with pytest.raises(Refusal, match="1 job"), run.keeping(4.0):
        run.wait_until(lambda: "1 job", every=5.0)
    assert run.left() == 4.0
    # Nothing is left after the time itself.
    with pytest.raises(Unfinished, match="1 job"), run.keeping(0.0):
        run.wait_until(lambda: "1 job", every=5.0)


def test_being_terminated_is_not_the_end_of_a_part_of_the_time(run: Run) -> None:
    with pytest.raises(Unfinished, match="it had only begun"), run.keeping(4.0):
        raise run.unfinished()
