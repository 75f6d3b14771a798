# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearsals of a fleet: the verdict of each, and their table. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ._batches import named, one_line

WELL, NOT_WELL, NO_TASK, SHOWN, NOT_REACHED = "well", "NOT WELL", "no task", "not executed", "not reached"
COLUMNS = ("HOST", "EVENT", "STEP", "SECONDS", "VERDICT")


def rehearsal(result: Mapping[str, Any], event: str) -> dict[str, Any]:
    """The verdict on a rehearsal, from the result of `gce-maintenance-handler rehearse EVENT --json`."""
    empty: dict[str, Any] = {"event": event, "steps": [], "skipped": [], "seconds": None}
    if result.get("unreachable"):
        return {**empty, "verdict": NOT_WELL, "why": one_line(f"The VM does not answer: {result.get('msg')}")}
    try:
        found = json.loads(result.get("stdout") or "")
        steps = [_step(step) for step in found["steps"]]
        executed, skipped = bool(found["executed"]), [str(one["task"]) for one in found["skipped"]]
        not_restored = [str(task) for task in found.get("not_restored", ())]
    except (ValueError, TypeError, KeyError, AttributeError):
        # Arguments of an older version end in its usage, whose last line is the error.
        said = str(result.get("stderr") or result.get("msg") or result.get("stdout") or "no output").strip()
        return {**empty, "verdict": NOT_WELL, "why": one_line(f"It was not rehearsed: {said.splitlines()[-1]}")}
    failed = [
        f"{step['phase']} {step['task']}: {_reason(step)}" for step in steps if step["outcome"] not in ("ok", None)
    ]
    why = "; ".join([*failed, *(f"not restored: {task}" for task in not_restored)])
    if not why and result.get("rc"):
        why = f"exit status {result['rc']}"
    verdict = NOT_WELL if why else NO_TASK if not steps else WELL if executed else SHOWN
    times = [step["seconds"] for step in steps if step["seconds"] is not None]
    seconds = round(sum(times), 1) if times else None
    return {**empty, "verdict": verdict, "why": one_line(why), "steps": steps, "skipped": skipped, "seconds": seconds}


def fleet_rehearsal(hosts: Sequence[str], records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The rehearsals of a fleet so far. A record has `rehearsals` (of `rehearsal`) and `problem`, of a health check."""
    rows = [_row(host, records.get(host)) for host in hosts]
    unwell = [row["host"] for row in rows if row["verdict"] == NOT_WELL]
    reached = [row["host"] for row in rows if row["verdict"] != NOT_REACHED]
    without = [row["host"] for row in rows if row["verdict"] == NO_TASK]
    missing = [row["host"] for row in rows if row["verdict"] == NOT_REACHED]
    lines = [
        *_table([list(COLUMNS), *(line for row in rows if row["rehearsals"] for line in _table_rows(row))]),
        f"Hosts: {len(reached)} of {len(hosts)} rehearsed, {len(unwell)} not well.",
        *([f"Not well: {named(unwell)}."] if unwell else []),
        *(f"  {row['host']}: {row['why']}" for row in rows if row["verdict"] == NOT_WELL),
        *([f"Without a task for these events: {named(without)}."] if without else []),
        *([f"Not reached: {named(missing)}."] if missing else []),
    ]
    return {"hosts": rows, "not_well": unwell, "not_reached": missing, "well": not unwell, "lines": lines}


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    seconds = step.get("seconds")
    return {
        "task": str(step["task"]),
        "phase": str(step["phase"]),
        # None if it was not run.
        "outcome": None if step.get("outcome") is None else str(step["outcome"]),
        "seconds": None if seconds is None else round(float(seconds), 3),
        "detail": one_line(step.get("detail")),
    }


def _reason(step: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (step["outcome"] or "not finished", step["detail"])))


def _row(host: str, record: Mapping[str, Any] | None) -> dict[str, Any]:
    if not record:
        return {"host": host, "verdict": NOT_REACHED, "why": "", "rehearsals": []}
    rehearsals = [dict(one) for one in record.get("rehearsals", ())]
    reasons = [f"{one['event']}: {one['why']}" for one in rehearsals if one["verdict"] == NOT_WELL]
    reasons += [one_line(record["problem"])] if record.get("problem") else []
    verdicts = {one["verdict"] for one in rehearsals}
    best = next((verdict for verdict in (WELL, SHOWN) if verdict in verdicts), NO_TASK)
    return {
        "host": host,
        "verdict": NOT_WELL if reasons else best,
        "why": "; ".join(reasons),
        "rehearsals": rehearsals,
    }


def _table_rows(row: Mapping[str, Any]) -> list[list[str]]:
    """A line for each step. Host, event and verdict are in the first line of each."""
    lines: list[list[str]] = []
    for one in row["rehearsals"]:
        steps = [
            [f"{step['phase']} {step['task']}", "" if step["seconds"] is None else f"{step['seconds']:.1f}"]
            for step in one["steps"]
        ]
        first, *others = steps or [["", ""]]
        lines.append([row["host"], one["event"], *first, one["verdict"]])
        lines += [["", "", *step, ""] for step in others]
    return lines


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
