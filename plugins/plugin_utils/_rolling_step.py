# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step of a rolling maintenance on one host: where it is in the plan, what it waits for, its record.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import format_time

from ._handler_verdict import verdict_of
from ._progress import duration
from ._rolling_plan import longest_left


class Step:
    """A step that is being taken. `problem` is why it has to wait."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.problem = ""
        self._started_at = now
        self._clock = time.monotonic()

    @property
    def shown(self) -> str:
        return f"{self.name} ({self.problem})" if self.problem else self.name

    def ended(self, is_good: bool, detail: str) -> dict[str, Any]:
        """The record of the step."""
        return {
            "step": self.name,
            "outcome": "ok" if is_good else "failed",
            "started_at": format_time(self._started_at),
            "seconds": round(time.monotonic() - self._clock, 1),
            "detail": detail,
        }


@dataclass(frozen=True)
class Place:
    """Where a host is in the plan. `left` are the hosts after it, `minutes` about the time that is left."""

    host: str
    number: int
    total: int
    minutes: float

    def __str__(self) -> str:
        if not self.number:
            return self.host
        left = self.total - self.number
        rest = f"{left} left, about {duration(60 * self.minutes)}" if left else "the last"
        return f"{self.host} ({self.number} of {self.total}, {rest})"


def place_of(variables: Mapping[str, Any], plan: Mapping[str, Any]) -> Place:
    """The place of the host of a task in the plan."""
    host, turns = str(variables["inventory_hostname"]), plan["turns"]
    number = next((number for number, turn in enumerate(turns, 1) if turn["host"] == host), 0)
    return Place(host, number, len(turns), longest_left(turns, turns[number - 1]["batch"]) if number else 0.0)


def _answers(result: Mapping[str, Any]) -> str:
    return verdict_of(result).problem


def _rests(result: Mapping[str, Any]) -> str:
    return verdict_of(result).unrest()


def _is_over(result: Mapping[str, Any]) -> str:
    verdict = verdict_of(result)
    if verdict.is_over():
        return ""
    return verdict.problem or ", ".join(verdict.events) or "; ".join(verdict.problems)


def _succeeds(result: Mapping[str, Any]) -> str:
    if not result.get("failed"):
        return ""
    return " ".join(str(result.get("msg") or result.get("stderr") or "it fails").split())[:300]


# What a step waits for: why it is not yet so, empty if it is. The first three need the handler's status.
CONDITIONS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "answers": _answers,
    "well": _rests,
    "over": _is_over,
    "succeeds": _succeeds,
}
