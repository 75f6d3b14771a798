# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsing maintenance signals, in all spellings that were seen or documented."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import (
    MIGRATE,
    TERMINATE,
    Scheduling,
    Stop,
    UnreadableWindow,
    Window,
    event_of,
    format_time,
    is_preempted,
    parse_duration,
    parse_scheduling,
    parse_stop,
    parse_window,
    window_document,
)
from hypothesis import example, given
from hypothesis import strategies as st

START = 1722262797.0  # 2024-07-29T14:19:57Z
END = 1722277192.0  # 2024-07-29T18:19:52Z
LATEST = 1722262793.0  # 2024-07-29T14:19:53Z

SCHEDULED = Window(START, END, LATEST, "PENDING", "SCHEDULED", False)

# https://github.com/GoogleCloudPlatform/sapagent, what it parses
LINES = """\
can_reschedule false
latest_window_start_time 2024-07-29T14:19:53+00:00
maintenance_status PENDING
type SCHEDULED
window_end_time 2024-07-29T18:19:52+00:00
window_start_time 2024-07-29T14:19:57+00:00"""

SNAKE = {
    "can_reschedule": False,
    "latest_window_start_time": "2024-07-29T14:19:53+00:00",
    "maintenance_status": "PENDING",
    "type": "SCHEDULED",
    "window_end_time": "2024-07-29T18:19:52+00:00",
    "window_start_time": "2024-07-29T14:19:57+00:00",
}

# https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice
CAMEL = {
    "maintenanceType": "SCHEDULED",
    "canReschedule": "false",
    "latestWindowStartTime": "2024-07-29T14:19:53Z",
    "maintenanceStatus": "PENDING",
    "windowEndTime": "2024-07-29T18:19:52Z",
    "windowStartTime": "2024-07-29T14:19:57Z",
}


class TestMaintenanceEvent:
    @pytest.mark.parametrize(
        "value, event",
        [
            ("NONE", None),
            ("", None),
            ("none\n", None),
            ("MIGRATE_ON_HOST_MAINTENANCE", MIGRATE),
            ("TERMINATE_ON_HOST_MAINTENANCE", TERMINATE),
            ("SHUTDOWN_ON_HOST_MAINTENANCE", TERMINATE),
            (" migrate_on_host_maintenance\n", MIGRATE),
        ],
    )
    def test_of_a_known_value(self, value: str, event: str | None) -> None:
        assert event_of(value) == event

    @pytest.mark.parametrize("value", ["TERMINATE", "MIGRATE", "HOST_ERROR", "true", "<html>"])
    def test_of_an_unknown_value_is_the_configured_one(self, value: str) -> None:
        """Scripts that compare with values that never occur, such as `TERMINATE`, never fire."""
        assert event_of(value) == TERMINATE
        assert event_of(value, MIGRATE) == MIGRATE


class TestPreempted:
    @pytest.mark.parametrize("value", ["TRUE", "true", "TRUE\n", "1", "YES", "SOON"])
    def test_everything_but_false_is_a_preemption(self, value: str) -> None:
        assert is_preempted(value)

    @pytest.mark.parametrize("value", ["FALSE", "false", "", "NONE", " FALSE\n"])
    def test_false_and_empty_values_are_not(self, value: str) -> None:
        assert not is_preempted(value)


