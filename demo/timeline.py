# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeline of a VM, from the evidence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .evidence import DRAIN, Evidence, outcome

PLATFORM, HANDLER = "platform", "handler"


@dataclass(frozen=True)
class Row:
    """`at` is in seconds since the announcement; `left` is the notice left then.

    `who` is PLATFORM, HANDLER, or the phase of the task that ran for `seconds`.
    """

    at: float
    who: str
    what: str
    left: float | None = None
    seconds: float | None = None
    remark: str = ""


def rows(evidence: Evidence) -> list[Row]:
    """All events of a VM, in chronological order."""
    began = evidence.raised_at
    if began is None:
        began = min((incident["opened_at"] for incident in evidence.incidents), default=evidence.booted_at)
    found = [*_of_platform(evidence, began), *_of_handler(evidence, began)]
    return sorted(found, key=lambda row: row.at)


def _of_platform(evidence: Evidence, began: float) -> Iterator[Row]:
    case = evidence.case
    if evidence.raised_at is not None:
        yield Row(0.0, PLATFORM, _announced(evidence))
    if case.reboots and evidence.stopped_at is not None:
        yield Row(evidence.stopped_at - began, PLATFORM, "stops the VM, killing the handler")
        if evidence.booted_at > evidence.stopped_at:
            yield Row(evidence.booted_at - began, PLATFORM, "starts the VM with empty memory")
    if not case.reboots and evidence.event_at is not None:
        yield Row(evidence.event_at - began, PLATFORM, "moves the VM to another host")


def _announced(evidence: Evidence) -> str:
    values = [past["value"] for incident in evidence.incidents for past in incident["past"]]
    key = evidence.case.signal.removeprefix("instance/")
    # The values of maintenance-event do not need the key.
    return " | ".join(value if "MAINTENANCE" in value else f"{key} {value}" for value in values)


def _of_handler(evidence: Evidence, began: float) -> Iterator[Row]:
    for incident in evidence.incidents:
        for past in incident["past"]:
            yield Row(
                past["noticed_at"] - began, HANDLER, "notices the event", left=_left(evidence, past["noticed_at"])
            )
            if not evidence.case.reboots:
                yield Row(past["ended_at"] - began, HANDLER, "notices the end")
    for step in evidence.steps:
        yield _of_step(evidence, step, began)
    if evidence.drained_at is not None:
        yield Row(evidence.drained_at - began, HANDLER, "drained", left=_left(evidence, evidence.drained_at))
    if evidence.restored_at is not None:
        yield Row(evidence.restored_at - began, HANDLER, "restored")


def _of_step(evidence: Evidence, step: Mapping[str, Any], began: float) -> Row:
    at = step["started_at"]
    remark = "" if step["outcome"] == "ok" else outcome(step)
    left = _left(evidence, at) if step["phase"] == DRAIN else None
    return Row(at - began, step["phase"], step["task"], left=left, seconds=step["seconds"], remark=remark)


def _left(evidence: Evidence, at: float) -> float | None:
    return None if evidence.event_at is None else evidence.event_at - at
