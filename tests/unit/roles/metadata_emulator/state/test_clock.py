# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed time."""

from __future__ import annotations

import datetime

import pytest

from gce_emulator.state.clock import Clock
from support.manual_time import ManualTime


@pytest.fixture
def clock(manual_time: ManualTime) -> Clock:
    return Clock(10.0, loop=manual_time.loop, wall=manual_time.time)


def test_speed_divides_the_platforms_durations(clock: Clock, manual_time: ManualTime) -> None:
    calls: list[str] = []
    clock.call_later(60, calls.append, "a minute")
    manual_time.advance(5.9)
    assert calls == []
    manual_time.advance(0.2)
    assert calls == ["a minute"]


def test_a_change_of_speed_reaches_timers_that_run(clock: Clock, manual_time: ManualTime) -> None:
    calls: list[str] = []
    clock.call_later(60, calls.append, "a minute")
    manual_time.advance(3)
    clock.speed = 100
    manual_time.advance(0.29)
    assert calls == []
    manual_time.advance(0.02)
    assert calls == ["a minute"]


def test_promised_moment_is_kept_at_any_speed(clock: Clock, manual_time: ManualTime) -> None:
    calls: list[str] = []
    clock.call_at(clock.now() + datetime.timedelta(seconds=30), calls.append, "promised")
    clock.speed = 1000
    manual_time.advance(29.9)
    assert calls == []
    manual_time.advance(0.2)
    assert calls == ["promised"]


def test_after_is_the_time_at_which_a_timer_fires(clock: Clock, manual_time: ManualTime) -> None:
    moment = clock.after(600)
    clock.call_later(600, lambda: None)
    assert moment - clock.now() == datetime.timedelta(seconds=60)


def test_a_change_of_speed_does_not_revive_a_cancelled_timer(clock: Clock, manual_time: ManualTime) -> None:
    calls: list[str] = []
    timer = clock.call_later(60, calls.append, "never")
    timer.cancel()
    timer.cancel()
    clock.speed = 20
    manual_time.advance(100)
    assert calls == []


def test_a_change_of_speed_keeps_the_order_of_timers(clock: Clock, manual_time: ManualTime) -> None:
    calls: list[int] = []
    for number in range(50):
        clock.call_later(3600 + number, calls.append, number)
    # So fast that they are due at the same time.
    clock.speed = 1e12
    manual_time.advance(1)
    assert calls == list(range(50))