class TestWindow:
    @pytest.mark.parametrize(
        "value",
        [
            LINES,
            LINES.replace("_", "-"),
            LINES.replace("\n", "\r\n"),
            SNAKE,
            json.dumps(SNAKE),
            json.dumps(SNAKE, indent=2),
            {**SNAKE, "can_reschedule": "FALSE"},
            CAMEL,
            json.dumps(CAMEL),
            {key.replace("_", "-"): value for key, value in SNAKE.items()},
        ],
    )
    def test_is_the_same_in_every_spelling(self, value: Any) -> None:
        assert parse_window(value) == SCHEDULED

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "NONE",
            "none",
            '"NONE"',
            "{}",
            "{ }",
            "{ }\n",
            {},
            {"type": "NONE"},
            {"maintenanceType": "none", "maintenanceStatus": "UNKNOWN", "windowStartTime": "1970-01-01T00:00:00Z"},
            "type NONE",
            "maintenance_status NONE",
            '{"type": "NONE", "can_reschedule": false}',
        ],
    )
    def test_none_in_every_spelling(self, value: Any) -> None:
        """A fourth form is the 503 "no notifications have been received yet", which the client handles."""
        assert parse_window(value) is None

    def test_that_is_pending_counts_with_any_type(self) -> None:
        assert parse_window({**SNAKE, "type": "NONE"}) is not None

    @pytest.mark.parametrize("status", ["COMPLETE", "COMPLETED", "complete", "CANCELLED", '"COMPLETE"'])
    def test_completed_one_is_ignored(self, status: str) -> None:
        assert parse_window({**SNAKE, "maintenance_status": status}) is None

    def test_may_have_its_start_in_an_interval(self) -> None:
        older = {
            "maintenance_status": "PENDING",
            "start_time_window": {"earliest": "2024-07-29T14:19:57Z", "latest": "2024-07-29T14:19:53Z"},
        }
        window = Window(START, None, LATEST, "PENDING")
        assert parse_window(older) == window
        lines = (
            "maintenance_status PENDING\n"
            "start_time_window/earliest 2024-07-29T14:19:57Z\n"
            "start_time_window/latest 2024-07-29T14:19:53Z"
        )
        assert parse_window(lines) == window

    @pytest.mark.parametrize(
        "value",
        [
            {**SNAKE, "maintenance_reasons": ["FAILURE_DISK", "PLANNED_UPDATE"]},
            LINES + "\nmaintenance_reasons/0 FAILURE_DISK\nmaintenance_reasons/1 PLANNED_UPDATE",
        ],
    )
    def test_has_its_reasons(self, value: Any) -> None:
        window = parse_window(value)
        assert window is not None
        assert window.reasons == ("FAILURE_DISK", "PLANNED_UPDATE")

    @pytest.mark.parametrize(
        "reasons, kept",
        [
            ("PLANNED_UPDATE", ("PLANNED_UPDATE",)),
            ("FAILURE_DISK, FAILURE_GPU", ("FAILURE_DISK", "FAILURE_GPU")),
            ("[FAILURE_DISK,FAILURE_GPU]", ("FAILURE_DISK", "FAILURE_GPU")),
            (["FAILURE_DISK", "FAILURE_DISK"], ("FAILURE_DISK",)),
            (["{{ lookup('pipe', 'id') }}", "a b", "x" * 65, "", None, 7, {"a": 1}, "FAILURE_GPU"], ("FAILURE_GPU",)),
            ([f"R{number}" for number in range(5000)], tuple(f"R{number}" for number in range(32))),
            ({"a": "b"}, ()),
            ("", ()),
        ],
    )
    def test_drops_reasons_that_are_not_words(self, reasons: Any, kept: tuple[str, ...]) -> None:
        window = parse_window({**SNAKE, "maintenance_reasons": reasons})
        assert window is not None
        assert window.reasons == kept

    @pytest.mark.parametrize("status", ["IN PROGRESS", "{{ 1 }}", "x" * 1000, {"a": "b"}, ["PENDING"], 7])
    def test_of_an_unknown_status_is_a_window_without_its_text(self, status: Any) -> None:
        """An unknown status still announces a window, but its text must not reach a template."""
        assert parse_window({"maintenance_status": status}) == Window(None)

    @pytest.mark.parametrize(
        "word, said", [("true", True), ("TRUE", True), ('"true"', True), (1, True), ("no", False), ("maybe", None)]
    )
    def test_reads_can_reschedule_as_text(self, word: Any, said: bool) -> None:
        window = parse_window({**SNAKE, "can_reschedule": word})
        assert window is not None
        assert window.can_reschedule is said

    @pytest.mark.parametrize(
        "value",
        [
            "type SCHEDULED\nmaintenance_status PENDING\n"
            + "\n".join(f"maintenance_reasons/{number} FAILURE_DISK_{number}" for number in range(1500)),
            "maintenance_status " + "P" * 65000,
            "maintenance_status PENDING\n" + "\n".join(f"key_{number} 1" for number in range(5000)),
            '{"type": "' + "P" * 65000 + '", "window_start_time": "2024-07-29T14:19:57Z"}',
        ],
    )
    def test_is_small_for_a_long_value(self, value: str) -> None:
        """A long value must cost neither time nor space in status and history."""
        assert len(repr(parse_window(value))) < 3000

    def test_of_more_than_64_kib_is_unreadable(self) -> None:
        with pytest.raises(UnreadableWindow, match="65537 characters are no announcement"):
            parse_window((LINES + "\n" + "x" * 65537)[:65537])

    @pytest.mark.parametrize(
        "window, ended",
        [
            (Window(10.0, 20.0), True),
            (Window(10.0, 20.0, status="PENDING"), True),
            (Window(10.0, 20.0, status="ONGOING"), False),
            (Window(10.0, 50.0), False),
            (Window(10.0), False),
        ],
    )
    def test_has_ended(self, window: Window, ended: bool) -> None:
        assert window.has_ended(40.0) is ended

    @pytest.mark.parametrize("name", ["canReschedule", "latestWindowStartTime", "maintenanceType", "windowEndTime"])
    def test_null_field_counts_as_missing(self, name: str) -> None:
        without = {key: value for key, value in CAMEL.items() if key != name}
        assert parse_window({**CAMEL, name: None, "maintenanceReasons": None}) == parse_window(without)

    def test_with_all_fields_null_is_ignored(self) -> None:
        assert parse_window(dict.fromkeys(CAMEL)) is None

    def test_without_a_time_is_still_a_window(self) -> None:
        assert parse_window({"maintenance_status": "PENDING"}) == Window(None, status="PENDING")
        assert parse_window({"maintenance_status": "PENDING", "window_start_time": "soon"}) == Window(
            None, status="PENDING"
        )

    def test_without_a_status_is_still_a_window(self) -> None:
        assert parse_window({"window_start_time": "2024-07-29T14:19:57Z"}) == Window(START)

    def test_ignores_unknown_fields(self) -> None:
        assert parse_window({**SNAKE, "severity": {"level": 3}}) == SCHEDULED

    @pytest.mark.parametrize(
        "value, start",
        [
            ("2024-07-29T14:19:57Z", START),
            ("2024-07-29T14:19:57.000Z", START),
            ("2024-07-29T14:19:57.25+00:00", START),
            ("2024-07-29T16:19:57+02:00", START),
            ("2024-07-29t14:19:57z", START),
            ("2024-07-29 14:19:57Z", START),
            ("2024-07-29T14:19:57", START),
            (" 2024-07-29T14:19:57Z\n", START),
            ('"2024-07-29T14:19:57Z"', START),
            ("2024-07-29T14:19:57.123456789Z", START),
            ("2024-07-29T14:19:57,5Z", START),
            ("2024-07-29T14:19:57+0000", START),
            ("2024-07-29T16:19:57+02", START),
            ("2024-07-29 14:19:57 UTC", START),
            ("2024-07-29 14:19:57 +00:00", START),
            ("2024-07-29T14:19Z", START - 57),
            ("1722262797", START),
            ("1722262797000", START),
            (1722262797000, START),
            (1722262797.5, START),
            ({"seconds": "1722262797", "nanos": 5}, START),
            # The unset time of a protocol buffer.
            ("1970-01-01T00:00:00Z", None),
            (0, None),
            ({"seconds": "0"}, None),
            ({}, None),
            (True, None),
            (float("nan"), None),
            (float("inf"), None),
            (10**400, None),
            ("9" * 5000, None),
            ("2024-07-29T14:19:57." + "9" * 5000 + "Z", None),
            ("٢٠٢٤-07-29T14:19:57Z", None),
            ("2024-13-29T14:19:57Z", None),
            ("2024-07-29T14:19:57+99:00", None),
            ("0001-01-01T00:00:00+23:59", None),
            ("9999-12-31T23:59:59-23:59", None),
            (1722262797, START),
            (None, None),
        ],
    )
    def test_times(self, value: Any, start: float | None) -> None:
        window = parse_window({"maintenance_status": "PENDING", "window_start_time": value})
        assert window is not None
        assert window.start == start

    @pytest.mark.parametrize(
        "value",
        [
            '{"window_start_time": ',
            "<html><body>Error</body></html>",
            "[]",
            "null",
            "unexpected text",
            ["NONE"],
            17,
            True,
            {"severity": "high"},
            # A field that is a value in one line and a directory in the next.
            "a 1\na/0 2",
            "a 1\na/b 2",
            "a/0 1\na/b 2",
            "a/b 1\na/0 2",
            '{"a":' * 10_000,
            '{"maintenance_status": ' + "9" * 60_000 + "}",
        ],
    )
    def test_unreadable_value_is_an_error(self, value: Any) -> None:
        with pytest.raises(UnreadableWindow, match="Reading instance/upcoming-maintenance: "):
            parse_window(value)

    def test_error_truncates_a_long_value(self) -> None:
        with pytest.raises(UnreadableWindow) as caught:
            parse_window("{" + "x" * 100_000)
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(
        "window, left",
        [
            (Window(100.0), 60.0),
            (Window(40.0), 0.0),
            (Window(10.0), 0.0),
            (Window(None), None),
            (Window(100.0, status="ONGOING"), 0.0),
            (Window(None, status="ONGOING"), 0.0),
        ],
    )
    def test_seconds_until_start(self, window: Window, left: float | None) -> None:
        assert window.seconds_until_start(40.0) == left
        assert window.has_begun(40.0) == (left == 0.0)


