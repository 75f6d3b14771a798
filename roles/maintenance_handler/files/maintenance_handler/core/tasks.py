# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task: the commands for drain and restore, and its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._vm.maintenance import EVENTS, MANUAL, MISSED, RESTART, TERMINATE, WINDOW
from .._vm.records import dataclass, field
from . import playbook as playbooks

DRAIN = "drain"
RESTORE = "restore"

CONTINUE = "continue"
SKIP_LATER = "stop"

# What a task does if no slot of the fleet limit is free (`fleet_limit`).
SKIP = "skip"
LATE = "late"
WAIT = "wait"
IGNORE = "ignore"
DENIED_POLICIES = (SKIP, LATE, WAIT, IGNORE)

# Seconds, if a task does not set them.
TIMEOUT = 20.0

# Seconds between SIGTERM and SIGKILL, and their maximum share of a step's time.
GRACE = 2.0
GRACE_SHARE = 0.2

# The events that a task can be for.
TASK_EVENTS = (*EVENTS, MISSED, RESTART, MANUAL)
# The events that are announced long enough ahead for a lead.
EVENTS_WITH_LEAD = (TERMINATE, WINDOW)
# A `lead` that means: when the event is announced.
AT_ONCE = "at_once"


@dataclass(frozen=True)
class Task:
    """One entry of `tasks`. Times in seconds; `timeout` covers a drain with all its retries.

    A mapping has values by event; an event that is not in it has the field's default.
    """

    name: str
    on: tuple[str, ...]
    stage: int = 50
    drain: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    # Checks, before anything is drained, whether the two will work.
    check: tuple[str, ...] = ()
    playbook: str | None = None
    restore_playbook: str | None = None
    timeout: float | Mapping[str, float] = TIMEOUT
    restore_timeout: float | Mapping[str, float] | None = None
    retries: int = 0
    user: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    on_failure: str | Mapping[str, str] = CONTINUE
    lead: float | Mapping[str, float] | None = None
    when: str | None = None
    # None: as the fleet limit says.
    when_denied: str | Mapping[str, str] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Task:
        """The task of a valid entry of the configuration, or of `to_dict`."""
        lists = {key: tuple(values[key]) for key in ("on", "drain", "restore", "check") if key in values}
        return cls(**{**values, **lists})

    def to_dict(self) -> dict[str, Any]:
        """As JSON. Earlier versions, after a roll-back, do not know the fields of a fleet limit."""
        return {name: value for name, value in vars(self).items() if name != "when_denied" or value is not None}

    def has(self, phase: str) -> bool:
        """Whether the task has a command for this phase."""
        return bool(self.drain or self.playbook) if phase == DRAIN else bool(self.restore or self.restore_playbook)

    def event_for(self, event: str, as_event: str = "") -> str:
        """The one of two events as which the task runs, the first if it is for both; empty if it is for neither."""
        return next((one for one in (event, as_event) if one in self.on), "")

    def limit(self, phase: str, event: str) -> float:
        """Seconds that the phase may take for an event if its deadline is not nearer."""
        timeout: float = _for_event(self.timeout, event, TIMEOUT)
        restore_timeout: float | None = _for_event(self.restore_timeout, event, None)
        return timeout if phase == DRAIN or restore_timeout is None else restore_timeout

    def lead_for(self, event: str) -> float | None:
        """Seconds before the event at which the task starts; None if it starts at once."""
        lead: float | None = _for_event(self.lead, event, None)
        return lead if event in EVENTS_WITH_LEAD else None

    def stops_after_failure(self, event: str) -> bool:
        """Whether the stages after this one are skipped when the task fails for an event."""
        return bool(_for_event(self.on_failure, event, CONTINUE) == SKIP_LATER)

    def command(self, phase: str, event: Mapping[str, Any]) -> tuple[str, ...]:
        """The command of this phase for this event."""
        playbook = self.playbook if phase == DRAIN else self.restore_playbook
        if playbook is None:
            return self.drain if phase == DRAIN else self.restore
        return playbooks.command(playbook, event, phase)


def _for_event(value: Any, event: str, default: Any) -> Any:
    return value.get(event, default) if isinstance(value, Mapping) else value


def with_grace(seconds: float) -> float:
    """The seconds until SIGKILL of a step that gets SIGTERM after `seconds`."""
    return seconds + min(GRACE, seconds * GRACE_SHARE / (1 - GRACE_SHARE))


def without_grace(seconds: float) -> float:
    """The seconds until SIGTERM of a step that gets SIGKILL after `seconds`."""
    return seconds - min(GRACE, GRACE_SHARE * max(0.0, seconds))
