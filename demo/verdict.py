# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Was it well? The figures of one VM, and a sentence for each thing that went wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .evidence import BEGINS, DRAIN, ENDS, RESTORE, Evidence, Task, outcome


@dataclass(frozen=True)
class Figures:
    """Seconds, None where it did not come to that."""

    # From the platform's announcement to the first line of the first task.
    heard_after: float | None
    # From the announcement to the end of the last drain.
    drained_after: float | None
    # From there to the event.
    notice_left: float | None
    # From the end of the event, or the boot, to the end of the last restore.
    restored_after: float | None


def figures(evidence: Evidence) -> Figures:
    first = min(evidence.times(DRAIN, BEGINS), default=None)
    return Figures(
        heard_after=_between(evidence.raised_at, first),
        drained_after=_between(evidence.raised_at, evidence.drained_at),
        notice_left=_between(evidence.drained_at, evidence.event_at),
        restored_after=_between(evidence.over_at, evidence.restored_at),
    )


def problems(evidence: Evidence) -> list[str]:
    """None if all went well."""
    return [f"{evidence.fate.host}: {problem}" for problem in _problems(evidence)]


def _problems(evidence: Evidence) -> Iterator[str]:
    yield from _of_signal(evidence)
    for task in evidence.tasks:
        yield from _of_task(evidence, task)
    yield from _of_history(evidence)
    yield from _of_time(evidence)
    yield from _of_files(evidence)
    yield from (f"when it lost its power, this was still running: {one}" for one in evidence.cut_off)
    yield from (f"at the end, this was still running: {one}" for one in evidence.left_running)
    for status in evidence.exit_statuses:
        if status != 0:
            yield f"the handler, asked to stop, {'did not' if status is None else f'ended with exit status {status}'}."


def _of_signal(evidence: Evidence) -> Iterator[str]:
    event, name = evidence.fate.event, evidence.fate.name
    if evidence.fate.reboots and evidence.stopped_at is None:
        yield f"the platform never stopped it, so the {name} was not shown."
    if not evidence.incidents:
        yield f"its handler's history has no {name} that is over."
        return
    if len(evidence.incidents) > 1:
        yield f"its handler made {len(evidence.incidents)} incidents of one {name}."
    heard = [past["event"] for incident in evidence.incidents for past in incident["past"]]
    if heard != [event]:
        yield f"its handler heard of {', '.join(heard) or 'nothing'} where there was one {event}."
    if evidence.raised_at is None:
        yield f"the emulator's journal has no answer about {evidence.fate.signal} before the handler heard of it."


def _of_task(evidence: Evidence, task: Task) -> Iterator[str]:
    # What the history says of these is more than that they did not get to their end.
    failed = {(step["phase"], step["task"]) for step in evidence.steps if step["outcome"] != "ok"}
    phases = [(DRAIN, "drained"), (RESTORE, "restored")] if task.restores else [(DRAIN, "drained")]
    for phase, done in phases:
        began, ended = (len(evidence.times(phase, what, task.name)) for what in (BEGINS, ENDS))
        if began == 0:
            yield f"'{task.name}' was not {done}."
        elif began > 1:
            yield f"'{task.name}' was {done} {began} times."
        elif ended == 0 and (phase, task.name) not in failed:
            yield f"'{task.name}' was not {done} to its end."


def _of_history(evidence: Evidence) -> Iterator[str]:
    """What the handler says, held against what the tasks say."""
    wanted = {task.name for task in evidence.tasks}
    for step in evidence.steps:
        if step["outcome"] != "ok":
            yield f"the {step['phase']} of '{step['task']}' ended with: {outcome(step)}."
        if step["task"] not in wanted:
            yield f"'{step['task']}' was run, and is not for a {evidence.fate.event}."
    said = sorted((step["phase"], step["task"]) for step in evidence.steps)
    noted = sorted((note.phase, note.task) for note in evidence.notes if note.what == BEGINS)
    if evidence.incidents and said != noted:
        yield f"its handler's history has {len(said)} steps, and the tasks noted {len(noted)}: they disagree."


def _of_time(evidence: Evidence) -> Iterator[str]:
    left = figures(evidence).notice_left
    if left is not None and left < 0:
        yield f"it was drained {-left:.1f} s too late for the {evidence.fate.name}."
    early = [at for at in evidence.times(RESTORE, BEGINS) if evidence.over_at is not None and at < evidence.over_at]
    if early:
        yield f"it was being restored before the {evidence.fate.name} was over."


def _of_files(evidence: Evidence) -> Iterator[str]:
    for path in sorted(evidence.before.keys() | evidence.after.keys()):
        before, after = evidence.before.get(path), evidence.after.get(path)
        if before != after:
            yield f"{path} said {_quoted(before)} before, and says {_quoted(after)} now."


def _quoted(text: str | None) -> str:
    return "nothing" if text is None else f"'{text}'"


def _between(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else end - begin
