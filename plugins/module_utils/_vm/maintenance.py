# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM's maintenance signals mean: events, notice, and windows.

Pure functions and dataclasses over values that somebody else fetched. Standard library only.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
Do not use this from other collections or standalone plugins/modules!
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from . import bounded_json as _bounded_json
from .records import dataclass

MIGRATE = "migrate"
TERMINATE = "terminate"
PREEMPT = "preempt"
WINDOW = "window"
EVENTS = (MIGRATE, TERMINATE, PREEMPT, WINDOW)
# Not announced by anything: that a VM was migrated without a notice is found out afterwards.
MISSED = "missed"

MAINTENANCE_EVENT_KEY = "instance/maintenance-event"
PREEMPTED_KEY = "instance/preempted"
UPCOMING_MAINTENANCE_KEY = "instance/upcoming-maintenance"
SIGNAL_KEYS = (MAINTENANCE_EVENT_KEY, PREEMPTED_KEY, UPCOMING_MAINTENANCE_KEY)
# Bytes that a value of these keys may have. An announcement of a window, the longest of them, has 300.
SIGNAL_LIMIT = 64 * 1024
# Changes when the VM has been migrated.
DRIFT_TOKEN_KEY = "instance/virtual-clock/drift-token"

# Seconds between a signal and what it announces, as Google documents them
# (https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice, and for Spot VMs
# https://cloud.google.com/compute/docs/instances/spot). For a window the time is in the announcement; the
# figure here is what is assumed to be left once a window is found to have begun.
DEFAULT_NOTICE: Mapping[str, float] = {MIGRATE: 60.0, TERMINATE: 3600.0, PREEMPT: 30.0, WINDOW: 60.0}

# Values of `instance/maintenance-event`, and what they announce.
EVENT_OF_VALUE: Mapping[str, str] = {
    "MIGRATE_ON_HOST_MAINTENANCE": MIGRATE,
    "TERMINATE_ON_HOST_MAINTENANCE": TERMINATE,
    # Only in old material; the VM is stopped all the same.
    "SHUTDOWN_ON_HOST_MAINTENANCE": TERMINATE,
}

# RFC 3339 and its relatives: a blank for the T, no seconds, a fraction of any length, an offset without its colon or
# its minutes, or none at all, which is UTC like all times of Compute Engine's.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,]\d{1,30})?\s?(?:[Zz]|UTC|GMT|([+-]\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
# What an announcement calls a status, a type or a reason. The longest that is documented has 51 characters.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,30})?", re.ASCII)
# An unset time in a protocol buffer is 1970, and there was no Compute Engine before 2012. The last is of the year 9999,
# after which no datetime shows it.
_EARLIEST, _LATEST = 1_300_000_000, 253_402_300_799

# 18 are documented.
REASONS_LIMIT = 32

# No status says that a window was cancelled: it goes away. But if one did, it would be one of these.
_OVER = ("COMPLETE", "COMPLETED", "CANCELLED", "CANCELED")
_OPEN = ("PENDING", "ONGOING")


def event_of(value: str, unknown_event: str = TERMINATE) -> str | None:
    """The event that a value of `instance/maintenance-event` announces, None for none.

    An unknown value means `unknown_event`: a platform that says something new is about to do something.
    """
    word = value.strip().upper()
    if word in ("", "NONE"):
        return None
    return EVENT_OF_VALUE.get(word, unknown_event)


def is_preempted(value: str) -> bool:
    """Whether a value of `instance/preempted` says that the VM is being preempted.

    Everything but FALSE (and nothing at all) does: a spelling not seen before must not cost the notice.
    """
    return value.strip().upper() not in ("", "FALSE", "NONE")


def plain_word(value: Any, otherwise: str) -> str:
    """A word of the platform's, such as a status, in upper case; `otherwise` for all that has not the form of one."""
    word = _unquoted(value)
    return word.upper() if _WORD.fullmatch(word) else otherwise


class UnreadableWindow(ValueError):
    """A value of `instance/upcoming-maintenance` in which no announcement can be made out."""


@dataclass(frozen=True)
class Window:
    """An announced maintenance window, in one form whatever its spelling on the wire. Times in epoch seconds."""

    start: float | None
    end: float | None = None
    latest_start: float | None = None
    status: str = "UNKNOWN"
    type: str = "UNKNOWN_TYPE"
    can_reschedule: bool | None = None
    reasons: tuple[str, ...] = ()

    def has_begun(self, now: float) -> bool:
        """Whether the window is running at `now` (epoch seconds)."""
        return self.status == "ONGOING" or (self.start is not None and self.start <= now)

    def has_ended(self, now: float) -> bool:
        """Whether its end has passed at `now`, and nobody says that it goes on."""
        return self.end is not None and self.end <= now and self.status != "ONGOING"

    def seconds_until_start(self, now: float) -> float | None:
        """Seconds from `now` until it starts, 0 when it has begun, None when nobody said when."""
        if self.has_begun(now):
            return 0.0
        return None if self.start is None else self.start - now


