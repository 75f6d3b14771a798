# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of large fleets, on a small one: its requests, its arithmetic and its plot."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest

from bench.growth import WIDTH, plot
from bench.large_fleet import LIST, OPTIONS, STATUS, WRITE, Size, measure, series, table, verdicts
from bench.polls import POLLS, Polls
from bench.turns import Turn


def turns(*seconds: float) -> list[Turn]:
    return [Turn(each, 1.0, 50.0, 10) for each in seconds]


def size(instances: int = 10000, ratio: float = 1.0, start: float = 4.0, memory: float = 20.0) -> Size:
    modules = {name: (turns(2 * ratio), turns(2.0)) for name in OPTIONS}
    return Size(instances, modules, polls(ratio), start, memory, instances, 3.0, 1.0)


def polls(ratio: float = 1.0, growth: float = 0.0) -> Polls:
    memory = [50_000.0 + growth * max(0, number - 2) for number in range(POLLS)]
    return Polls(turns(POLLS * ratio), turns(float(POLLS)), [memory])


def words(lines: list[str]) -> list[str]:
    return [line.split("]")[1].split("[")[0] for line in lines]


def test_goals_are_for_the_largest_fleet() -> None:
    assert words(verdicts([size(10, ratio=9.0), size()])) == ["met"] * 7
    assert words(verdicts([size(ratio=1.25)])) == ["missed", "met", "met", "missed", "met", "met", "met"]
    assert words(verdicts([size(start=5.1, memory=25.1)]))[5:] == ["missed", "missed"]
    assert len(table([size(10), size()]).columns) == 3


def test_memory_that_each_poll_takes_is_missed() -> None:
    grown = replace(size(), polls=polls(growth=300.0))
    assert grown.polls.growth_kib == 1500
    assert words(verdicts([grown]))[4] == "missed"
    # What only the first polls take is not.
    assert Polls(turns(1.0), turns(1.0), [[1.0, 9000.0, *[9001.0] * (POLLS - 2)]]).growth_kib == 0


def test_modules_send_what_the_bare_requests_send() -> None:
    [small] = measure([3], 1)
    requests = {name: (own[0].requests, bare[0].requests) for name, (own, bare) in small.modules.items()}
    assert all(own == bare for own, bare in requests.values()), requests
    assert (requests[LIST][0], requests[STATUS][0]) == (1, 2 + 3)
    assert requests[WRITE][0] > 3
    # Each poll lists instances and operations.
    assert [turn.requests for turn in (*small.polls.own, *small.polls.bare)] == [2 * POLLS] * 2
    assert [len(each) for each in small.polls.memory] == [POLLS]
    assert min(small.start, small.hang, small.wake) > 0


@pytest.mark.parametrize("sizes", [(10,), (10, 100, 1000, 10000)])
def test_the_plot_has_a_line_and_a_name_for_each_series(sizes: tuple[int, ...]) -> None:
    lines = series([size(instances, start=instances / 1000) for instances in sizes])
    document = ET.fromstring(plot(lines, "3 turns & a <caption>"))
    namespace = "{http://www.w3.org/2000/svg}"
    places = [line.get("points", "").split() for line in document.iter(f"{namespace}polyline")]
    assert [len(each) for each in places] == [len(sizes)] * len(lines)
    names = [text.text or "" for text in document.iter(f"{namespace}text")]
    assert all(any(name.startswith(title) for name in names) for title in lines)
    assert document.findtext(f"{namespace}desc") == "3 turns & a <caption>"
    labels = [
        text for text in document.iter(f"{namespace}text") if str(text.text).endswith(" s") and "," in str(text.text)
    ]
    # A letter is about 7 pixels wide.
    assert max(float(label.get("x", "0")) + 7 * len(str(label.text)) for label in labels) <= WIDTH
    heights = sorted(float(label.get("y", "0")) for label in labels)
    assert all(after - before >= 15.9 for before, after in pairwise(heights))
