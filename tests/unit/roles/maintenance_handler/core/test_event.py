# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only values with the form of an event's field reach a task."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance_handler._vm.maintenance import (
    DEFAULT_NOTICE,
    MAINTENANCE_EVENT_KEY,
    MIGRATE,
    PREEMPT,
    PREEMPTED_KEY,
    SIGNAL_KEYS,
    TERMINATE,
    UPCOMING_MAINTENANCE_KEY,
    WINDOW,
    UnreadableWindow,
)
from maintenance_handler._vm.signal_values import essence
from maintenance_handler.core.announcements import read
from maintenance_handler.core.event import REHEARSAL, document, known_value, reduced
from maintenance_handler.core.incident import Moment
from maintenance_handler.core.observations import Announced

TEMPLATE = "{{ lookup('pipe','id') }}"
NOW = Moment(500.0, 1_780_000_000.0)


@pytest.mark.parametrize(
    "source, event, value, known",
    [
        (MAINTENANCE_EVENT_KEY, MIGRATE, "MIGRATE_ON_HOST_MAINTENANCE", "MIGRATE_ON_HOST_MAINTENANCE"),
        (MAINTENANCE_EVENT_KEY, MIGRATE, " migrate_on_host_maintenance\n", "MIGRATE_ON_HOST_MAINTENANCE"),
        (MAINTENANCE_EVENT_KEY, TERMINATE, "SOMETHING_NEW", TERMINATE),
        (MAINTENANCE_EVENT_KEY, TERMINATE, TEMPLATE, TERMINATE),
        (PREEMPTED_KEY, PREEMPT, "TRUE", "TRUE"),
        (PREEMPTED_KEY, PREEMPT, TEMPLATE, PREEMPT),
        (UPCOMING_MAINTENANCE_KEY, WINDOW, "PENDING", "PENDING"),
        (UPCOMING_MAINTENANCE_KEY, WINDOW, "NEW_STATUS", "NEW_STATUS"),
        (UPCOMING_MAINTENANCE_KEY, WINDOW, TEMPLATE, WINDOW),
        (UPCOMING_MAINTENANCE_KEY, WINDOW, "X" * 65, WINDOW),
        (REHEARSAL, MIGRATE, "rehearsal 0123abcd", "rehearsal 0123abcd"),
        (REHEARSAL, MIGRATE, TEMPLATE, MIGRATE),
    ],
)
def test_unknown_value_is_replaced_by_its_event(source: str, event: str, value: str, known: str) -> None:
    assert known_value(source, event, value) == known


def test_valid_fields_are_kept() -> None:
    good = {
        "name": "window",
        "source": UPCOMING_MAINTENANCE_KEY,
        "value": "PENDING",
        "rehearsal": False,
        "notice_seconds": None,
        "type": "SCHEDULED",
        "reasons": ["PLANNED_UPDATE", "FAILURE_DISK"],
        "status": "PENDING",
        "can_reschedule": True,
        "window_start_time": "2026-12-01T02:00:00Z",
        "window_end_time": "2026-12-01T06:00:00Z",
        "latest_window_start_time": None,
        "target_state": None,
    }
    assert reduced(good) == good
    assert reduced({**good, "more": TEMPLATE}) == good


@pytest.mark.parametrize("bad", [TEMPLATE, {"a": TEMPLATE}, [TEMPLATE], [[TEMPLATE]], 7, "pending", "A\nB"])
def test_invalid_fields_are_dropped(bad: Any) -> None:
    fields = document(WINDOW, UPCOMING_MAINTENANCE_KEY, "PENDING", None)
    told = reduced({**dict.fromkeys(fields, bad), "reasons": ["GOOD", bad], TEMPLATE: "x"})
    rest = {key: value for key, value in told.items() if key not in ("reasons", "notice_seconds")}
    assert rest == {**dict.fromkeys(rest), "rehearsal": False}
    assert told["reasons"] == ["GOOD"]


WORDS = st.text(max_size=8) | st.just(TEMPLATE)
FIELDS = ("window_start_time", "maintenance_status", "type", "can_reschedule", "maintenance_reasons")
WINDOWS = st.dictionaries(st.sampled_from(FIELDS), WORDS | st.lists(WORDS, max_size=3))
# Quotes, braces and other special characters of shells, Jinja, YAML and terminals.
HARMLESS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _.:/-")


@given(st.sampled_from(SIGNAL_KEYS), WORDS | WINDOWS)
def test_no_special_character_is_passed_on(key: str, value: Any) -> None:
    try:
        seen = read(key, essence(key, value), NOW, DEFAULT_NOTICE, TERMINATE)
    except UnreadableWindow:
        return
    if isinstance(seen, Announced):
        texts = [one for one in seen.signal.document.values() if isinstance(one, str)]
        texts += [*seen.signal.document["reasons"], seen.signal.value]
        assert set("".join(texts)) <= HARMLESS
