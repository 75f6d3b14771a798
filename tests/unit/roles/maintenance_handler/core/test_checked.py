# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read from JSON, held against a shape."""

from __future__ import annotations

from typing import Any

import pytest

from maintenance_handler.core.checked import fits

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
def test_what_may_be_missing_has_its_shape_where_it_is_there(value: Any, expected: bool) -> None:
    assert fits(value, SHAPE) is expected
