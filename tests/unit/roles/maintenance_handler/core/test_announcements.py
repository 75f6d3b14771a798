# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converting values of the metadata server to observations of the state machine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance_handler._vm.maintenance import (
    DEFAULT_NOTICE,
    DRIFT_TOKEN_KEY,
    EVENTS,
    MAINTENANCE_EVENT_KEY,
    MIGRATE,
    PREEMPT,
    PREEMPTED_KEY,
    RESTART,
    SIGNAL_KEYS,
    STOP,
    STOP_STATE_KEY,
    TERMINATE,
    UPCOMING_MAINTENANCE_KEY,
    WINDOW,
    UnreadableWindow,
    Window,
    format_time,
)
from maintenance_handler._vm.signal_values import LONGEST_VALUE, essence
from maintenance_handler.core.announcements import read, rehearsal, restart
from maintenance_handler.core.event import reduced
from maintenance_handler.core.incident import Moment, Signal
from maintenance_handler.core.observations import Announced, Reading, Withdrawn

NOW = Moment(500.0, 1_780_000_000.0)


def reading(key: str, value: Any) -> Reading:
    return read(key, essence(key, value), NOW, DEFAULT_NOTICE, TERMINATE)


def signal(key: str, value: Any) -> Signal:
    seen = reading(key, value)
    assert isinstance(seen, Announced)
    return seen.signal


@pytest.mark.parametrize("key", SIGNAL_KEYS)
def test_a_missing_key_announces_nothing(key: str) -> None:
    """A 503 with "no notifications have been received yet" means no window."""
    assert reading(key, None) == Withdrawn(key)


@pytest.mark.parametrize(
    "key, value",
    [
        (MAINTENANCE_EVENT_KEY, "NONE"),
        (PREEMPTED_KEY, "FALSE"),
        (UPCOMING_MAINTENANCE_KEY, "NONE"),
        (UPCOMING_MAINTENANCE_KEY, "{ }"),
        (UPCOMING_MAINTENANCE_KEY, {}),
        (UPCOMING_MAINTENANCE_KEY, {"type": "NONE"}),
        (UPCOMING_MAINTENANCE_KEY, "maintenance_status COMPLETE"),
    ],
)
def test_idle_values_announce_nothing(key: str, value: Any) -> None:
    assert reading(key, value) == Withdrawn(key)


@pytest.mark.parametrize(
    "key, value, event, notice",
    [
        (MAINTENANCE_EVENT_KEY, "MIGRATE_ON_HOST_MAINTENANCE", MIGRATE, 60.0),
        (MAINTENANCE_EVENT_KEY, "TERMINATE_ON_HOST_MAINTENANCE", TERMINATE, 3600.0),
        (PREEMPTED_KEY, "TRUE", PREEMPT, 30.0),
    ],
)
def test_deadline_is_the_notice_after_the_announcement(key: str, value: str, event: str, notice: float) -> None:
    """Scripts compare with values that never occur, such as `TERMINATE`."""
    seen = signal(key, value)
    assert (seen.source, seen.event, seen.value, seen.noticed) == (key, event, value, NOW)
    assert seen.deadline == NOW.clock + notice
    assert seen.document["notice_seconds"] == notice


def test_unknown_value_is_handled_as_the_configured_event() -> None:
    seen = signal(MAINTENANCE_EVENT_KEY, "SOMETHING_NEW")
    assert (seen.event, seen.value, seen.document["value"]) == (TERMINATE, TERMINATE, TERMINATE)


def test_the_notice_is_configured() -> None:
    seen = read(PREEMPTED_KEY, "TRUE", NOW, {**DEFAULT_NOTICE, PREEMPT: 3.0}, TERMINATE)
    assert isinstance(seen, Announced)
    assert seen.signal.deadline == NOW.clock + 3.0


def test_deadline_of_a_window_is_its_start() -> None:
    seen = signal(UPCOMING_MAINTENANCE_KEY, {"maintenance_status": "PENDING", "window_start_time": _in(7200)})
    assert (seen.event, seen.value, seen.deadline, seen.begun) == (WINDOW, "PENDING", NOW.clock + 7200, False)


