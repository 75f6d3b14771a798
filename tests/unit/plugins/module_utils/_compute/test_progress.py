# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The meter of work on many items, with a clock of the test."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ansible_collections.gce.guest.plugins.module_utils._compute.progress import Progress, ProgressMeter

from support.manual_time import ManualTime


def meter(total: int, clock: ManualTime, reports: list[Progress], seconds_each: float = 1) -> ProgressMeter:
    return ProgressMeter(total, lambda items: items * seconds_each, clock.time, reports.append)


def test_the_start_has_the_time_at_the_rate_limit() -> None:
    reports: list[Progress] = []
    meter(300, ManualTime(), reports)
    assert reports == [Progress(0, 300, 300)]


def test_reports_are_half_a_second_apart() -> None:
    reports: list[Progress] = []
    clock = ManualTime()
    running = meter(300, clock, reports)
    for _item in range(10):
        clock.advance(0.125)
        running.count()
    assert [report.done for report in reports] == [0, 4, 8]


def test_the_slower_of_limit_and_past_counts() -> None:
    reports: list[Progress] = []
    clock = ManualTime()
    running = meter(4, clock, reports)
    clock.advance(10)
    running.count()
    assert reports[-1] == Progress(1, 4, 30)
    fast = meter(300, clock, reports)
    clock.advance(0.5)
    fast.count()
    # A burst has been 2 a second, and the limit is 1 a second.
    assert reports[-1] == Progress(1, 300, 299)


def test_no_item_is_lost_between_threads() -> None:
    reports: list[Progress] = []
    clock = ManualTime()
    running = meter(1001, clock, reports)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: running.count(), range(1000)))
    clock.advance(1)
    running.count()
    assert reports[-1].done == 1001
