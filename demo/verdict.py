# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a VM, and a sentence for each problem. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .evidence import BEGINS, DRAIN, ENDS, RESTORE, Evidence, Task, outcome


@dataclass(frozen=True)
class Figures:
    """Seconds; None where the end was not reached."""

    # From the announcement to the first line of the first task.
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
    """A sentence for each problem."""
    return [f"{evidence.case.host}: {problem}" for problem in _problems(evidence)]


def _problems(evidence: Evidence) -> Iterator[str]:
    yield from _of_signal(evidence)
    for task in evidence.tasks:
        yield from _of_task(evidence, task)
    yield from _of_history(evidence)
    yield from _of_time(evidence)
    yield from _of_files(evidence)
    if evidence.lost_with:
        yield f"{evidence.lost_with} requests were lost in spite of the handler."
    yield from (f"still running at the power cut: {one}" for one in evidence.cut_off)
    yield from (f"still running at the end: {one}" for one in evidence.left_running)
    for status in evidence.exit_statuses:
        if status != 0:
            yield f"the handler {'did not stop' if status is None else f'stopped with exit status {status}'}."


def _of_signal(evidence: Evidence) -> Iterator[str]:
    event, name = evidence.case.event, evidence.case.name
    if evidence.case.reboots and evidence.stopped_at is None:
        yield f"the platform did not stop the VM, so there was no {name}."
    if not evidence.incidents:
        yield f"the handler's history has no {name}."
        return
    if len(evidence.incidents) > 1:
        yield f"the handler has {len(evidence.incidents)} incidents for one {name}."
    heard = [past["event"] for incident in evidence.incidents for past in incident["past"]]
    if heard != [event]:
        yield f"the handler noticed {', '.join(heard) or 'nothing'} instead of one {event}."
    if evidence.raised_at is None:
        yield f"the emulator's journal has no answer for {evidence.case.signal} before the handler noticed it."


def _of_task(evidence: Evidence, task: Task) -> Iterator[str]:
    # The history has more about these than that they did not complete.
    failed = {(step["phase"], step["task"]) for step in evidence.steps if step["outcome"] != "ok"}
    phases = [(DRAIN, "drained"), (RESTORE, "restored")] if task.restores else [(DRAIN, "drained")]
    for phase, done in phases:
        began, ended = (len(evidence.times(phase, what, task.name)) for what in (BEGINS, ENDS))
        if began == 0:
            yield f"'{task.name}' was not {done}."
        elif began > 1:
            yield f"'{task.name}' was {done} {began} times."
        elif ended == 0 and (phase, task.name) not in failed:
            yield f"'{task.name}' was not {done} completely."


def _of_history(evidence: Evidence) -> Iterator[str]:
    """Compare the handler's history with the notes of the tasks."""
    wanted = {task.name for task in evidence.tasks}
    for step in evidence.steps:
        if step["outcome"] != "ok":
            yield f"the {step['phase']} of '{step['task']}' ended with: {outcome(step)}."
        if step["task"] not in wanted:
            yield f"'{step['task']}' was run, but is not a task for {evidence.case.event}."
    said = sorted((step["phase"], step["task"]) for step in evidence.steps)
    noted = sorted((note.phase, note.task) for note in evidence.notes if note.what == BEGINS)
    if evidence.incidents and said != noted:
        yield f"the handler's history has {len(said)} steps, but the tasks noted {len(noted)}."


def _of_time(evidence: Evidence) -> Iterator[str]:
    left = figures(evidence).notice_left
    if left is not None and left < 0:
        yield f"it was drained {-left:.1f} s after the {evidence.case.name}."
    early = [at for at in evidence.times(RESTORE, BEGINS) if evidence.over_at is not None and at < evidence.over_at]
    if early:
        yield f"its restore began before the {evidence.case.name} was over."


def _of_files(evidence: Evidence) -> Iterator[str]:
    for path in sorted(evidence.before.keys() | evidence.after.keys()):
        before, after = evidence.before.get(path), evidence.after.get(path)
        if before != after:
            yield f"{path} was {_quoted(before)} before and is {_quoted(after)} now."


def _quoted(text: str | None) -> str:
    return "nothing" if text is None else f"'{text}'"


def _between(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else end - begin
