# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations without a notice: which changes of the drift token count as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from maintenance_handler._vm.drift import (
    GRACE,
    Drift,
    found_missed,
    heard_announcement,
    heard_token,
    wake_at,
)
from maintenance_handler.io.token_file import TokenFile


def after(*observations: tuple[float, str]) -> Drift:
    """Tokens (digits), the announcement ("on") and its end ("off"), each at its time."""
    drift = Drift()
    for now, what in observations:
        is_token = what.isdigit()
        drift = heard_token(drift, what, now) if is_token else heard_announcement(drift, what == "on", now)
    return drift


@pytest.mark.parametrize(
    "observations",
    [
        [(0.0, "1")],
        [(0.0, "1"), (60.0, "1")],
        [(0.0, "1"), (5.0, "on"), (65.0, "2"), (66.0, "off")],
        # Received over separate connections, in either order.
        [(0.0, "1"), (5.0, "on"), (66.0, "off"), (66.1, "2")],
        [(0.0, "1"), (5.0, "2"), (5.1, "on")],
    ],
)
def test_change_near_an_announcement_is_not_a_missed_migration(observations: list[tuple[float, str]]):
    drift = after(*observations)
    assert wake_at(drift) is None
    assert found_missed(drift, 1000.0) == (drift, False)


@pytest.mark.parametrize(
    "observations",
    [
        [(0.0, "1"), (100.0, "2")],
        [(0.0, "1"), (5.0, "on"), (65.0, "2"), (66.0, "off"), (100.0, "3")],
        [(0.0, "1"), (5.0, "on"), (6.0, "off"), (100.0, "2")],
    ],
)
def test_change_without_an_announcement_is_reported_after_the_grace_period(observations: list[tuple[float, str]]):
    drift = after(*observations)
    assert wake_at(drift) == 100.0 + GRACE
    assert found_missed(drift, 99.9 + GRACE)[1] is False
    drift, missed = found_missed(drift, 100.0 + GRACE)
    assert missed
    assert found_missed(drift, 1000.0) == (drift, False)


def test_token_of_this_boot_is_kept_for_the_next_handler(tmp_path: Path):
    TokenFile(tmp_path, "boot-1").write("4711")
    assert TokenFile(tmp_path, "boot-1").read() == "4711"
    assert TokenFile(tmp_path, "boot-2").read() is None


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b'{"boot_id": "boot-1"}', b"\xff"])
def test_unreadable_token_is_ignored(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "drift-token.json").write_bytes(content)
    assert TokenFile(tmp_path, "boot-1").read() is None
