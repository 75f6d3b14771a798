# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of the command line to the running handler: to rehearse, to restore and to acknowledge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core import announcements
from ..core.incident import ANNOUNCED, Incident, Moment, not_restored
from ..core.observations import Acknowledged, RetryWanted
from ..io.request import RESTORE, Request

if TYPE_CHECKING:
    from ..core.observations import Observation


class Refused(Exception):
    """A request is refused. The text is the reason."""


def rehearsal(
    wanted: Request, incident: Incident | None, is_waiting: bool, now: Moment, notice: Mapping[str, float]
) -> Observation:
    """The observation that begins a rehearsal. Raises `Refused`.

    `is_waiting`: whether an incident of an earlier boot waits for the metadata server.
    """
    if is_waiting or (incident is not None and incident.phase != ANNOUNCED):
        raise Refused("an event is being handled")
    try:
        return announcements.rehearsal(wanted.event, wanted.name, now, notice)
    except KeyError:
        raise Refused(f"there is no event {wanted.event!r}") from None


def end_by_hand(wanted: Request, incident: Incident | None, is_waiting: bool) -> RetryWanted | Acknowledged:
    """The observation that retries failed restores, or acknowledges them. Raises `Refused`. See `rehearsal`."""
    if is_waiting:
        raise Refused("an incident of an earlier boot is open, and the metadata server has not answered yet")
    names = [step.task for step in not_restored(incident)] if incident is not None else []
    if not names:
        raise Refused("all tasks are restored")
    unknown = [name for name in wanted.tasks if name not in names]
    if unknown:
        known = ", ".join(map(repr, names))
        raise Refused(f"{', '.join(map(repr, unknown))} is not among what is not restored: {known}")
    tasks = wanted.tasks or tuple(names)
    return RetryWanted(tasks) if wanted.command == RESTORE else Acknowledged(tasks, wanted.by)
