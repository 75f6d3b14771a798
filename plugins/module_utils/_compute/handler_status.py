# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest attribute of a maintenance handler, which any process on the VM could have written. Pure.

Private to the collection: it may change at any time. `app/guest_status.py` of the handler writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._vm import bounded_json
from .._vm.maintenance import EVENTS, format_time, parse_time

STOPPED = "stopped"
# The phases of an incident, and the state of a handler that has stopped.
STATES = ("idle", "announced", "draining", "drained", "restoring", "not restored", STOPPED)

# What is shown at most. A handler has some tens of tasks.
LONGEST_TEXT = 200
MOST_ENTRIES = 100
# 10 years.
LONGEST_EVERY = 3e8


class UnreadableStatus(ValueError):
    """A value that no handler writes. str() says what is wrong."""


@dataclass(frozen=True)
class HandlerStatus:
    """What a handler has reported. `at` is in epoch seconds, `every` in seconds, None for versions without it."""

    state: str
    at: float
    every: float | None
    version: str
    rehearsal: bool
    events: tuple[str, ...]
    # When each of them begins (epoch seconds), if known. Empty for versions without it.
    deadlines: Mapping[str, float]
    held: tuple[str, ...]
    not_restored: tuple[str, ...]
    incident: str | None
    # Of an operator: by, reason, as_event, until.
    order: Mapping[str, Any] | None
    # Of an operator: by, reason, at.
    hold: Mapping[str, Any] | None
    # id, event, rehearsal, opened_at, ended_at, outcome.
    last_incident: Mapping[str, Any] | None

    @property
    def is_running(self) -> bool:
        return self.state != STOPPED

    def document(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "state": self.state,
            "at": format_time(self.at),
            "every": self.every,
            "rehearsal": self.rehearsal,
            "events": list(self.events),
            "deadlines": {event: format_time(at) for event, at in self.deadlines.items()},
            "held": list(self.held),
            "not_restored": list(self.not_restored),
            "incident": self.incident,
            "order": None if self.order is None else dict(self.order),
            "hold": None if self.hold is None else dict(self.hold),
        }


def parse_handler_status(text: str) -> HandlerStatus:
    """The status in a guest attribute. Raises UnreadableStatus."""
    try:
        raw = bounded_json.loads(text)
    except ValueError:
        raise UnreadableStatus("the guest attribute is not JSON") from None
    if not isinstance(raw, dict):
        raise UnreadableStatus("the guest attribute is not a JSON object")
    at = parse_time(raw.get("at"))
    if at is None:
        raise UnreadableStatus("the guest attribute has no time")
    if raw.get("state") not in STATES:
        raise UnreadableStatus(f"the guest attribute has the unknown state {_text(raw.get('state'))!r}")
    return HandlerStatus(
        state=raw["state"],
        at=at,
        every=_seconds(raw.get("every")),
        version=_text(raw.get("version")),
        rehearsal=raw.get("rehearsal") is True,
        events=_texts(raw.get("events")),
        deadlines=_deadlines(raw.get("deadlines")),
        held=_texts(raw.get("held")),
        not_restored=_texts(raw.get("not_restored")),
        incident=_text(raw.get("incident")) or None,
        order=_by_hand(raw.get("order"), "until", "as_event"),
        hold=_by_hand(raw.get("hold"), "at"),
        last_incident=_last_incident(raw.get("last_incident")),
    )


def _deadlines(raw: Any) -> dict[str, float]:
    times = {event: parse_time(raw.get(event)) for event in EVENTS} if isinstance(raw, dict) else {}
    return {event: at for event, at in times.items() if at is not None}


def _by_hand(raw: Any, time: str, *more: str) -> dict[str, Any] | None:
    """An operator's order or hold: who, why, a time, and more texts."""
    if not isinstance(raw, dict):
        return None
    return {
        **{name: _text(raw.get(name)) for name in ("by", "reason", *more)},
        time: format_time(parse_time(raw.get(time))),
    }


def _last_incident(raw: Any) -> dict[str, Any] | None:
    if not isinstance(raw, dict) or not _text(raw.get("event")) or not _text(raw.get("outcome")):
        return None
    return {
        "id": _text(raw.get("id")),
        "event": _text(raw.get("event")),
        "rehearsal": raw.get("rehearsal") is True,
        "opened_at": format_time(parse_time(raw.get("opened_at"))),
        "ended_at": format_time(parse_time(raw.get("ended_at"))),
        "outcome": _text(raw.get("outcome")),
    }


def _texts(raw: Any) -> tuple[str, ...]:
    return tuple(_text(one) for one in raw[:MOST_ENTRIES] if isinstance(one, str)) if isinstance(raw, list) else ()


def _text(raw: Any) -> str:
    """A text in one line, without characters that change how a terminal or a page shows it."""
    text = raw[:LONGEST_TEXT] if isinstance(raw, str) else ""
    return "".join(character if character.isprintable() else " " for character in text)


def _seconds(raw: Any) -> float | None:
    is_number = isinstance(raw, (int, float)) and not isinstance(raw, bool) and 0 < raw < LONGEST_EVERY
    return float(raw) if is_number else None
