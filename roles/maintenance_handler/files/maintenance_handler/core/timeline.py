# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Incidents and plans as text. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from .._vm.maintenance import MANUAL, MISSED, RESTART, WINDOW
from .incident import OK
from .plan import Notice, Stage, batches, shortened, stages
from .tasks import RESTORE, Task

_NO_NOTICE = {
    WINDOW: "announced ahead",
    MISSED: "detected afterwards",
    RESTART: "detected at the next boot",
    MANUAL: "ordered by an operator, by default as for terminate",
}


def incident_lines(incident: Mapping[str, Any]) -> list[str]:
    """A timeline of an incident (of `incident.public`), in seconds since the first signal."""
    began = incident["opened_at"]
    rows: list[tuple[float, str, str]] = []
    for past in incident["past"]:
        rows.append((past["noticed_at"], _notice(past), ""))
        how = "cancelled" if past.get("cancelled") else "over"
        rows.append((past["ended_at"], f"{past['event']} is {how}", ended_how(past)))
    rows += [(one["noticed_at"], _notice(one), _left(one["seconds_left"], "left now")) for one in incident["signals"]]
    rows += [(skip["at"], f"skip     {skip['task']}", skip["reason"]) for skip in incident["skips"]]
    rows += [
        (step["started_at"], f"{step['phase']:<8} {step['task']}{_attempt(step)}", step_end(step))
        for step in incident["steps"]
    ]
    hold = incident.get("hold")
    if hold:
        rows.append((hold["at"], "hold what is drained", by_whom(hold)))
        if hold["released_at"] is not None:
            rows.append((hold["released_at"], "release what is held", f"by {hold['released_by']}"))
    for one in (incident.get("slot") or {}).get("entries", ()):
        rows.append((one["at"], f"{one['event']} {one['what']}", one["detail"]))
    for one in incident.get("acknowledged", ()):
        rows.append((one["at"], f"acknowledged {one['task']} as not restored", f"by {one['by']}"))
    rows.sort(key=lambda row: row[0])
    width = max(len(row[1]) for row in rows) if rows else 0
    head = f"Incident {incident['id']}, {time.strftime('%Y-%m-%d %H:%M:%S %Z', time.localtime(began))}"
    dropped = [
        f"  ({incident[f'{what}_dropped']} earlier {words} are not kept)"
        for what, words in (("past", "announcements"), ("steps", "steps"))
        if incident.get(f"{what}_dropped")
    ]
    return [head, *dropped, *(f"  {at - began:+9.3f} s  {what:<{width}}  {how}".rstrip() for at, what, how in rows)]


def by_whom(order: Mapping[str, Any]) -> str:
    """Who has ordered a drain or a hold, and why."""
    return f"by {order['by']}" + (f": {order['reason']}" if order["reason"] else "")


def ended_how(past: Mapping[str, Any]) -> str:
    """How a drain by hand ended; empty for other events."""
    if not past.get("order"):
        return ""
    return f"by {past['ended_by']}" if past.get("ended_by") else "its time is over"


def ended_at(incident: Mapping[str, Any]) -> float:
    """The newest time (epoch seconds) in an incident."""
    times = [past["ended_at"] for past in incident["past"]] + [step["started_at"] for step in incident["steps"]]
    return float(max([incident["opened_at"], *times, *(one["at"] for one in incident.get("acknowledged", ()))]))


def news(told: set[str], incident: Mapping[str, Any]) -> list[str]:
    """A line for each start and end of a step that is not in `told`, to which it is added."""
    lines = []
    for step in incident["steps"]:
        what = f"{step['phase']} {step['task']!r}{_attempt(step)}"
        # Not by its start, which moves if its process starts late. Earlier versions have no numbers.
        key = f"{what} {step.get('number', step['started_at'])}"
        lines.append((f"{key} starts", f"{what} starts"))
        if step["outcome"]:
            lines.append((f"{key} ends", f"{what}: {step_end(step)}"))
    fresh = [(key, line) for key, line in lines if key not in told]
    told.update(key for key, _unused in fresh)
    return [line for _unused, line in fresh]


def plan_lines(event: str, tasks: Sequence[Task], notices: Mapping[str, Notice], reach: Mapping[str, Any]) -> list[str]:
    """The plan of an event: which tasks start when, and how much of the notice they may take."""
    notice = {each: one.seconds for each, one in notices.items()}
    given = _NO_NOTICE.get(event) or str(notices[event])
    lines = [f"{event} ({given}){_reach(reach.get(event))}"]
    for batch in batches(tasks, event):
        lines.append("  at once" if batch.lead is None else f"  {batch.lead:g} s before it")
        begins = 0.0
        for stage in batch.stages:
            lines.append(_stage_line(stage, begins))
            begins += stage.seconds
        given_seconds = batch.lead if event in _NO_NOTICE or batch.lead is not None else notice[event]
        if given_seconds is not None:
            lines.append(f"    {begins:g} s at most, {given_seconds - begins:g} s to spare")
        lines += [f"    shortened: {line}" for line in shortened(batch, event, notice)]
    back = stages([task for task in tasks if event in task.on], event, RESTORE)
    if back:
        lines.append("  afterwards")
        lines += [f"    stage {stage.number:<4} restore  {_names(stage)}" for stage in back]
    return lines if len(lines) > 1 else [*lines, "  no task is for it"]


def _stage_line(stage: Stage, begins: float) -> str:
    return f"    stage {stage.number:<4} drain    {_names(stage)}  (+{begins:g} s, {stage.seconds:g} s at most)"


def _names(stage: Stage) -> str:
    return ", ".join(task.name for task in stage.tasks)


def _reach(reach: Mapping[str, Any] | None) -> str:
    if not reach:
        return ""
    verdict = {True: "can reach this VM", False: "cannot reach this VM", None: "unknown whether it can reach this VM"}
    return f": {verdict[reach['possible']]}, {reach['reason']}"


def _notice(signal: Mapping[str, Any]) -> str:
    kind = "rehearsal of " if signal["rehearsal"] else ""
    order = signal.get("order")
    if order:
        return f"order    {signal['event']}, as for {order['as_event']}, {by_whom(order)}"
    return f"notice   {kind}{signal['event']} ({signal['value']})"


def _attempt(step: Mapping[str, Any]) -> str:
    return f" (attempt {step['attempt']})" if step["attempt"] > 1 else ""


def step_end(step: Mapping[str, Any]) -> str:
    """The result of a step (of `incident.public`)."""
    if not step["outcome"]:
        return _joined("running", _left(step["seconds_left"], "left at its start"))
    took = "" if step["seconds"] is None else f"{step['outcome']} in {step['seconds']:.3f} s"
    why = "" if step["outcome"] == OK else ": ".join(filter(None, (step["detail"], step.get("output", ""))))
    return _joined(took, _left(step["seconds_left"], "left at its start"), why)


def _left(seconds: float | None, what: str) -> str:
    return "" if seconds is None else f"{max(0.0, seconds):.1f} s {what}"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
