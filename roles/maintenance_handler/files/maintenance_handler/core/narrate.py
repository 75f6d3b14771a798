# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines for what happened between two states of an incident. Pure."""

from __future__ import annotations

from .incident import OK, RESTORING, Incident, Moment, Signal, Step
from .tasks import DRAIN

Line = tuple[str, str]  # level, text


def narrate(before: Incident | None, after: Incident, now: Moment) -> list[Line]:
    """The lines, oldest first, each with its level."""
    lines: list[Line] = []
    known = set() if before is None else {(one.source, one.serial) for one in before.signals}
    lines += [_signal_line(one, now) for one in after.signals if (one.source, one.serial) not in known]
    past_before = len(before.past) + before.past_dropped if before else 0
    for past in after.past[max(0, past_before - after.past_dropped) :]:
        how = f"ended by {past.ended_by}" if past.ended_by else past.value
        lines.append(("info", f"{past.event} is {'cancelled' if past.cancelled else 'over'} ({how})"))
    hold = after.hold
    if hold is not None and hold != (before.hold if before else None):
        reason = f": {hold.reason}" if hold.reason else ""
        what = f"{hold.released_by} releases" if hold.released_by else f"{hold.by} holds"
        lines.append(("warning", f"{what} what is drained{reason}"))
    earlier = {} if before is None else {one.number: one for one in before.steps}
    ended = [step for step in after.steps if step.number in earlier and earlier[step.number].open and not step.open]
    lines += [_end_line(step) for step in ended]
    for step in after.steps:
        if step.acknowledged_by and not (step.number in earlier and earlier[step.number].acknowledged_by):
            lines.append(("warning", f"{step.acknowledged_by} acknowledges that {step.task!r} is not restored"))
    decided = () if before is None else before.skips
    for skip in after.skips:
        if skip not in decided:
            lines.append(("info", f"drain {skip.task!r} is skipped for {skip.event}: {skip.reason}"))
    lines += _slot_lines(before, after)
    if before is not None and before.phase != after.phase and after.phase == RESTORING:
        left = ", ".join(dict.fromkeys(one.event for one in after.signals))
        what = f"restoring what is not drained for {left}" if left else "no event is left: restoring"
        lines.append(("info", what))
    for step in after.steps:
        if step.number not in earlier:
            lines.append(_start_line(step))
            if not step.open:
                lines.append(_end_line(step))
    return lines


def _slot_lines(before: Incident | None, after: Incident) -> list[Line]:
    known = before.slot.entries if before is not None and before.slot is not None else ()
    entries = [one for one in after.slot.entries if one not in known] if after.slot is not None else []
    return [
        (one.level, f"fleet limit, {one.event}: {': '.join(filter(None, (one.what, one.detail)))}") for one in entries
    ]


def _signal_line(signal: Signal, now: Moment) -> Line:
    order = signal.order
    if order is not None:
        reason = f": {order.reason}" if order.reason else ""
        seconds = "" if order.ends is None else f", for {order.ends - now.clock:.0f} s"
        return "warning", f"{order.by} orders to drain as for {order.as_event}{seconds}{reason}"
    left = "" if signal.deadline is None else f", {max(0.0, signal.deadline - now.clock):.1f} s left"
    what = "is rehearsed" if signal.rehearsal else "is announced"
    return "warning", f"{signal.event} {what} ({signal.value}){left}"


def _start_line(step: Step) -> Line:
    again = f", attempt {step.attempt}" if step.attempt > 1 else ""
    left = "" if step.left is None else f", {step.left:.1f} s before {step.event}"
    return "info", f"{step.phase} {step.task!r} starts{again}{left}, timeout {step.limit:.1f} s"


def _end_line(step: Step) -> Line:
    seconds = "" if step.finished is None else f" after {step.finished.clock - step.started.clock:.1f} s"
    detail = f" ({': '.join(filter(None, (step.detail, step.output)))})" if step.detail or step.output else ""
    again = ""
    if step.finished is not None and step.again_at is not None:
        again = f"; not restored, next attempt in {step.again_at - step.finished.clock:.0f} s"
    level = "info" if step.outcome == OK else "warning" if step.phase == DRAIN else "error"
    return level, f"{step.phase} {step.task!r}: {step.outcome}{seconds}{detail}{again}"
