# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM's maintenance signals mean: events, notice, windows, stops, and the availability policy. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from .._metadata.text import as_bool
from . import bounded_json as _bounded_json
from .records import dataclass

MIGRATE = "migrate"
TERMINATE = "terminate"
PREEMPT = "preempt"
WINDOW = "window"
# A graceful shutdown: a stop or delete through the API that leaves the guest time.
STOP = "stop"
EVENTS = (MIGRATE, TERMINATE, PREEMPT, WINDOW, STOP)
# Detected afterwards: a migration, or a boot, without notice.
MISSED = "missed"
RESTART = "restart"
# A drain that an operator orders.
MANUAL = "manual"

MAINTENANCE_EVENT_KEY = "instance/maintenance-event"
PREEMPTED_KEY = "instance/preempted"
UPCOMING_MAINTENANCE_KEY = "instance/upcoming-maintenance"
STOP_STATE_KEY = "instance/shutdown-details/stop-state"
SHUTDOWN_DETAILS = "instance/shutdown-details/"
SCHEDULING = "instance/scheduling/"
SIGNAL_KEYS = (MAINTENANCE_EVENT_KEY, PREEMPTED_KEY, UPCOMING_MAINTENANCE_KEY, STOP_STATE_KEY)
# Bytes that a value of these keys may have. The longest, the announcement of a window, has about 300.
SIGNAL_LIMIT = 64 * 1024
# Changes when the VM has been migrated.
DRIFT_TOKEN_KEY = "instance/virtual-clock/drift-token"

# Seconds between a signal and what it announces:
# https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice, and for Spot VMs
# https://cloud.google.com/compute/docs/instances/spot. A window's announcement has its own times; the figure here is
# what is assumed to be left when a window has already begun.
# A graceful shutdown says how long it leaves the guest; the figure here is the platform's default:
# https://cloud.google.com/compute/docs/instances/graceful-shutdown-overview
DEFAULT_STOP_NOTICE = 600.0
LONGEST_STOP_NOTICE = 3600.0
DEFAULT_NOTICE: Mapping[str, float] = {
    MIGRATE: 60.0,
    TERMINATE: 3600.0,
    PREEMPT: 30.0,
    WINDOW: 60.0,
    STOP: DEFAULT_STOP_NOTICE,
}

# Values of `instance/shutdown-details/stop-state` while a stop is under way: first the guest is left time.
PENDING_STOP = "PENDING_STOP"
STOP_STATES = (PENDING_STOP, "STOPPING")

# Values of `instance/maintenance-event`, and what they announce.
EVENT_OF_VALUE: Mapping[str, str] = {
    "MIGRATE_ON_HOST_MAINTENANCE": MIGRATE,
    "TERMINATE_ON_HOST_MAINTENANCE": TERMINATE,
    # Only in old documentation.
    "SHUTDOWN_ON_HOST_MAINTENANCE": TERMINATE,
}

# RFC 3339 and its relatives: a blank for the T, no seconds, a fraction of any length, an offset without its colon or
# its minutes, or without an offset, which means UTC.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,]\d{1,30})?\s?(?:[Zz]|UTC|GMT|([+-]\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
# A status, a type or a reason. The longest that is documented has 51 characters.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,30})?", re.ASCII)
# An unset time in a protocol buffer is 1970, and Compute Engine is from 2012. The last is the end of the year 9999, the
# last that a datetime can show.
_EARLIEST, _LATEST = 1_300_000_000, 253_402_300_799

# 18 are documented.
REASONS_LIMIT = 32

# A cancelled window goes away. No status for that is documented; these are the likely ones.
_OVER = ("COMPLETE", "COMPLETED", "CANCELLED", "CANCELED")
_OPEN = ("PENDING", "ONGOING")


def event_of(value: str, unknown_event: str = TERMINATE) -> str | None:
    """The event that a value of `instance/maintenance-event` announces, None for none.

    An unknown value announces `unknown_event`: a new value is no reason to do nothing.
    """
    word = value.strip().upper()
    if word in ("", "NONE"):
        return None
    return EVENT_OF_VALUE.get(word, unknown_event)


def is_preempted(value: str) -> bool:
    """Whether a value of `instance/preempted` means that the VM is being preempted.

    Everything but FALSE, NONE and an empty value does: an unknown spelling must not cost the notice.
    """
    return value.strip().upper() not in ("", "FALSE", "NONE")


def plain_word(value: Any, otherwise: str) -> str:
    """A word of the platform, such as a status, in upper case; `otherwise` for anything that is not a plain word."""
    word = _unquoted(value)
    return word.upper() if _WORD.fullmatch(word) else otherwise


class UnreadableWindow(ValueError):
    """A value of `instance/upcoming-maintenance` that is neither an announcement nor one of the forms of "none"."""


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
        """Whether its end has passed at `now` and its status is not ONGOING."""
        return self.end is not None and self.end <= now and self.status != "ONGOING"

    def seconds_until_start(self, now: float) -> float | None:
        """Seconds from `now` until it starts, 0 when it has begun, None if its start is unknown."""
        if self.has_begun(now):
            return 0.0
        return None if self.start is None else self.start - now