class TestWindowDocument:
    def test_has_every_field(self) -> None:
        assert window_document(Window(START, END, LATEST, "PENDING", "SCHEDULED", False, ("PLANNED_UPDATE",))) == {
            "type": "SCHEDULED",
            "reasons": ["PLANNED_UPDATE"],
            "status": "PENDING",
            "can_reschedule": False,
            "window_start_time": "2024-07-29T14:19:57Z",
            "window_end_time": "2024-07-29T18:19:52Z",
            "latest_window_start_time": "2024-07-29T14:19:53Z",
        }

    def test_has_the_same_fields_without_a_window(self) -> None:
        empty = window_document(None)
        assert list(empty) == list(window_document(Window(START)))
        assert {name for name, value in empty.items() if value is not None} == {"reasons"}


DETAILS = {
    "maxDuration": "600s",
    "requestTimestamp": "2024-07-29T14:19:57Z",
    "stopState": "PENDING_STOP",
    "targetState": "DELETED",
}


class TestStop:
    @pytest.mark.parametrize(
        "value",
        [
            DETAILS,
            {
                "max-duration": 600,
                "request-timestamp": START,
                "stop-state": "pending_stop\n",
                "target-state": "DELETED",
            },
            {**DETAILS, "maxDuration": {"seconds": "600", "nanos": 0}, "requestTimestamp": {"seconds": int(START)}},
            {**DETAILS, "maxDuration": '{"seconds": "600"}'},
        ],
    )
    def test_is_the_same_in_every_spelling(self, value: Any) -> None:
        assert parse_stop(value) == Stop("PENDING_STOP", "DELETED", START, 600.0)

    def test_by_its_state_alone(self) -> None:
        assert parse_stop("PENDING_STOP") == Stop("PENDING_STOP")
        assert parse_stop("STOPPING") == Stop("STOPPING")

    @pytest.mark.parametrize(
        "value",
        [
            "UNSPECIFIED",
            "UNKNOWN",
            "",
            None,
            "NONE",
            "RUNNING",
            {},
            {"stopState": "UNSPECIFIED"},
            {"stopState": ["x"]},
            7,
        ],
    )
    def test_none(self, value: Any) -> None:
        """Google's guest agent acts on PENDING_STOP only; readers report UNSPECIFIED or UNKNOWN when idle."""
        assert parse_stop(value) is None

    @pytest.mark.parametrize("word", ["{{ 1 }}", "x" * 5000, ["DELETED"], 7, None])
    def test_with_invalid_details_is_a_stop(self, word: Any) -> None:
        stop = parse_stop({**dict.fromkeys(DETAILS, word), "stopState": "PENDING_STOP"})
        assert stop is not None
        assert (stop.state, stop.target_state, stop.requested) == ("PENDING_STOP", "UNKNOWN", None)

    @pytest.mark.parametrize(
        "stop, left",
        [
            (Stop("PENDING_STOP", requested=100.0, max_duration=300.0), 260.0),
            (Stop("PENDING_STOP", requested=100.0), 560.0),
            (Stop("PENDING_STOP", max_duration=300.0), 300.0),
            (Stop("PENDING_STOP"), 600.0),
            (Stop("PENDING_STOP", requested=-900.0, max_duration=300.0), 0.0),
            (Stop("PENDING_STOP", requested=9000.0, max_duration=300.0), 300.0),
            (Stop("STOPPING", requested=100.0, max_duration=300.0), 0.0),
        ],
    )
    def test_seconds_left(self, stop: Stop, left: float) -> None:
        assert stop.seconds_left(140.0) == left

    def test_duration_is_limited_to_the_documented_maximum(self) -> None:
        stop = parse_stop({**DETAILS, "maxDuration": "999999s"})
        assert stop is not None
        assert stop.max_duration == 3600.0


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("600", 600.0),
        (" 600s\n", 600.0),
        ('"600s"', 600.0),
        ("0.5s", 0.5),
        (600, 600.0),
        (600.0, 600.0),
        ({"seconds": "600"}, 600.0),
        ({"seconds": 600, "nanos": 5}, 600.0),
        ('{"seconds": "600"}', 600.0),
        ("0", None),
        ("0s", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        (float("inf"), None),
        ("9" * 400, None),
        ("10m", None),
        ("", None),
        (None, None),
        (True, None),
        ({}, None),
        ("{", None),
        ('{"a":' * 10_000, None),
        ([600], None),
    ],
)
def test_durations(value: Any, seconds: float | None) -> None:
    assert parse_duration(value) == seconds


