# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the clients of a load count together."""

from __future__ import annotations

from drill.load.tally import Tally


def test_counts_all_requests_and_why_they_failed() -> None:
    tally = Tally()
    tally.success(0.0)
    for reason in ("reset", "refused", "reset"):
        tally.failure(0.0, reason)
    counts = tally.to_json()
    assert (counts["requests"], counts["failed"]) == (4, 3)
    assert list(counts["reasons"].items()) == [("reset", 2), ("refused", 1)]


def test_the_slowest_may_have_failed() -> None:
    tally = Tally()
    tally.failure(0.0, "reset")
    assert tally.to_json()["slowest"] > 0


def test_a_service_that_never_answers_is_out_for_the_whole_time() -> None:
    tally = Tally()
    before = tally.to_json()["out"]
    tally.failure(0.0, "reset")
    counts = tally.to_json()
    assert counts["out"] >= before
    assert (counts["requests"], counts["failed"]) == (1, 1)


def test_keeps_the_keys_of_acknowledged_writes() -> None:
    tally = Tally()
    tally.success(0.0, "one")
    tally.failure(0.0, "reset")
    assert tally.acknowledged == ["one"]
