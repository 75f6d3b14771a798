# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unknown names in a `when`."""

from __future__ import annotations

import pytest

from maintenance_handler.app.event_names import unknown_fields


@pytest.mark.parametrize(
    "expression",
    [
        "event.can_reschedule == `false`",
        "event.reasons[0] == 'FAILURE_DISK' && !event.rehearsal",
        "contains(event.reasons, 'PLANNED_UPDATE')",
        "event.reasons[?@ == 'X'] | [0]",
        "length(event.reasons[?starts_with(@, 'F')]) > `0`",
        "event.[name, value][0] == 'window'",
        "event.{a: name, b: can_reschedule}.b",
        "event | name == 'migrate'",
        "@.event.name",
        "event.* | [0]",
        "(event.can_reschedule || event.rehearsal) && event.notice_seconds > `30`",
        "sort_by([event], &whatever)",
        "`{}`.anything",
        "'text'",
        "not_null(event.window_start_time, event.window_end_time)",
        "event.reasons[] | [1:]",
        'event."name"',
    ],
)
def test_known_names_are_accepted(expression: str) -> None:
    assert unknown_fields(expression) == []


@pytest.mark.parametrize(
    "expression, problem",
    [
        ("event.can_reshedule == `false`", "an event has no field 'can_reshedule'; did you mean 'can_reschedule'?"),
        ("event.canReschedule", "an event has no field 'canReschedule'; did you mean 'can_reschedule'?"),
        ("!(event.name == 'x' && event.cause == 'y')", "an event has no field 'cause'; it has name, source, value"),
        ("contains(event.reason, 'X')", "an event has no field 'reason'; did you mean 'reasons'?"),
        ("event.{a: nam}.a", "an event has no field 'nam'; did you mean 'name'?"),
        ("event | nam", "an event has no field 'nam'; did you mean 'name'?"),
        ("can_reschedule", "'can_reschedule' is not known; the document has only 'event'; did you mean 'event.can_res"),
        ("evnt.name", "'evnt' is not known; the document has only 'event'; did you mean 'event'?"),
        ("event.name.first", "'first' is looked for in a single value, which has no fields"),
        ("event.reasons.first", "'first' is looked for in a list, which has no fields"),
        ("event.reasons[?code == 'X']", "'code' is looked for in a single value, which has no fields"),
        ("event.reasons[*].code", "'code' is looked for in a single value, which has no fields"),
    ],
)
def test_unknown_names_are_reported(expression: str, problem: str) -> None:
    (line,) = unknown_fields(expression)
    assert line.startswith(problem)


def test_each_name_is_reported_once() -> None:
    assert len(unknown_fields("event.a == event.b || event.a")) == 2
