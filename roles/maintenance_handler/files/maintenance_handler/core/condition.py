# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The condition of a task in an incident, derived from its steps. Pure."""

from __future__ import annotations

from .incident import CANCELLED, FAILURES, INTERRUPTED, NOT_STARTED, OK, Incident, Step
from .tasks import DRAIN, RESTORE, Task

# Seconds before a failed program is run again.
RETRY_PAUSE = 1.0

# Conditions.
REST = "at rest"  # never started, or restored, or acknowledged, or over without a restore
RUNS_DRAIN = "drain runs"
RUNS_RESTORE = "restore runs"
HOLDS = "holds"  # drained, or failed to for good
AGAIN = "again"  # neither: it was ended or interrupted
RETRY_DRAIN = "drain retries"
RETRY_RESTORE = "restore retries"
UNRESTORED = "unrestored"  # restoring failed, with no retries left


def own_steps(incident: Incident, task: Task) -> tuple[Step, ...]:
    """The steps of a task in an incident, in order."""
    return tuple(one for one in incident.steps if one.task == task.name)


def condition_of(task: Task, steps: tuple[Step, ...]) -> str:
    """The condition of a task with these steps of its own."""
    if not steps:
        return REST
    last = steps[-1]
    if last.open:
        return RUNS_DRAIN if last.phase == DRAIN else RUNS_RESTORE
    if last.acknowledged_by or last.over:
        return REST
    if last.outcome in (INTERRUPTED, CANCELLED):
        return AGAIN
    if last.outcome in FAILURES and not last.failing and time_to_retry(task, last) > 0:
        return retrying(last.phase)
    if last.phase == DRAIN:
        return HOLDS
    return REST if last.outcome == OK else UNRESTORED


def retrying(phase: str) -> str:
    """The condition of a task that failed in a phase and has retries left."""
    return RETRY_DRAIN if phase == DRAIN else RETRY_RESTORE


def time_to_retry(task: Task, last: Step) -> float:
    """Seconds that a retry of the newest step would have; 0 if there is no retry."""
    if last.attempt > task.retries or last.finished is None:
        return 0.0
    spent = last.finished.clock + RETRY_PAUSE - last.attempts_began
    return max(0.0, task.limit(last.phase, last.task_event) - spent)


def is_still_drained(condition: str, last: Step) -> bool:
    """Whether a task is as its drain left it, so that another event finds it drained.

    A restore that could not be started has changed nothing. One that ran, and failed, may have done its work in part.
    """
    if condition in (RETRY_RESTORE, UNRESTORED):
        return last.phase == RESTORE and last.outcome == NOT_STARTED and not last.partial
    return condition == HOLDS
