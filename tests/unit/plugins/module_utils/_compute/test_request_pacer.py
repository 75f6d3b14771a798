# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limit of requests a minute, shared by threads."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.request_pacer import RequestPacer

from support.shared_time import SharedTime


def turns(per_minute: float, count: int, threads: int = 1) -> list[float]:
    """When each request was let through, in seconds after the start."""
    time = SharedTime(threads)
    pacer = RequestPacer(per_minute, time.clock, time.sleep)
    began, came, lock = time.now, [], threading.Lock()

    def take() -> None:
        for _turn in range(count // threads):
            pacer.wait_for_turn()
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
def test_no_minute_exceeds_the_limit_by_more_than_a_burst(threads: int) -> None:
    came = turns(600, 1200, threads)
    assert came[-1] > 100
    for start in came:
        assert sum(start <= other < start + 60 for other in came) <= 600 * (1 + RequestPacer.BURST_SHARE) + 1


def test_a_burst_is_not_delayed() -> None:
    assert turns(600, 50)[-1] == pytest.approx(0, abs=0.001)


def test_0_removes_the_limit() -> None:
    assert turns(0, 5000)[-1] == 0


def test_a_low_limit_still_lets_requests_through() -> None:
    assert turns(6, 3) == pytest.approx([0, 10, 20])


def test_a_hold_stops_all_requests() -> None:
    time = SharedTime()
    pacer = RequestPacer(0, time.clock, time.sleep)
    pacer.hold(7)
    pacer.hold(3)
    began = time.now
    pacer.wait_for_turn()
    assert time.now - began == 7
    pacer.wait_for_turn()
    assert time.now - began == 7
