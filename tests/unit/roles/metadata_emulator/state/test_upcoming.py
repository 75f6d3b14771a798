# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An announced window in all its spellings."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest

from gce_emulator.state.upcoming import UpcomingMaintenance, parse_time

UTC = datetime.timezone(datetime.timedelta(0))
WINDOW = UpcomingMaintenance(
    window_start_time=datetime.datetime(2024, 7, 29, 14, 19, 57, tzinfo=UTC),
    window_end_time=datetime.datetime(2024, 7, 29, 18, 19, 52, tzinfo=UTC),
    latest_window_start_time=datetime.datetime(2024, 7, 29, 14, 19, 53, tzinfo=UTC),
    can_reschedule=False,
)


def test_text_is_as_captured() -> None:
    assert WINDOW.to_text() == (
        "can_reschedule false\n"
        "latest_window_start_time 2024-07-29T14:19:53+00:00\n"
        "maintenance_status PENDING\n"
        "type SCHEDULED\n"
        "window_end_time 2024-07-29T18:19:52+00:00\n"
        "window_start_time 2024-07-29T14:19:57+00:00"
    )


def test_json_of_the_wire_has_booleans_and_offsets() -> None:
    shown = WINDOW.to_json("snake")
    assert shown["can_reschedule"] is False
    assert shown["window_start_time"] == "2024-07-29T14:19:57+00:00"
    assert shown["start_time_window"] == {
        "earliest": "2024-07-29T14:19:57+00:00",
        "latest": "2024-07-29T14:19:53+00:00",
    }


def test_json_of_the_notices_page_is_camel_case_with_a_string_for_the_boolean() -> None:
    assert list(WINDOW.to_json("camel").items()) == [
        ("maintenanceType", "SCHEDULED"),
        ("canReschedule", "false"),
        ("latestWindowStartTime", "2024-07-29T14:19:53Z"),
        ("maintenanceStatus", "PENDING"),
        ("windowEndTime", "2024-07-29T18:19:52Z"),
        ("windowStartTime", "2024-07-29T14:19:57Z"),
    ]


def test_json_of_the_hypercomputer_pages_has_strings_and_reasons() -> None:
    shown = WINDOW.to_json("strings")
    assert shown["can_reschedule"] == "false"
    assert shown["maintenance_reasons"] == ["PLANNED_UPDATE"]
    assert shown["window_start_time"] == "2024-07-29T14:19:57Z"


@pytest.mark.parametrize("style", ["snake", "camel", "strings"])
def test_every_spelling_is_read_back(style: str) -> None:
    shown = WINDOW.to_json(style)
    shown.pop("start_time_window", None)
    shown.pop("maintenance_reasons", None)
    assert UpcomingMaintenance.from_mapping(shown) == WINDOW


def test_the_api_form_is_read_back() -> None:
    assert UpcomingMaintenance.from_mapping(WINDOW.to_api()) == WINDOW


def test_the_start_is_enough() -> None:
    window = UpcomingMaintenance.from_mapping({"window_start_time": "2026-01-31T12:00:00+01:00"})
    assert window.window_start_time == datetime.datetime(2026, 1, 31, 11, tzinfo=UTC)
    assert window.window_end_time - window.window_start_time == datetime.timedelta(hours=4)


@pytest.mark.parametrize(
    "given, problem",
    [
        ({}, "an upcoming maintenance needs window_start_time"),
        ({"start": "x"}, "an upcoming maintenance has no 'start'; it has type, can_reschedule, "),
        (
            {"window_start_time": "soon"},
            "window_start_time is 'soon'; it must be a time such as 2026-01-31T12:00:00Z",
        ),
        (
            {"window_start_time": "2026-01-31T12:00:00"},
            "window_start_time is '2026-01-31T12:00:00'; it must be a time",
        ),
        ({"window_start_time": 5}, "window_start_time is 5; it must be a time"),
        ({"windowStartTime": "2026-01-31T12:00:00Z", "type": "LATER"}, "type is 'LATER'; it can be UNKNOWN_TYPE, "),
        (
            {"windowStartTime": "2026-01-31T12:00:00Z", "canReschedule": "perhaps"},
            "can_reschedule is 'perhaps'; it must be true or false",
        ),
        (
            {"windowStartTime": "2026-01-31T12:00:00Z", "maintenance_reasons": "disk"},
            "maintenance_reasons is 'disk'; it must be a list of strings",
        ),
    ],
)
def test_a_wrong_window_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(problem)):
        UpcomingMaintenance.from_mapping(given)


def test_a_time_parsed_by_yaml_is_accepted() -> None:
    moment = datetime.datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert parse_time(moment, "x") == moment
