# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checking JSON data against a declared shape."""

from __future__ import annotations

from typing import Any

import pytest

from maintenance_handler._vm.records import dataclass
from maintenance_handler.core.checked import checked, fits
from maintenance_handler.core.incident import Incident, Moment, PastSignal, Signal, Skip, Step
from maintenance_handler.core.tasks import Task
from maintenance_handler.io.request import Request

SHAPE = {"id": "str", "steps?": [{"number?": "int", "outcome": "str"}]}


@pytest.mark.parametrize(
    "value, expected",
    [
        ({"id": "1"}, True),
        ({"id": "1", "more": None}, True),
        ({"id": "1", "steps": []}, True),
        ({"id": "1", "steps": [{"outcome": "ok"}, {"outcome": "ok", "number": 2}]}, True),
        ({}, False),
        ({"id": None}, False),
        ({"id": "1", "steps": None}, False),
        ({"id": "1", "steps": [None]}, False),
        ({"id": "1", "steps": [{"outcome": "ok", "number": "2"}]}, False),
    ],
)
def test_optional_key_is_checked_if_present(value: Any, expected: bool) -> None:
    assert fits(value, SHAPE) is expected


@pytest.mark.parametrize(
    "value, expected", [({"id": "1"}, True), (None, True), ({"id": None}, False), ({}, False), ("1", False)]
)
def test_one_of_several_shapes_is_enough(value: Any, expected: bool) -> None:
    assert fits(value, ({"id": "str"}, "None")) is expected


@pytest.mark.parametrize("kind", [Incident, Moment, PastSignal, Request, Signal, Skip, Step, Task])
def test_all_fields_of_stored_records_can_be_checked(kind: type) -> None:
    assert checked(kind, {}) == {}


@pytest.mark.parametrize("tasks", [None, {}, "backup", 1])
def test_a_tuple_of_records_is_read_from_a_list(tasks: Any) -> None:
    with pytest.raises(ValueError, match="tasks of Incident"):
        checked(Incident, {"tasks": tasks})


def test_unsupported_type_is_rejected() -> None:
    @dataclass(frozen=True)
    class Record:
        names: frozenset[str] | None

    for values in ({}, {"names": None}):
        with pytest.raises(TypeError, match="names of Record"):
            checked(Record, values)