class TestScheduling:
    def test_is_read_from_its_tree(self) -> None:
        value = {
            "automaticRestart": "FALSE",
            "onHostMaintenance": "terminate\n",
            "preemptible": "TRUE",
            "preemptionNoticeDuration": "120s",
        }
        assert parse_scheduling(value) == Scheduling("TERMINATE", False, True, 120.0)

    @pytest.mark.parametrize("value", [None, {}, "MIGRATE", [], {"preemptible": "?", "automaticRestart": {}}])
    def test_missing_values_are_unknown(self, value: Any) -> None:
        """GKE's metadata server has no `scheduling`."""
        assert parse_scheduling(value) == Scheduling()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# RFC 3339 and its neighbourhood, years 0 and 10000 and impossible offsets included.
TIMES = st.from_regex(
    r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})\Z"
)
KNOWN = st.sampled_from([*SNAKE, *CAMEL, "start_time_window", "maintenance_reasons", "startTimeWindow"])
ANNOUNCEMENTS = st.dictionaries(
    KNOWN | st.text(max_size=3),
    JSON | TIMES | st.fixed_dictionaries({"earliest": TIMES, "latest": TIMES}),
    max_size=8,
)
LINE = st.builds(
    "{}{} {}".format,
    KNOWN | st.text("ab", min_size=1, max_size=1),
    st.sampled_from(["", "/0", "/1", "/earliest", "/latest", "/²", "/"]),
    TIMES | st.text(string.printable, max_size=5),
)