@pytest.mark.parametrize(
    "value",
    [
        {"maintenance_status": "PENDING", "window_start_time": "PAST"},
        {"maintenance_status": "ONGOING", "window_start_time": "FUTURE"},
        {"maintenance_status": "ONGOING"},
    ],
)
def test_started_window_has_the_assumed_notice(value: dict[str, str]) -> None:
    times = {"PAST": _in(-5), "FUTURE": _in(7200)}
    seen = signal(UPCOMING_MAINTENANCE_KEY, {key: times.get(word, word) for key, word in value.items()})
    assert (seen.deadline, seen.begun) == (NOW.clock + DEFAULT_NOTICE[WINDOW], True)


def test_window_without_a_start_has_no_deadline() -> None:
    assert signal(UPCOMING_MAINTENANCE_KEY, "maintenance_status PENDING").deadline is None


def test_unreadable_window_does_not_end_the_event() -> None:
    """An HTML body with status 200 broke the agent (GoogleCloudPlatform/guest-agent#320)."""
    with pytest.raises(UnreadableWindow):
        reading(UPCOMING_MAINTENANCE_KEY, '{"window_start_time": "20')


@pytest.mark.parametrize("key", [MAINTENANCE_EVENT_KEY, PREEMPTED_KEY, DRIFT_TOKEN_KEY])
@pytest.mark.parametrize("value", ["X" * 60_000, {"a": ["b"] * 10_000}, 10**900])
def test_long_value_is_truncated(key: str, value: Any) -> None:
    kept = essence(key, value)
    assert isinstance(kept, str)
    assert len(kept) <= LONGEST_VALUE


@pytest.mark.parametrize(
    "value", ["{{ lookup('pipe', 'id') }}", "X" * 10_000, "a b", {"a": "b"}, "\x1b[2J", "<html>", "../../x"]
)
def test_invalid_value_is_reported_as_its_event(value: Any) -> None:
    """Values from the network must not become templates, paths or file names."""
    seen = signal(MAINTENANCE_EVENT_KEY, value)
    assert (seen.event, seen.value, seen.document["value"]) == (TERMINATE, "terminate", "terminate")
    assert signal(PREEMPTED_KEY, value).value == "preempt"


@pytest.mark.parametrize(
    "status, ended, is_on",
    [("PENDING", -3000, True), ("PENDING", -3700, False), ("PENDING", -1e6, False), ("ONGOING", -1e6, True)],
)
def test_announcement_of_an_ended_window_expires(status: str, ended: float, is_on: bool) -> None:
    """A window that ended weeks ago and is still PENDING is neither drained for nor held."""
    value = {"maintenance_status": status, "window_start_time": _in(ended - 7200), "window_end_time": _in(ended)}
    assert isinstance(reading(UPCOMING_MAINTENANCE_KEY, value), Announced) is is_on


def test_signal_of_the_longest_window_is_small() -> None:
    """The status of a window has no limit, and the history grew by 8 MB an incident."""
    lines = ["window_start_time " + _in(60), "maintenance_status " + "x" * 9000, "type " + "y" * 9000]
    lines += [f"maintenance_reasons/{number} REASON_{number:056}" for number in range(400)]
    window = essence(UPCOMING_MAINTENANCE_KEY, "\n".join(lines))
    assert isinstance(window, Window)
    assert len(json.dumps(signal(UPCOMING_MAINTENANCE_KEY, "\n".join(lines)).document)) < 4000


@pytest.mark.parametrize("event", EVENTS)
def test_rehearsal_has_the_notice_of_its_event(event: str) -> None:
    seen = rehearsal(event, "rehearsal 7", NOW, DEFAULT_NOTICE).signal
    assert (seen.event, seen.value, seen.rehearsal) == (event, "rehearsal 7", True)
    assert seen.deadline == NOW.clock + DEFAULT_NOTICE[event]
    assert seen.document["rehearsal"] is True


