# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the state machine wants done. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._vm.records import dataclass
from .incident import Incident, Step
from .tasks import Task


class Action:
    """Something to do."""


@dataclass(frozen=True)
class Start(Action):
    """Run a step's command, once the state, which has the step already, is in the journal."""

    step: Step
    task: Task
    event: Mapping[str, Any]


@dataclass(frozen=True)
class Limit(Action):
    """A running step has less time than planned: end it by `until`."""

    number: int
    until: float


@dataclass(frozen=True)
class End(Action):
    """End a running step now."""

    number: int


@dataclass(frozen=True)
class Close(Action):
    """The incident is over, in this form."""

    incident: Incident
