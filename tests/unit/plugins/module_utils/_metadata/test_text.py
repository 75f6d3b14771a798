# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Booleans and numbers as the text of metadata, and back."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._metadata.text import as_bool, as_text


@pytest.mark.parametrize("value", ["TRUE", "true", "Y", "y", "Yes", "1", 1, True])
def test_true(value: Any) -> None:
    assert as_bool(value) is True


@pytest.mark.parametrize("value", ["FALSE", "false", "N", "n", "No", "0", 0, False])
def test_false(value: Any) -> None:
    assert as_bool(value) is False


@pytest.mark.parametrize("value", ["", "on", "T", "TRUE ", "maybe", 2, 1.0, None, ["TRUE"], {"a": 1}])
def test_other_text_is_not_a_boolean(value: Any) -> None:
    assert as_bool(value) is None


@pytest.mark.parametrize(
    "value, text",
    [
        ("yes", "yes"),
        ("", ""),
        (True, "TRUE"),
        (False, "FALSE"),
        (7, "7"),
        (0.5, "0.5"),
        (2**64, "18446744073709551616"),
    ],
)
def test_text(value: Any, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize("value", [None, float("inf"), float("-inf"), float("nan"), [], {}, b"x"])
def test_other_types_are_not_text(value: Any) -> None:
    assert as_text(value) is None
