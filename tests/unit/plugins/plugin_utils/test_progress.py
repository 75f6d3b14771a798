# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines about progress. The tests of the action plugins check that they are shown."""

from __future__ import annotations

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.progress import Progress
from ansible_collections.gce.guest.plugins.plugin_utils._progress import (
    ProgressLines,
    duration,
    parse_progress,
    progress_text,
)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "1 s"),
        (39.2, "40 s"),
        (90, "90 s"),
        (91, "2 min"),
        (1010, "17 min"),
        (3541, "1 h"),
        (3600, "1 h"),
        (4799, "1 h 20 min"),
        (86400, "24 h"),
    ],
)
def test_durations_are_rounded_up(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_text() -> None:
    assert progress_text(1200, 10000, 870) == "1,200 of 10,000 instances, about 15 min left"
    assert progress_text(0, 6, None, "VMs") == "0 of 6 VMs"


class TestLines:
    def test_long_work_is_announced_and_followed(self) -> None:
        lines = ProgressLines(10, start=0)
        assert lines.next(Progress(0, 10000, 1000), 0.5) == (
            "10,000 instances, at least 17 min at the limit of requests a minute"
        )
        assert lines.next(Progress(60, 10000, 995), 10.4) is None
        assert lines.next(Progress(61, 10000, 995), 10.5) == "61 of 10,000 instances, about 17 min left"
        assert lines.next(Progress(62, 10000, 994), 11) is None
        assert lines.next(Progress(9999, 10000, 0.1), 999) == "9,999 of 10,000 instances, about 1 s left"

    def test_short_work_shows_nothing(self) -> None:
        lines = ProgressLines(10, start=0)
        assert lines.next(Progress(0, 100, 10), 0.5) is None
        assert lines.next(Progress(99, 100, 0.1), 9) is None

    def test_short_work_that_takes_long_is_followed(self) -> None:
        lines = ProgressLines(10, start=0)
        assert lines.next(Progress(0, 12, 1), 0.5) is None
        # Nothing is known of the time before the first one is done.
        assert lines.next(Progress(0, 12, 1), 10) == "0 of 12 instances"
        assert lines.next(Progress(3, 12, 90), 20) == "3 of 12 instances, about 90 s left"

    def test_nothing_is_shown_when_all_are_done(self) -> None:
        assert ProgressLines(10, start=0).next(Progress(12, 12, 0), 100) is None

    def test_further_work_is_announced_too(self) -> None:
        lines = ProgressLines(10, start=0)
        assert lines.next(Progress(0, 500, 50), 0)
        assert str(lines.next(Progress(0, 200, 20), 45)).startswith("200 instances, at least 20 s")


class TestParsing:
    def test_the_last_whole_line_counts(self) -> None:
        text = '{"done": 1, "total": 9, "left": 8}\n{"done": 2, "total": 9, "left": 7.5}\n{"done": 3, "tot'
        assert parse_progress(text) == Progress(2, 9, 7.5)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "\n",
            '{"done": 1, "total": 9, "left": 8}',
            "nonsense\n",
            "[1]\n",
            "null\n",
            '{"done": 1}\n',
            '{"done": "\\u001b[2J", "total": 9, "left": 8}\n',
            '{"done": 10, "total": 9, "left": 8}\n',
            '{"done": -1, "total": 9, "left": 8}\n',
            '{"done": 1, "total": 9, "left": NaN}\n',
            '{"done": 1, "total": 9, "left": Infinity}\n',
            '{"done": Infinity, "total": 9, "left": 1}\n',
            "[" * 100000 + "\n",
        ],
    )
    def test_anything_else_is_ignored(self, text: str) -> None:
        assert parse_progress(text) is None
