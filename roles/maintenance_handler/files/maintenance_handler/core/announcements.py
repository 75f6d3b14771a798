# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From values of the metadata server to observations for the state machine. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._vm.maintenance import (
    DRIFT_TOKEN_KEY,
    MANUAL,
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
    is_preempted,
)
from .._vm.records import replace
from .._vm.signal_values import STAYS_AFTER_END
from .event import BOOT, OPERATOR, REHEARSAL, TOKEN_CHANGED, UNANNOUNCED, document
from .incident import Moment, Order, Signal
from .observations import Announced, Reading, Withdrawn

if TYPE_CHECKING:
    from .._vm.signal_values import Value

# Seconds that are left once the platform has sent the ACPI signal: what is documented for a preemption.
SHUTDOWN_SECONDS = 30.0


def read(key: str, value: Value, now: Moment, notice: Mapping[str, float], unknown_event: str) -> Reading:
    """The observation for the essence of a signal key's value; None stands for a missing key."""
    if value is None:
        return Withdrawn(key)
    if isinstance(value, Window):
        # Some windows are announced for weeks after their end. Each poll checks the end again.
        if value.has_ended(now.at - STAYS_AFTER_END):
            return Withdrawn(key)
        return Announced(_window_signal(key, value, now, notice))
    if isinstance(value, Stop):
        return Announced(_stop_signal(key, value, now, notice))
    if key == PREEMPTED_KEY:
        return _announced(key, PREEMPT if is_preempted(value) else None, value, now, notice)
    return _announced(key, event_of(value, unknown_event), value, now, notice)


def rehearsal(event: str, name: str, now: Moment, notice: Mapping[str, float]) -> Announced:
    """An event that is rehearsed."""
    deadline = now.clock + notice[event]
    told = document(event, REHEARSAL, name, notice[event])
    return Announced(Signal(REHEARSAL, event, told["value"], now, deadline, told))


def by_hand(order: Order, now: Moment) -> Announced:
    """An operator orders a drain."""
    told = document(MANUAL, OPERATOR, order.as_event, None)
    return Announced(Signal(OPERATOR, MANUAL, told["value"], now, None, told, order=order))


def missed(now: Moment) -> Announced:
    """A migration without notice was detected."""
    told = document(MISSED, DRIFT_TOKEN_KEY, TOKEN_CHANGED, None)
    return Announced(Signal(DRIFT_TOKEN_KEY, MISSED, TOKEN_CHANGED, now, None, told))


def restart(now: Moment) -> Announced:
    """The VM has booted, and no stop had been announced or carried out in order."""
    told = document(RESTART, BOOT, UNANNOUNCED, None)
    return Announced(Signal(BOOT, RESTART, UNANNOUNCED, now, None, told))


def _announced(key: str, event: str | None, value: str, now: Moment, notice: Mapping[str, float]) -> Reading:
    if event is None:
        return Withdrawn(key)
    told = document(event, key, value, notice[event])
    return Announced(Signal(key, event, told["value"], now, now.clock + notice[event], told))


def _window_signal(key: str, window: Window, now: Moment, notice: Mapping[str, float]) -> Signal:
    left = window.seconds_until_start(now.at)
    begun = window.has_begun(now.at)
    if begun:
        left = notice[WINDOW]
    told = document(WINDOW, key, window.status, None, window)
    deadline = None if left is None else now.clock + left
    return Signal(key, WINDOW, told["value"], now, deadline, told, begun=begun)


def _stop_signal(key: str, stop: Stop, now: Moment, notice: Mapping[str, float]) -> Signal:
    seconds = left = SHUTDOWN_SECONDS
    if stop.state == PENDING_STOP:
        seconds = notice[STOP] if stop.max_duration is None else stop.max_duration
        left = replace(stop, max_duration=seconds).seconds_left(now.at)
    told = document(STOP, key, stop.state, seconds, target_state=stop.target_state)
    return Signal(key, STOP, told["value"], now, now.clock + left, told)
