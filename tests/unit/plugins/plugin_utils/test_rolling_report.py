# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a rolling maintenance, and when it stops."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.plugin_utils._heartbeat import heartbeat
from ansible_collections.gce.guest.plugins.plugin_utils._rolling_plan import Turn
from ansible_collections.gce.guest.plugins.plugin_utils._rolling_report import table
from ansible_collections.gce.guest.plugins.plugin_utils._rolling_run import record_of, report
from ansible_collections.gce.guest.plugins.plugin_utils._rolling_step import place_of

from support.emulator import eventually

# A Thursday, 12:00 UTC.
NOW = 1_795_694_400.0


def planned(sizes: list[int], **more: Any) -> dict[str, Any]:
    turns, number = [], 0
    for batch, size in enumerate(sizes, 1):
        for _each in range(size):
            number += 1
            turns.append(Turn(f"web-{number}", "whole", batch=batch, minutes=10.0).document())
    return {"turns": turns, "batches": sizes, "hours": [], "made_at": "2026-11-26T12:00:00Z", **more}


def record(result: str, *outcomes: str, why: str = "") -> dict[str, Any]:
    steps = [
        {
            "step": f"step {number}",
            "outcome": outcome,
            "started_at": "2026-11-26T12:00:00Z",
            "seconds": 2.0,
            "detail": "",
        }
        for number, outcome in enumerate(outcomes, 1)
    ]
    return {"steps": steps, "result": result, "why": why}


GOOD = record("done", "ok", "ok")
BAD = record("not well", "ok", "failed", "ok", why="no route")


@pytest.mark.parametrize(
    "results, percentage, stops",
    [
        ([GOOD], 0, False),
        ([GOOD, BAD, GOOD], 0, True),
        ([GOOD, BAD, GOOD], 50, False),
        ([GOOD, BAD, GOOD], 49, True),
        ([BAD], 99, True),
        ([BAD], 100, False),
        # A host whose turn has no end is not well.
        ([GOOD, record("", "ok"), GOOD], 0, True),
    ],
)
def test_stops_after_too_many_failures_of_a_batch(results: list[Any], percentage: float, stops: bool) -> None:
    records = {f"web-{number}": each for number, each in enumerate(results, 1)}
    assert bool(report(planned([1, 2, 1]), records, percentage, now=NOW)["stop"]) is stops


def test_rows_say_what_failed_and_what_was_not_reached() -> None:
    found = report(planned([1, 1, 1]), {"web-1": GOOD, "web-2": BAD}, 0, now=NOW)
    assert [(row["result"], row["step"], row["why"]) for row in found["rows"]] == [
        ("done", "step 2", ""),
        ("not well", "step 2", "no route"),
        ("not reached", None, ""),
    ]
    assert found["counts"] == {"done": 1, "not well": 1, "not finished": 0, "not reached": 1}
    assert (found["outcome"], found["well"], found["batch"]) == ("stopped", False, 2)
    assert found["lines"][-2:] == [
        "Hosts: 3: 1 done, 1 not well, 1 not reached.",
        "Stopped: more than 0 % of batch 2 of 3 is not well.",
    ]


def test_hours_that_are_over_stop_it_without_a_failure() -> None:
    plan = planned([1, 1], hours=["Thu 10:00-12:01 UTC"])
    assert report(plan, {"web-1": GOOD}, 0, now=NOW)["outcome"] == "running"
    found = report(plan, {"web-1": GOOD}, 0, now=NOW + 61)
    assert (found["outcome"], found["well"]) == ("hours over", True)
    assert "the hours are over" in found["lines"][-1]
    # With the last batch, it is finished.
    assert report(plan, {"web-1": GOOD, "web-2": GOOD}, 0, now=NOW + 61)["outcome"] == "finished"


def test_place_of_a_host() -> None:
    plan = planned([1, 2, 1])
    assert str(place_of({"inventory_hostname": "web-2"}, plan)) == "web-2 (2 of 4, 2 left, about 20 min)"
    assert str(place_of({"inventory_hostname": "web-4"}, plan)) == "web-4 (4 of 4, the last)"
    assert str(place_of({"inventory_hostname": "other"}, plan)) == "other"


def test_a_record_of_another_run_is_not_used() -> None:
    plan = planned([1])
    kept = {"plan": plan["made_at"], "steps": [{"step": "drain"}], "ours": True}
    assert record_of({"ansible_facts": {"gce_rolling_turn": kept}}, plan) == kept
    old = {"ansible_facts": {"gce_rolling_turn": {**kept, "plan": "2026-11-25T12:00:00Z"}}}
    assert record_of(old, plan) == {"plan": plan["made_at"], "steps": [], "ours": False}
    assert record_of({}, plan)["steps"] == []


def test_columns_without_values_are_left_out() -> None:
    assert table([["A", "B", "C"], ["x", "", ""], ["long", "", "y"]]) == ["A     C", "x     -", "long  y"]


def test_a_heartbeat_says_since_when() -> None:
    said: list[str] = []
    with heartbeat(said.append, lambda: "drain", 0.001):
        eventually(lambda: len(said) > 1, what="two beats")
    count = len(said)
    assert said[0].startswith("drain, since ")
    with heartbeat(said.append, lambda: "drain", 0):
        pass
    assert len(said) == count
