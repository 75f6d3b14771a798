# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the values of a VM's metadata keys to changes of its maintenance. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...module_utils._vm.drift import Drift, found_missed, heard_announcement, heard_token, wake_at
from ...module_utils._vm.maintenance import (
    DRIFT_TOKEN_KEY,
    MAINTENANCE_EVENT_KEY,
    MISSED,
    PENDING_STOP,
    PREEMPT,
    PREEMPTED_KEY,
    RESTART,
    STOP,
    WINDOW,
    Stop,
    Window,
    event_of,
    format_time,
    is_preempted,
    stop_document,
    window_document,
)
from ...module_utils._vm.signal_values import Value
from ...module_utils._vm.watch import Heard
from .options import meta_of
from .window_changes import ANNOUNCED, BEGUN, CANCELLED, CHANGED, OVER, current, next_change, window_changes

# The event for a value that is not known, as in the module maintenance_info, and for a server that does not answer.
UNKNOWN = "unknown"
UNREACHABLE = "unreachable"
REACHABLE = "reachable"
# Found out afterwards: `missed` and `restart`.
FOUND = "found"


@dataclass(frozen=True)
class Change:
    """What has happened to an event. `value` is the value of the key, `reason` that of an error."""

    change: str
    event: str
    value: str | None = None
    window: Window | None = None
    stop: Stop | None = None
    initial: bool = False
    reason: str | None = None

    def document(self, now: float) -> dict[str, Any]:
        return {
            "change": self.change,
            "event": self.event,
            "initial": self.initial,
            "value": self.value,
            "window": None if self.window is None else window_document(self.window),
            "stop": None if self.stop is None else stop_document(self.stop),
            "reason": self.reason,
            "time": format_time(now),
        }


@dataclass
class Known:
    """What is known of a VM. `values` are the last ones by key, `is_begun` is about the window."""

    values: dict[str, Value] = field(default_factory=dict)
    is_begun: bool = False
    token: str | None = None

    def announces(self) -> bool:
        """Whether a stop of the VM is announced."""
        return any(_event(key, value) for key, value in self.values.items() if not isinstance(value, Window))


class GuestSignals:
    """Compares each value with the last one. With `report_initial`, what is there at first is ANNOUNCED, too."""

    def __init__(self, known: Known, *, report_initial: bool) -> None:
        self.known = known
        self._report_initial = report_initial
        self._seen: set[str] = set()
        self._drift = Drift(known.token)

    def heard(self, heard: Heard, now: float) -> list[Change]:
        """The changes that an answer of the server means. `now` is in epoch seconds."""
        if heard.key == DRIFT_TOKEN_KEY:
            if heard.value is not None:
                self._drift = heard_token(self._drift, str(heard.value), heard.clock)
                self.known.token = self._drift.token
            return []
        value = current(heard.value, now) if isinstance(heard.value, Window) else heard.value
        if heard.key == MAINTENANCE_EVENT_KEY:
            self._drift = heard_announcement(self._drift, _event(heard.key, value) is not None, heard.clock)
        is_first, is_new = heard.key not in self._seen, heard.key not in self.known.values
        self._seen.add(heard.key)
        before = self.known.values.get(heard.key)
        changes = self._compared(heard.key, before, value, now)
        self.known.values[heard.key] = value
        if is_first and is_new:
            changes = [_as_initial(change) for change in changes] if self._report_initial else []
        elif is_first and self._report_initial and not _is_announced(changes) and _event(heard.key, value):
            changes.insert(0, _change(ANNOUNCED, heard.key, value, initial=True))
        return changes

    def due(self, clock: float, now: float) -> list[Change]:
        """The changes that come with the time."""
        self._drift, is_missed = found_missed(self._drift, clock)
        changes = [Change(FOUND, MISSED)] if is_missed else []
        for key, value in self.known.values.items():
            if (
                isinstance(value, Window)
                and (when := next_change(value, self.known.is_begun)) is not None
                and when <= now
            ):
                left = current(value, now)
                changes += self._compared(key, value, left, now)
                self.known.values[key] = left
        return changes

    def seconds_until_due(self, clock: float, now: float) -> float | None:
        """Seconds until `due` has something to say."""
        missed = wake_at(self._drift)
        times = [] if missed is None else [missed - clock]
        for value in self.known.values.values():
            when = next_change(value, self.known.is_begun) if isinstance(value, Window) else None
            if when is not None:
                times.append(when - now)
        return max(0.0, min(times)) if times else None

    def _compared(self, key: str, before: Value, after: Value, now: float) -> list[Change]:
        if isinstance(before, Window) or isinstance(after, Window):
            changes = window_changes(
                before if isinstance(before, Window) else None,
                after if isinstance(after, Window) else None,
                self.known.is_begun,
                now,
            )
            self.known.is_begun = isinstance(after, Window) and after.has_begun(now)
            return [Change(change, WINDOW, window.status, window=window) for change, window in changes]
        if isinstance(before, Stop) or isinstance(after, Stop):
            return _stop_changes(key, before, after)
        old, new = _event(key, before), _event(key, after)
        if old == new and (old != UNKNOWN or before == after):
            return []
        changed = [] if old is None else [_change(OVER, key, before)]
        return changed if new is None else [*changed, _change(ANNOUNCED, key, after)]


def restarted(known: Known, *, is_other_boot: bool, was_stopped: bool) -> list[Change]:
    """Whether the VM has booted without an orderly stop, and without a stop that was announced."""
    return [Change(FOUND, RESTART)] if is_other_boot and not was_stopped and not known.announces() else []


def identified(change: Change, vm: Mapping[str, str | None], hosts: list[str], now: float) -> dict[str, Any]:
    """The event for a rulebook."""
    return {**change.document(now), **vm, "meta": meta_of(hosts)}


def _stop_changes(key: str, before: Value, after: Value) -> list[Change]:
    was_begun = isinstance(before, Stop) and before.state != PENDING_STOP
    if not isinstance(after, Stop):
        return [_change(OVER if was_begun else CANCELLED, key, before)]
    begins = after.state != PENDING_STOP and not was_begun
    changes = []
    if not isinstance(before, Stop):
        changes.append(_change(ANNOUNCED, key, after))
    elif before != after and not begins:
        changes.append(_change(CHANGED, key, after))
    return [*changes, _change(BEGUN, key, after)] if begins else changes


def _change(change: str, key: str, value: Value, *, initial: bool = False) -> Change:
    event = _event(key, value) or UNKNOWN
    if isinstance(value, Window):
        return Change(change, event, value.status, window=value, initial=initial)
    if isinstance(value, Stop):
        return Change(change, event, value.state, stop=value, initial=initial)
    return Change(change, event, value, initial=initial)


def _as_initial(change: Change) -> Change:
    return Change(**{**vars(change), "initial": True})


def _is_announced(changes: list[Change]) -> bool:
    return any(change.change == ANNOUNCED for change in changes)


def _event(key: str, value: Value) -> str | None:
    """The event that a value announces, None for none."""
    if isinstance(value, Window):
        return WINDOW
    if isinstance(value, Stop):
        return STOP
    if value is None:
        return None
    if key == PREEMPTED_KEY:
        return PREEMPT if is_preempted(value) else None
    return event_of(value, UNKNOWN) if key == MAINTENANCE_EVENT_KEY else None
