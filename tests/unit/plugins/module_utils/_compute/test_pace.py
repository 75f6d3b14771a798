# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rate that threads keep to together."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.pace import Pace

from support.shared_time import SharedTime


def turns(per_minute: float, count: int, threads: int = 1) -> list[float]:
    """When each of them came, in seconds since the first could."""
    time = SharedTime(threads)
    pace = Pace(per_minute, time.clock, time.sleep)
    began, came, lock = time.now, [], threading.Lock()

    def take() -> None:
        for _turn in range(count // threads):
            pace.turn()
            with lock:
                came.append(time.clock() - began)
        time.leave()

    workers = [threading.Thread(target=take) for _thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sorted(came)


@pytest.mark.parametrize("threads", [1, 4])
def test_no_minute_has_more_turns_than_the_rate_and_a_burst(threads: int) -> None:
    came = turns(600, 1200, threads)
    assert came[-1] > 100
    for start in came:
        assert sum(start <= other < start + 60 for other in came) <= 600 * (1 + Pace.BURST_SHARE) + 1


def test_a_few_turns_come_at_once() -> None:
    assert turns(600, 50)[-1] == pytest.approx(0, abs=0.001)


def test_without_a_rate_all_come_at_once() -> None:
    assert turns(0, 5000)[-1] == 0


def test_a_rate_below_one_in_a_burst_still_goes_on() -> None:
    assert turns(6, 3) == pytest.approx([0, 10, 20])


def test_a_hold_is_for_all() -> None:
    time = SharedTime()
    pace = Pace(0, time.clock, time.sleep)
    pace.hold(7)
    pace.hold(3)
    began = time.now
    pace.turn()
    assert time.now - began == 7
    pace.turn()
    assert time.now - began == 7
