# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An event as tasks see it: its fields and their form. Pure.

Values of the metadata server come over the network. Only those in a known form reach a task, a file or a log: a form in
which no shell, template engine or terminal interprets them. All others are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .._vm.maintenance import (
    DRIFT_TOKEN_KEY,
    EVENT_OF_VALUE,
    EVENTS,
    MAINTENANCE_EVENT_KEY,
    PREEMPTED_KEY,
    REASONS_LIMIT,
    STOP_STATE_KEY,
    STOP_STATES,
    UPCOMING_MAINTENANCE_KEY,
    Window,
    plain_word,
    window_document,
)
from .tasks import TASK_EVENTS

REHEARSAL = "rehearsal"
TOKEN_CHANGED = "drift-token changed"
# The source and the value of an event that the handler finds in its own journal.
BOOT = "boot"
UNANNOUNCED = "no orderly stop"
# The source of a drain by hand. Its value is the event as which the tasks run.
OPERATOR = "operator"

# Known values. Any other value announces its event as well, and is replaced by the name of the event.
_KNOWN_VALUES = {
    MAINTENANCE_EVENT_KEY: tuple(EVENT_OF_VALUE),
    PREEMPTED_KEY: ("TRUE",),
    STOP_STATE_KEY: STOP_STATES,
}
_SOURCES = (*_KNOWN_VALUES, UPCOMING_MAINTENANCE_KEY, DRIFT_TOKEN_KEY, BOOT, REHEARSAL, OPERATOR)

_REHEARSAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


def known_value(source: str, event: str, value: str) -> str:
    """The value that announced an event if it is known, else the name of the event."""
    if source == REHEARSAL:
        return value if _REHEARSAL_NAME.match(value) else event
    if source == DRIFT_TOKEN_KEY:
        return TOKEN_CHANGED
    if source == BOOT:
        return UNANNOUNCED
    if source == OPERATOR:
        return value if value in EVENTS else event
    word = plain_word(value, event)
    return word if word in _KNOWN_VALUES.get(source, (word,)) else event


def document(
    event: str,
    source: str,
    value: str,
    notice_seconds: float | None,
    window: Window | None = None,
    target_state: str | None = None,
) -> dict[str, Any]:
    """The event as tasks get it. Every event has all keys, so that an expression works for each of them."""
    return reduced(
        {
            "name": event,
            "source": source,
            "value": value,
            "rehearsal": source == REHEARSAL,
            "notice_seconds": notice_seconds,
            **window_document(window),
            "target_state": target_state,
        }
    )


def reduced(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A document with the known fields only; a field whose value does not have its form is None."""
    event, source = _one_of(TASK_EVENTS, raw.get("name")), _one_of(_SOURCES, raw.get("source"))
    reasons = raw.get("reasons")
    return {
        "name": event,
        "source": source,
        "value": known_value(source, event, str(raw.get("value"))) if event and source else None,
        "rehearsal": raw.get("rehearsal") is True,
        "notice_seconds": _number(raw.get("notice_seconds")),
        "type": _word(raw.get("type")),
        "reasons": [reason for reason in (reasons if isinstance(reasons, (list, tuple)) else ()) if _word(reason)][
            :REASONS_LIMIT
        ],
        "status": _word(raw.get("status")),
        "can_reschedule": _boolean(raw.get("can_reschedule")),
        "window_start_time": _time(raw.get("window_start_time")),
        "window_end_time": _time(raw.get("window_end_time")),
        "latest_window_start_time": _time(raw.get("latest_window_start_time")),
        "target_state": _word(raw.get("target_state")),
    }


def _one_of(choices: Sequence[str], value: Any) -> str | None:
    return value if isinstance(value, str) and value in choices else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and plain_word(value, "") == value else None


def _time(value: Any) -> str | None:
    return value if isinstance(value, str) and _TIME.match(value) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


# The names of a document's fields, in order.
FIELDS = tuple(reduced({}))
