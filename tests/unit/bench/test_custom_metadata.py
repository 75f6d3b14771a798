# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of bench.custom_metadata, and its requests."""

from __future__ import annotations

import pytest

from bench.custom_metadata import MODULE, POOL, Measured, loop_ratio, measure, pool_ratio, table, verdicts
from bench.turns import Turn


def turns(*seconds: float) -> list[Turn]:
    return [Turn(each, 1.0, 50.0, 10) for each in seconds]


def test_the_ratio_is_the_median_of_ratios() -> None:
    assert pool_ratio({MODULE: turns(1.2, 20, 2.6), POOL: turns(1, 10, 2)}) == pytest.approx(1.3)


def test_a_loop_is_extrapolated() -> None:
    measured = Measured({}, task=10.0, loop=50.0)
    assert loop_ratio(measured, instances=1000, looped=50) == pytest.approx(100)


@pytest.mark.parametrize("seconds, task, words", [(1.3, 5.0, ("met", "met")), (1.4, 51.0, ("missed", "missed"))])
def test_goals(seconds: float, task: float, words: tuple[str, str]) -> None:
    measured = Measured({MODULE: turns(seconds), POOL: turns(1.0)}, task=task, loop=50.0)
    assert tuple(line.split("]")[1].split("[")[0] for line in verdicts(measured, 1000, 50)) == words
    assert table(measured, 1000).row_count == 2


def test_both_processes_send_the_same_requests() -> None:
    measured = measure(instances=4, looped=1, turns=1)
    # The list, two requests for each, and the list again.
    assert measured.turns[MODULE][0].requests == measured.turns[POOL][0].requests == 2 + 4 * 2
    assert measured.task > 0
    assert measured.loop > 0