def test_all_event_documents_have_the_same_keys() -> None:
    """So that an expression over them means the same for each event."""
    documents = [
        signal(MAINTENANCE_EVENT_KEY, "MIGRATE_ON_HOST_MAINTENANCE").document,
        signal(PREEMPTED_KEY, "TRUE").document,
        signal(UPCOMING_MAINTENANCE_KEY, "maintenance_status PENDING").document,
        rehearsal(WINDOW, "r", NOW, DEFAULT_NOTICE).signal.document,
    ]
    assert len({tuple(document) for document in documents}) == 1


def test_the_document_of_a_window() -> None:
    value = {
        "maintenance_status": "PENDING",
        "type": "SCHEDULED",
        "can_reschedule": "TRUE",
        "maintenance_reasons": ["PLANNED_UPDATE"],
        "window_start_time": _in(60),
        "window_end_time": _in(120),
        "latest_window_start_time": _in(90),
    }
    assert signal(UPCOMING_MAINTENANCE_KEY, json.dumps(value)).document == {
        "name": "window",
        "source": UPCOMING_MAINTENANCE_KEY,
        "value": "PENDING",
        "rehearsal": False,
        "notice_seconds": None,
        "type": "SCHEDULED",
        "reasons": ["PLANNED_UPDATE"],
        "status": "PENDING",
        "can_reschedule": True,
        "window_start_time": _in(60),
        "window_end_time": _in(120),
        "latest_window_start_time": _in(90),
        "target_state": None,
    }


class TestStop:
    @staticmethod
    def details(**fields: Any) -> dict[str, Any]:
        return {"stopState": "PENDING_STOP", "requestTimestamp": _in(-20), "maxDuration": "90s", **fields}

    def test_deadline_is_the_end_of_its_duration(self) -> None:
        stop = signal(STOP_STATE_KEY, self.details(targetState="DELETED"))
        assert (stop.event, stop.value, stop.deadline) == (STOP, "PENDING_STOP", NOW.clock + 70)
        assert (stop.document["notice_seconds"], stop.document["target_state"]) == (90.0, "DELETED")

    def test_clock_skew_keeps_the_time_left_within_bounds(self) -> None:
        assert signal(STOP_STATE_KEY, self.details(requestTimestamp=_in(500))).deadline == NOW.clock + 90
        assert signal(STOP_STATE_KEY, self.details(requestTimestamp=_in(-500))).deadline == NOW.clock

    @pytest.mark.parametrize("value", ["PENDING_STOP", {"stopState": "PENDING_STOP", "maxDuration": "soon"}])
    def test_without_details_has_the_configured_notice(self, value: Any) -> None:
        seen = read(STOP_STATE_KEY, essence(STOP_STATE_KEY, value), NOW, {**DEFAULT_NOTICE, STOP: 45.0}, TERMINATE)
        assert isinstance(seen, Announced)
        assert (seen.signal.deadline, seen.signal.document["target_state"]) == (NOW.clock + 45, "UNKNOWN")

    def test_stopping_state_leaves_30_s(self) -> None:
        stop = signal(STOP_STATE_KEY, self.details(stopState="STOPPING"))
        assert (stop.value, stop.deadline) == ("STOPPING", NOW.clock + 30)
        assert stop.document["notice_seconds"] == 30

    @pytest.mark.parametrize("state", ["UNSPECIFIED", "UNKNOWN", "", "STOPPED"])
    def test_other_states_are_idle(self, state: str) -> None:
        assert reading(STOP_STATE_KEY, self.details(stopState=state)) == Withdrawn(STOP_STATE_KEY)


def test_restart_has_no_notice_and_no_deadline() -> None:
    seen = restart(NOW).signal
    assert (seen.event, seen.deadline, seen.ends_by_itself) == (RESTART, None, True)
    assert reduced(seen.document) == seen.document


@given(st.sampled_from(SIGNAL_KEYS), st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.text()))
def test_any_value_is_parsed_or_rejected(key: str, value: Any) -> None:
    try:
        seen = reading(key, value)
    except UnreadableWindow:
        return
    if isinstance(seen, Announced):
        json.dumps(seen.signal.document)


def _in(seconds: float) -> str:
    return str(format_time(NOW.at + seconds))
