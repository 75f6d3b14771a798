# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about a VM after its event, from three independent sources. Pure.

These are the times of the platform's announcement, stop and start, the handler's history, and the notes of the tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .cases import Case

DRAIN, RESTORE = "drain", "restore"
BEGINS, ENDS = "begins", "ends"


@dataclass(frozen=True)
class Task:
    """A task for the VM's event."""

    name: str
    restores: bool = True


@dataclass(frozen=True)
class Note:
    """A note that a task wrote itself."""

    at: float
    what: str
    phase: str
    task: str


@dataclass(frozen=True)
class Evidence:
    """All times are seconds since 1970. `incidents` are the handler's history; `before` and `after` the VM's files."""

    case: Case
    notice: float
    tasks: tuple[Task, ...]
    raised_at: float | None
    stopped_at: float | None
    booted_at: float
    incidents: Sequence[Mapping[str, Any]]
    notes: tuple[Note, ...]
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    # Commands that still ran at the power cut, and at the end.
    cut_off: tuple[str, ...] = ()
    left_running: tuple[str, ...] = ()
    exit_statuses: tuple[int | None, ...] = (0,)
    # Requests to the VM that failed: by a balancer that the handler tells to spare it, and by one that nobody tells.
    lost_with: int = 0
    lost_without: int = 0

    @property
    def event_at(self) -> float | None:
        """When the announced event happened."""
        if self.case.reboots:
            return self.stopped_at
        return None if self.raised_at is None else self.raised_at + self.notice

    @property
    def over_at(self) -> float | None:
        """When the event was over."""
        if self.case.reboots:
            return None if self.stopped_at is None else self.booted_at
        ends = [past["ended_at"] for incident in self.incidents for past in incident["past"]]
        return max(ends, default=None)

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        """The steps in the handler's history."""
        return [step for incident in self.incidents for step in incident["steps"]]

    @property
    def drained_at(self) -> float | None:
        """When the last drain ended; None unless all of them have."""
        ends = [self.times(DRAIN, ENDS, task.name) for task in self.tasks]
        return max(map(max, ends), default=None) if all(ends) else None

    @property
    def restored_at(self) -> float | None:
        """When the last restore ended; None unless the VM is in its original state."""
        return max(self.times(RESTORE, ENDS), default=None) if self.before == self.after else None

    def times(self, phase: str, what: str, task: str | None = None) -> list[float]:
        """When tasks noted this, in order."""
        return [one.at for one in self.notes if (one.phase, one.what) == (phase, what) and task in (None, one.task)]


def tasks_for(event: str, configured: Iterable[Mapping[str, Any]]) -> tuple[Task, ...]:
    """The tasks of a handler's configuration for an event."""
    return tuple(Task(one["name"], bool(one.get("restore"))) for one in configured if event in one["on"])


def parse_notes(text: str) -> tuple[Note, ...]:
    """The file that vm/usr/local/bin/note writes."""
    rows = (line.split("\t") for line in text.splitlines())
    return tuple(Note(float(at), what, phase, task) for at, what, phase, task in rows)


def raised_at(
    journal: Iterable[Mapping[str, Any]], signal: str, incidents: Sequence[Mapping[str, Any]]
) -> float | None:
    """When the VM was notified: the last answer for the signal before the handler noticed it."""
    heard = min((incident["opened_at"] for incident in incidents), default=None)
    if heard is None:
        return None
    answers = [
        entry["answered_at"]
        for entry in journal
        if entry["path"].endswith(signal) and entry["status"] == 200 and entry["answered_at"] <= heard
    ]
    return max(answers, default=None)


def outcome(step: Mapping[str, Any]) -> str:
    """The outcome of a step of the history, as text."""
    return f"{step['outcome']} ({step['detail']})" if step["detail"] else str(step["outcome"])
