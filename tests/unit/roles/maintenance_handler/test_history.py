# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incidents that are over."""

from __future__ import annotations

from pathlib import Path

import pytest

from maintenance_handler import history
from maintenance_handler.history import History


@pytest.fixture
def kept(tmp_path: Path) -> History:
    return History(tmp_path)


def test_nothing_yet(kept: History) -> None:
    assert kept.read() == []


def test_the_newest_comes_last(kept: History) -> None:
    kept.add({"id": "a"})
    kept.add({"id": "b", "text": "línea\u2028\nzwei"})
    assert kept.read() == [{"id": "a"}, {"id": "b", "text": "línea\u2028\nzwei"}]


def test_an_incident_is_kept_once_however_often_it_is_added(kept: History) -> None:
    """After a crash between this and the journal, it is added again."""
    kept.add({"id": "a", "steps": 1})
    kept.add({"id": "b"})
    kept.add({"id": "a", "steps": 2})
    assert kept.read() == [{"id": "b"}, {"id": "a", "steps": 2}]


def test_a_line_that_cannot_be_read_is_left_out(kept: History) -> None:
    kept.path.write_bytes(b'{"id": "a"}\n{"id": \n\xff\n[]\n{"no": "id"}\n')
    assert kept.read() == [{"id": "a"}]
    kept.add({"id": "b"})
    assert kept.read() == [{"id": "a"}, {"id": "b"}]


def test_it_does_not_grow_for_ever(kept: History) -> None:
    """field: memory, fd and thread leaks over days."""
    for number in range(history.MOST + 5):
        kept.add({"id": str(number)})
    assert [one["id"] for one in kept.read()] == [str(number) for number in range(5, history.MOST + 5)]


def test_everybody_may_read_it(kept: History) -> None:
    kept.add({"id": "a"})
    assert kept.path.stat().st_mode & 0o777 == 0o644
