# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a rolling maintenance, before and after it, and whether it stops. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone, tzinfo
from typing import Any

from ._progress import duration
from ._rolling_plan import CHECK, TITLES, Plan

DONE, UNWELL, NOT_REACHED, UNFINISHED = "done", "not well", "not reached", "not finished"


def plan_lines(plan: Plan, closes_at: float | None, zone: tzinfo = timezone.utc) -> list[str]:
    """The plan as a table; times are in `zone`. `closes_at` is when the hours end, in epoch seconds."""
    rows = [["BATCH", "HOST", "INSTANCE", "ZONE", "TO DO", "ABOUT", "TAKES", "WINDOW", "PROBLEM"]]
    for turn in plan.turns:
        start = f"{datetime.fromtimestamp(turn.starts_at, zone):%a %H:%M}"
        if closes_at is not None and turn.starts_at >= closes_at:
            start = "after hours"
        rows.append(
            [
                str(turn.batch),
                turn.host,
                turn.instance,
                turn.zone,
                TITLES[turn.todo],
                start,
                duration(60 * turn.minutes) + ("" if turn.is_measured else " (assumed)"),
                turn.window_start,
                turn.problem,
            ]
        )
    lines = ["Nothing is to be done."]
    if plan.turns:
        how_many = f"Hosts: {len(plan.turns)}, in {len(plan.batches)} batches, about {duration(60 * plan.minutes)}."
        lines = [*table(rows), how_many]
    lines += [f"Left alone: {host}: {why}." for host, why in plan.left_alone.items()]
    return lines


def summary(turns: Iterable[Mapping[str, Any]], records: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each host of the plan: `result`, `steps`, `step` (the last one), `seconds` and `why`."""
    rows = []
    for turn in turns:
        record = records.get(str(turn["host"])) or {}
        steps = list(record.get("steps", ()))
        result = record.get("result") or (UNFINISHED if steps else NOT_REACHED)
        last = steps[-1]["step"] if steps else None
        failed = [step for step in steps if step["outcome"] != "ok"]
        rows.append(
            {
                **{name: turn[name] for name in ("host", "instance", "zone", "batch", "todo")},
                "result": result,
                "step": failed[0]["step"] if result != DONE and failed else last,
                "why": record.get("why") or (turn["problem"] if result == NOT_REACHED else ""),
                "started_at": steps[0]["started_at"] if steps else None,
                "seconds": round(sum(step["seconds"] for step in steps), 1),
                "steps": steps,
            }
        )
    return rows


def summary_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows as a table, and the counts."""
    cells = [["HOST", "INSTANCE", "RESULT", "LAST STEP", "TOOK", "WHY"]]
    for row in rows:
        took = duration(row["seconds"]) if row["steps"] else ""
        result = f"{row['result']} (checked)" if row["todo"] == CHECK and row["result"] == DONE else row["result"]
        step = "" if row["result"] == DONE else row["step"] or ""
        cells.append([row["host"], row["instance"], result, step, took, row["why"]])
    counts = count(rows)
    found = ", ".join(f"{number} {result}" for result, number in counts.items() if number)
    return [*table(cells), f"Hosts: {len(rows)}: {found}."] if rows else []


def count(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many hosts have each result."""
    counts = dict.fromkeys((DONE, UNWELL, UNFINISHED, NOT_REACHED), 0)
    for row in rows:
        counts[row["result"]] += 1
    return counts


def must_stop(rows: Iterable[Mapping[str, Any]], batch: int, percentage: float) -> bool:
    """Whether more than this percentage of a batch's hosts is not well."""
    mine = [row for row in rows if row["batch"] == batch]
    bad = [row for row in mine if row["result"] != DONE]
    return bool(mine) and 100 * len(bad) / len(mine) > percentage


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns, without those that are empty in all rows but the first."""
    kept = [number for number in range(len(rows[0])) if any(row[number] for row in rows[1:])]
    widths = [max(len(row[number]) for row in rows) for number in kept]
    return [
        "  ".join((row[number] or "-").ljust(width) for number, width in zip(kept, widths)).rstrip() for row in rows
    ]
