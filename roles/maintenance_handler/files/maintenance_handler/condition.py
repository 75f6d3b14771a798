# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a task of an incident stands, by its own steps. Pure."""

from __future__ import annotations

from .incident import CANCELLED, FAILED, INTERRUPTED, TIMEOUT, Incident, Step
from .tasks import DRAIN, Task

# A program that failed at once gets a moment before it is tried again.
RETRY_PAUSE = 1.0

# Conditions.
REST = "at rest"  # never started, or restored (or given up restoring)
RUNS_DRAIN = "drain runs"
RUNS_RESTORE = "restore runs"
HOLDS = "holds"  # drained, or failed to for good
AGAIN = "again"  # neither: was ended or interrupted half way
RETRY_DRAIN = "drain retries"
RETRY_RESTORE = "restore retries"


def own_steps(incident: Incident, task: Task) -> tuple[Step, ...]:
    """A task's steps in an incident, in their order."""
    return tuple(one for one in incident.steps if one.task == task.name)


def condition_of(task: Task, steps: tuple[Step, ...]) -> str:
    """The condition of a task with these steps of its own."""
    if not steps:
        return REST
    last = steps[-1]
    if last.open:
        return RUNS_DRAIN if last.phase == DRAIN else RUNS_RESTORE
    if last.outcome in (INTERRUPTED, CANCELLED):
        return AGAIN
    if last.outcome in (FAILED, TIMEOUT) and time_to_retry(task, steps) > 0:
        return retrying(last.phase)
    return HOLDS if last.phase == DRAIN else REST


def retrying(phase: str) -> str:
    """The condition of a task that failed in a phase and is to try again."""
    return RETRY_DRAIN if phase == DRAIN else RETRY_RESTORE


def time_to_retry(task: Task, steps: tuple[Step, ...]) -> float:
    """Seconds that another attempt would have; 0 when there is to be none."""
    run = _failed_run(steps)
    last = steps[-1]
    if last.attempt > task.retries or last.finished is None:
        return 0.0
    spent = last.finished.clock + RETRY_PAUSE - run[0].started.clock
    return max(0.0, task.limit(last.phase) - spent)


def _failed_run(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The newest attempts in a row of one phase that failed."""
    run: list[Step] = []
    for one in reversed(steps):
        if one.outcome not in (FAILED, TIMEOUT) or one.phase != steps[-1].phase or (run and run[-1].attempt == 1):
            break
        run.append(one)
    return tuple(reversed(run))
