# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times in the emulated Compute API."""

from __future__ import annotations

import datetime

import pytest

from gce_emulator.compute.timestamps import instant, pacific_time


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:00.5+00:00", 0.5),
        ("1969-12-31T16:00:00.250-08:00", 0.25),
        ("1970-01-01", None),
        ("2026-13-01T00:00:00Z", None),
        ("web-1", None),
    ],
)
def test_instant(text: str, expected: float | None) -> None:
    assert instant(text) == expected


@pytest.mark.parametrize(
    "utc, pacific",
    [
        ("2026-03-08T09:59:59", "2026-03-08T01:59:59.000-08:00"),
        ("2026-03-08T10:00:00", "2026-03-08T03:00:00.000-07:00"),
        ("2026-11-01T08:59:59", "2026-11-01T01:59:59.000-07:00"),
        ("2026-11-01T09:00:00", "2026-11-01T01:00:00.000-08:00"),
        ("2026-01-01T00:00:00", "2025-12-31T16:00:00.000-08:00"),
    ],
)
def test_pacific_time(utc: str, pacific: str) -> None:
    assert pacific_time(datetime.datetime.fromisoformat(f"{utc}+00:00")) == pacific