def parse_window(value: Any) -> Window | None:
    """The window that a value of `instance/upcoming-maintenance` announces, None for none.

    Takes the wire's text (`key value` lines, or JSON) or decoded JSON, keys in snake, kebab or camel case, booleans
    as such or as words, and the older `start_time_window`. "None" is an empty value, `NONE`, `{}`, a window of the type
    or status NONE, or one that is over. Whatever the value, what comes of it is small.

    :raises UnreadableWindow: something is announced, but it cannot be read.
    """
    fields = _window_fields(value)
    if not fields:
        return None
    status = plain_word(fields.get("maintenancestatus"), "UNKNOWN")
    kind = plain_word(fields.get("type", fields.get("maintenancetype")), "UNKNOWN_TYPE")
    if status in _OVER or (status not in _OPEN and "NONE" in (status, kind)):
        return None
    interval = _normalized(fields.get("starttimewindow"))
    can_reschedule = fields.get("canreschedule")
    window = Window(
        start=_epoch(fields.get("windowstarttime", interval.get("earliest"))),
        end=_epoch(fields.get("windowendtime")),
        latest_start=_epoch(fields.get("latestwindowstarttime", interval.get("latest"))),
        status=status,
        type=kind,
        can_reschedule=None
        if can_reschedule is None
        else _unquoted(can_reschedule).upper() in ("TRUE", "YES", "Y", "1"),
        reasons=_reasons(fields.get("maintenancereasons")),
    )
    # A status that is no word is a status: something is announced.
    if window.start is None and status == "UNKNOWN" and not _is_odd(fields.get("maintenancestatus")):
        raise UnreadableWindow(f"Reading instance/upcoming-maintenance: no start and no status in {_shown(value)}.")
    return window


def window_document(window: Window | None) -> dict[str, Any]:
    """A window as results, events and templates show it; without a window, each field is empty. Times in RFC 3339."""
    shown = window or Window(start=None)
    return {
        "type": shown.type if window else None,
        "reasons": list(shown.reasons),
        "status": shown.status if window else None,
        "can_reschedule": shown.can_reschedule,
        "window_start_time": format_time(shown.start),
        "window_end_time": format_time(shown.end),
        "latest_window_start_time": format_time(shown.latest_start),
    }


def format_time(epoch: float | None) -> str | None:
    """Epoch seconds as RFC 3339 in UTC, to the second; None for None."""
    if epoch is None:
        return None
    return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _window_fields(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return _normalized(value)
    if not isinstance(value, str):
        raise UnreadableWindow(f"Reading instance/upcoming-maintenance: not an object but {_shown(value)}.")
    if len(value) > SIGNAL_LIMIT:
        raise UnreadableWindow(
            f"Reading instance/upcoming-maintenance: {len(value)} characters are no announcement: {_shown(value)}."
        )
    text = value.strip()
    if text.upper() in ("", "NONE", '"NONE"'):
        return {}
    if text.startswith("{"):
        try:
            decoded = _bounded_json.loads(text)
        except ValueError:
            raise UnreadableWindow(f"Reading instance/upcoming-maintenance: not JSON: {_shown(value)}.") from None
        return _normalized(decoded)
    return _fields_of_lines(text)


def _fields_of_lines(text: str) -> dict[str, Any]:
    """The recursive text form, `maintenance_reasons/0 X` and `start_time_window/earliest T` included."""
    fields: dict[str, Any] = {}
    for line in text.splitlines():
        path, _blank, word = line.strip().partition(" ")
        name, _slash, below = path.partition("/")
        known = fields.get(name)
        if not below:
            fields[name] = word.strip()
        elif below.isdigit():
            if not isinstance(known, list):
                known = fields[name] = []
            known.append(word.strip())
        else:
            if not isinstance(known, dict):
                known = fields[name] = {}
            known[below] = word.strip()
    return _normalized(fields)


def _normalized(fields: Any) -> dict[str, Any]:
    if not isinstance(fields, Mapping):
        return {}
    present = {key: value for key, value in fields.items() if value is not None}
    return {str(key).replace("_", "").replace("-", "").lower(): value for key, value in present.items()}


def _is_odd(status: Any) -> bool:
    return bool(status) and _unquoted(status).upper() != "UNKNOWN"


def _reasons(value: Any) -> tuple[str, ...]:
    """Those that have the form of one, of a list or of text with commas between them."""
    many: Iterable[Any] = value if isinstance(value, (list, tuple)) else _unquoted(value).strip("[]").split(",")
    words = (plain_word(one, "") for one in many)
    return tuple(dict.fromkeys(word for word in words if word))[:REASONS_LIMIT]


def _unquoted(value: Any) -> str:
    """A word as it is meant: text lines were seen to carry JSON's quotation marks along."""
    return str(value).strip().strip('"').strip() if isinstance(value, (str, bool, int)) else ""


def _epoch(value: Any) -> float | None:
    """A time as whole epoch seconds; None where there is none to read (a window without a time is still a window).

    Besides text, that may be epoch seconds or milliseconds, or the object that a protocol buffer makes of them.
    """
    if isinstance(value, Mapping):
        value = value.get("seconds")
    if isinstance(value, bool):
        return None
    text = str(value).strip().strip('"') if isinstance(value, (str, int, float)) else ""
    seconds = _seconds(text)
    return float(int(seconds)) if seconds is not None and _EARLIEST < seconds <= _LATEST else None


def _seconds(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number / 1000 if number > 1e11 else number
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    day, clock, seconds, hours, minutes = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{clock}{seconds or ':00'}{hours or '+00'}:{minutes or '00'}").timestamp()
    except (ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
