# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits for an incident that lasts: it keeps what decisions need, and the newest of the rest. Pure."""

from __future__ import annotations

from .._vm.records import replace
from .incident import Incident, last_steps
from .tasks import DRAIN

MOST_PAST = 30
MOST_SKIPS = 50
# Or four for each task, if that is more: a drain and a restore, each with a second attempt.
MOST_STEPS = 100


def trimmed(incident: Incident) -> Incident:
    """The incident without its oldest signals, steps and skips, if there are too many."""
    return _trim_skips(_trim_past(_trim_steps(incident)))


def _trim_steps(incident: Incident) -> Incident:
    excess = len(incident.steps) - max(MOST_STEPS, 4 * len(incident.tasks))
    if excess <= 0:
        return incident
    drains = (step for step in incident.steps if step.phase == DRAIN)
    needed = {step.number for steps in (incident.steps, drains) for step in last_steps(steps).values()}
    droppable = [step.number for step in incident.steps if step.number not in needed]
    dropped = set(droppable[:excess])
    return replace(
        incident,
        steps=tuple(step for step in incident.steps if step.number not in dropped),
        steps_dropped=incident.steps_dropped + len(dropped),
    )


def _trim_past(incident: Incident) -> Incident:
    excess = len(incident.past) - MOST_PAST
    if excess <= 0:
        return incident
    # Tasks get the newest document of their event.
    needed = {past.event: index for index, past in enumerate(incident.past)}.values()
    dropped = [index for index in range(len(incident.past)) if index not in needed][:excess]
    return replace(
        incident,
        past=tuple(past for index, past in enumerate(incident.past) if index not in dropped),
        past_dropped=incident.past_dropped + len(dropped),
    )


def _trim_skips(incident: Incident) -> Incident:
    excess = len(incident.skips) - MOST_SKIPS
    if excess <= 0:
        return incident
    on = {signal.serial for signal in incident.signals}
    kept = [skip for index, skip in enumerate(incident.skips) if index >= excess or skip.serial in on]
    return replace(incident, skips=tuple(kept))