def parse_window(value: Any) -> Window | None:
    """The window that a value of `instance/upcoming-maintenance` announces, None for none.

    Takes the wire's text (`key value` lines, or JSON) or decoded JSON, keys in snake, kebab or camel case, booleans
    as such or as words, and the older `start_time_window`. "None" is an empty value, `NONE`, `{}`, a window of the type
    or status NONE, or one that is over. The result is small, however long the value is.

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
    window = Window(
        start=parse_time(fields.get("windowstarttime", interval.get("earliest"))),
        end=parse_time(fields.get("windowendtime")),
        latest_start=parse_time(fields.get("latestwindowstarttime", interval.get("latest"))),
        status=status,
        type=kind,
        can_reschedule=as_bool(_unquoted(fields.get("canreschedule"))),
        reasons=_reasons(fields.get("maintenancereasons")),
    )
    # A status that is not a plain word still announces something.
    if window.start is None and status == "UNKNOWN" and not _is_odd(fields.get("maintenancestatus")):
        raise UnreadableWindow(f"Reading instance/upcoming-maintenance: no start and no status in {_shown(value)}.")
    return window


def window_document(window: Window | None) -> dict[str, Any]:
    """A window in the form that results, events and templates have it; without a window, all fields are empty."""
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


@dataclass(frozen=True)
class Stop:
    """A stop or deletion that was asked for through the API, of a VM with graceful shutdown.

    ``state``: PENDING_STOP while the guest is left time, then STOPPING. ``target_state``: STOPPED, DELETED or unknown.
    ``requested``: epoch seconds. ``max_duration``: the seconds that the guest is left from then on.
    """

    state: str
    target_state: str = "UNKNOWN"
    requested: float | None = None
    max_duration: float | None = None

    def seconds_left(self, now: float) -> float:
        """Seconds from `now` (epoch seconds) until the platform stops the VM by itself; 0 when it already does."""
        if self.state != PENDING_STOP:
            return 0.0
        duration = DEFAULT_STOP_NOTICE if self.max_duration is None else self.max_duration
        # A request in the future comes of a clock that is behind.
        return duration if self.requested is None else min(duration, max(0.0, self.requested + duration - now))


def parse_stop(value: Any) -> Stop | None:
    """The stop that `instance/shutdown-details/`, or its `stop-state` alone, announces; None for none.

    Every state but those of STOP_STATES is idle, as it is for Google's guest agent: UNSPECIFIED and UNKNOWN were seen.
    """
    fields = _normalized(value) if isinstance(value, Mapping) else {"stopstate": value}
    state = plain_word(fields.get("stopstate"), "")
    if state not in STOP_STATES:
        return None
    duration = parse_duration(fields.get("maxduration"))
    return Stop(
        state=state,
        target_state=plain_word(fields.get("targetstate"), "UNKNOWN"),
        requested=parse_time(fields.get("requesttimestamp")),
        max_duration=None if duration is None else min(duration, LONGEST_STOP_NOTICE),
    )


def stop_document(stop: Stop) -> dict[str, Any]:
    """A stop in the form that results and events have it."""
    return {
        "state": stop.state,
        "target_state": stop.target_state,
        "request_time": format_time(stop.requested),
        "max_duration": stop.max_duration,
    }


@dataclass(frozen=True)
class Scheduling:
    """A VM's availability policy. What the metadata server does not show is empty or None."""

    on_host_maintenance: str = ""
    automatic_restart: bool | None = None
    preemptible: bool | None = None
    # Seconds.
    preemption_notice: float | None = None


def parse_scheduling(value: Any) -> Scheduling:
    """The policy in the recursive JSON of `instance/scheduling/`; anything else shows nothing, as on GKE."""
    fields = _normalized(value)
    return Scheduling(
        on_host_maintenance=_unquoted(fields.get("onhostmaintenance")).upper()[:64],
        automatic_restart=as_bool(_unquoted(fields.get("automaticrestart"))),
        preemptible=as_bool(_unquoted(fields.get("preemptible"))),
        preemption_notice=parse_duration(fields.get("preemptionnoticeduration")),
    )


def parse_duration(value: Any) -> float | None:
    """Seconds, of `600`, `600s`, or a protocol buffer's `{"seconds": "600"}`; None for anything else, and for 0.

    Which of these the metadata server has is not documented.
    """
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = _bounded_json.loads(value)
        except ValueError:
            return None
    if isinstance(value, Mapping):
        value = value.get("seconds")
    text = _unquoted(value).removesuffix("s")
    return (float(text) or None) if _NUMBER.fullmatch(text) else None


def parse_time(value: Any) -> float | None:
    """A time as whole epoch seconds; None if it cannot be read (a window without a time is still a window).

    A time may be text, epoch seconds or milliseconds, or the object that a protocol buffer makes of them.
    """
    if isinstance(value, Mapping):
        value = value.get("seconds")
    if isinstance(value, bool):
        return None
    text = str(value).strip().strip('"') if isinstance(value, (str, int, float)) else ""
    seconds = _seconds(text)
    return float(int(seconds)) if seconds is not None and _EARLIEST < seconds <= _LATEST else None


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
    """The plain words of a list, or of text with commas between them."""
    many: Iterable[Any] = value if isinstance(value, (list, tuple)) else _unquoted(value).strip("[]").split(",")
    words = (plain_word(one, "") for one in many)
    return tuple(dict.fromkeys(word for word in words if word))[:REASONS_LIMIT]


def _unquoted(value: Any) -> str:
    """A value as text without JSON's quotation marks, which text lines were seen to have."""
    return str(value).strip().strip('"').strip() if isinstance(value, (str, bool, int, float)) else ""


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
