# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time limits of questions to a store."""

from __future__ import annotations

import threading

import pytest

from client.errors import Unreachable
from fleet_limit.deadline import Deadline, within
from support.recipes import PATIENCE


def test_a_share_is_a_part_of_what_is_left() -> None:
    now = [100.0]
    deadline = Deadline(3.0, lambda: now[0])

    share = deadline.share(3)
    assert share.left() == pytest.approx(1.0)
    now[0] += 2.0
    assert (share.left(), deadline.left()) == (0.0, pytest.approx(1.0))
    assert deadline.share(2).left() == pytest.approx(0.5)


def test_returns_the_result_or_raises_the_error_of_a_function() -> None:
    assert within(Deadline(PATIENCE), lambda: 42, "x") == 42
    with pytest.raises(ZeroDivisionError):
        within(Deadline(PATIENCE), lambda: 1 / 0, "x")


def test_does_not_wait_for_what_cannot_be_interrupted() -> None:
    # Like the resolution of a host name.
    over = threading.Event()
    try:
        with pytest.raises(Unreachable, match="http://x has not answered in time"):
            within(Deadline(0.01), lambda: over.wait(PATIENCE), "http://x")
    finally:
        over.set()