@given(
    st.one_of(
        JSON,
        ANNOUNCEMENTS,
        ANNOUNCEMENTS.map(json.dumps),
        st.text(),
        st.lists(LINE, max_size=6).map("\n".join),
    )
)
@example({"maintenance_status": "PENDING", "window_start_time": "9999-12-31T23:59:59.9999999Z"})
@example({"maintenance_status": "PENDING", "window_start_time": "0000-01-01T00:00:00Z"})
def test_any_window_is_parsed_or_rejected(value: Any) -> None:
    try:
        window = parse_window(value)
    except UnreadableWindow:
        return
    if window is not None:
        for when in (window.start, window.end, window.latest_start):
            shown = format_time(when)
            assert (shown is None) == (when is None)
        json.dumps([window.status, window.type, window.can_reschedule, window.reasons])


@given(JSON | st.dictionaries(st.sampled_from([*DETAILS, "preemptible", "preemptionNoticeDuration"]), JSON))
def test_any_value_of_a_directory_is_accepted(value: Any) -> None:
    stop, scheduling = parse_stop(value), parse_scheduling(value)
    assert stop is None or 0 <= stop.seconds_left(START) <= 3600
    assert scheduling.preemption_notice is None or scheduling.preemption_notice > 0


@pytest.mark.parametrize(
    "epoch, text", [(START, "2024-07-29T14:19:57Z"), (START + 0.9, "2024-07-29T14:19:57Z"), (None, None)]
)
def test_format_time(epoch: float | None, text: str | None) -> None:
    assert format_time(epoch) == text
