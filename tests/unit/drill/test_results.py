# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the drill, and for what it fails."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from drill.guide import write_guide
from drill.results import LIMITED, UNLIMITED, WITH, WITHOUT, Result, problems, restructured_text, terminal

GOOD = Result("web", "preemption", "30 s", WITH, requests=400, failed=0, lost=None, slowest=2.04, out=0.31)
DAY = "2026-11-27"


def changed(**fields: Any) -> Result:
    return dataclasses.replace(GOOD, **fields)


@pytest.mark.parametrize(
    "result",
    [GOOD, changed(lost=0), changed(handler=WITHOUT, failed=9, reasons={"reset": 9}), changed(handler=WITHOUT, lost=3)],
)
def test_what_fails_without_the_handler_is_no_problem(result: Result) -> None:
    assert list(problems([result])) == []


@pytest.mark.parametrize(
    "result, words",
    [
        (changed(failed=2, reasons={"reset": 2}), ["2 of 400 requests failed", "2 x reset", "handler with:"]),
        (changed(lost=1), ["1 acknowledged writes are lost"]),
        (changed(handler=LIMITED, failed=2), ["2 of 400 requests failed", "with a limit of 1"]),
        (changed(requests=0), ["nothing was measured"]),
        (changed(handler=WITHOUT, requests=0), ["nothing was measured", "handler without:"]),
        (changed(mistakes=("the handler of web-1 noticed nothing",)), ["web, preemption", "noticed nothing"]),
    ],
)
def test_what_the_drill_fails_for(result: Result, words: list[str]) -> None:
    [problem] = problems([result])
    assert all(word in problem for word in words), problem


@pytest.mark.parametrize("failed, count", [(0, 0), (88, 0), (89, 1)])
def test_where_no_turns_can_be_taken_as_many_may_fail_as_without_the_handler(failed: int, count: int) -> None:
    without = changed(handler=WITHOUT, failed=80, takes_turns=False)
    found = list(problems([without, changed(handler=LIMITED, failed=failed, takes_turns=False)]))
    assert len(found) == count
    assert all("89 requests failed, more than the 80 without the handler" in one for one in found)


def test_handlers_without_a_limit_show_why_it_exists() -> None:
    assert list(problems([changed(handler=UNLIMITED, failed=300)])) == []
    assert list(problems([changed(handler=UNLIMITED, mistakes=("the handler of web-1 noticed nothing",))])) != []


def test_the_terminal_has_the_rows_of_one_service() -> None:
    lines = terminal("web", [GOOD, changed(tier="redis")]).splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["preemption", "30", "s", "with", "400", "0", "-", "2.0", "s", "0.3", "s"]


def test_the_guide_says_where_nothing_fails_without_the_handler_either() -> None:
    harmless = changed(handler=WITHOUT)
    text = restructured_text("web", [harmless, changed(handler=WITHOUT, failed=4)])
    cells = [line.strip("*- ") for line in text.splitlines() if " - " in line]
    assert cells.count("0 (none without the handler either)") == 1
    assert "4" in cells
    assert len(cells) == 8 * 3


def test_the_page_has_a_table_for_each_service(tmp_path: Path) -> None:
    page = tmp_path / "zero_loss.rst"
    write_guide(page, ("web", "redis"), [GOOD, changed(handler=WITHOUT, failed=3), changed(tier="redis", lost=0)], DAY)
    text = page.read_text(encoding="utf-8")
    assert text.count(".. list-table::") == 2
    assert text.index("\nweb\n---\n") < text.index("\nredis\n-----\n")


def test_a_section_that_was_not_measured_stays_with_its_day(tmp_path: Path) -> None:
    page, titles = tmp_path / "zero_loss.rst", ("web", "Two at once", "redis")
    write_guide(page, titles, [GOOD, changed(tier="redis", lost=0)], "2026-11-26")
    before = page.read_text(encoding="utf-8")
    write_guide(page, titles, [changed(tier="Two at once", requests=777)], DAY)
    after = page.read_text(encoding="utf-8")
    assert [after.index(f"\n{title}\n{'-' * len(title)}\n\nMeasured on {day}.\n") for title, day in DAYS] == sorted(
        after.index(f"\n{title}\n---") for title, _day in DAYS
    )
    assert after.count(".. list-table::") == 3
    write_guide(page, titles, [changed(tier="Two at once", requests=777)], DAY)
    assert page.read_text(encoding="utf-8") == after
    assert after.startswith(before[: before.index("\nredis\n")])


DAYS = (("web", "2026-11-26"), ("Two at once", DAY), ("redis", "2026-11-26"))
