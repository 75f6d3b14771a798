# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of the notice benchmark, and its servers."""

from __future__ import annotations

import pytest

from bench.notice import measured, paired_ratio, percentile, verdicts


@pytest.mark.parametrize(
    "percent, expected",
    [(0, 1.0), (50, 2.0), (75, 3.0), (76, 4.0), (95, 4.0), (100, 4.0)],
)
def test_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == expected


def test_ratios_are_taken_round_by_round() -> None:
    """A slow round is slow for both, and counts once."""
    times = {"handler": [1.0, 20.0, 3.0], "curl": [2.0, 40.0, 3.0]}
    assert paired_ratio(times, "handler", "curl") == 0.5


def test_ratio_requires_equal_rounds() -> None:
    assert paired_ratio({"poller": [1.0], "curl": [1.0, 2.0]}, "poller", "curl") is None


def test_reports_which_goals_are_met() -> None:
    lines = verdicts({"handler": [1.0], "curl": [1.0], "sample": [0.5]})
    assert ["met" in line for line in lines] == [True, False]
    assert "1.00 × the time of curl" in lines[0]
    assert "missed" in lines[1]
    assert "2.00 × the time of the sample" in lines[1]


def test_reports_that_curl_is_not_installed() -> None:
    lines = verdicts({"handler": [1.0], "sample": [2.0]})
    assert "not measured" in lines[0]
    assert "curl is not installed" in lines[0]


@pytest.mark.parametrize("threaded", [False, True])
def test_all_programs_react_to_both_servers(threaded: bool) -> None:
    times, titles, synced_write = measured(1, threaded=threaded)
    assert times.keys() == titles.keys() >= {"handler", "sample", "poller"}
    assert min(*(least for own in times.values() for least in own), synced_write) > 0
