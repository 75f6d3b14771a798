# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened between two states of an incident, in lines for the log. Pure."""

from __future__ import annotations

from .incident import OK, RESTORING, Incident, Moment, Signal, Step
from .tasks import DRAIN

Line = tuple[str, str]  # level, text


def narrate(before: Incident | None, after: Incident, now: Moment) -> list[Line]:
    """The lines, oldest first, each with its level."""
    lines: list[Line] = []
    known = set() if before is None else {(one.source, one.serial) for one in before.signals}
    lines += [_signal_line(one, now) for one in after.signals if (one.source, one.serial) not in known]
    for past in after.past[len(before.past) if before else 0 :]:
        lines.append(("info", f"{past.event} is over ({past.value})"))
    for skip in after.skips[len(before.skips) if before else 0 :]:
        lines.append(("info", f"drain {skip.task!r} is skipped for {skip.event}: {skip.reason}"))
    if before is not None and before.phase != after.phase and after.phase == RESTORING:
        lines.append(("info", "nothing is left to drain: restoring"))
    earlier = {} if before is None else {one.number: one for one in before.steps}
    for step in after.steps:
        old = earlier.get(step.number)
        if old is None:
            lines.append(_start_line(step))
        if step.finished is not None and (old is None or old.finished is None):
            lines.append(_end_line(step))
    return lines


def _signal_line(signal: Signal, now: Moment) -> Line:
    left = "" if signal.deadline is None else f", {max(0.0, signal.deadline - now.clock):.1f} s left"
    what = "is rehearsed" if signal.rehearsal else "is announced"
    return "warning", f"{signal.event} {what} ({signal.value}){left}"


def _start_line(step: Step) -> Line:
    again = f", attempt {step.attempt}" if step.attempt > 1 else ""
    left = "" if step.left is None else f", {step.left:.1f} s before {step.event}"
    return "info", f"{step.phase} {step.task!r} starts{again}{left}, may take {step.until - step.started.clock:.1f} s"


def _end_line(step: Step) -> Line:
    seconds = "" if step.finished is None else f" after {step.finished.clock - step.started.clock:.1f} s"
    detail = f" ({step.detail})" if step.detail else ""
    level = "info" if step.outcome == OK else "warning" if step.phase == DRAIN else "error"
    return level, f"{step.phase} {step.task!r}: {step.outcome}{seconds}{detail}"
