# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of closed incidents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maintenance_handler.io import history
from maintenance_handler.io.history import History
from support.documents import incident


@pytest.fixture
def kept(tmp_path: Path) -> History:
    return History(tmp_path)


def test_history_is_empty_at_first(kept: History) -> None:
    assert kept.read() == []


def test_newest_incident_is_last(kept: History) -> None:
    first, second = incident("a"), incident("b", text="línea\u2028\nzwei")
    kept.add(first)
    kept.add(second)
    assert kept.read() == [first, second]


def test_adding_an_incident_again_replaces_it(kept: History) -> None:
    """After a crash between this and the journal, it is added again."""
    kept.add(incident("a"))
    kept.add(incident("b"))
    kept.add(incident("a", held=["lb"]))
    assert kept.read() == [incident("b"), incident("a", held=["lb"])]


def test_only_the_handler_s_user_and_root_can_read_it(kept: History) -> None:
    """It contains output of tasks."""
    kept.add(incident("a"))
    assert kept.path.stat().st_mode & 0o777 == 0o600


class TestClaim:
    """A disk or an image brings along the incidents of another VM."""

    def test_incidents_of_this_instance_are_kept(self, kept: History) -> None:
        ours = [incident("a", instance_id="1"), incident("b", instance_id=None), incident("c")]
        for one in ours:
            kept.add(one)
        assert kept.claim("1", None) is None
        assert kept.claim("1", "1") is None
        assert kept.read() == ours

    def test_incidents_of_another_instance_are_moved_to_another_file(self, kept: History) -> None:
        ours, theirs = incident("a", instance_id="1"), incident("b", instance_id="../../x")
        kept.add(ours)
        kept.add(theirs)
        aside = kept.claim("1", None)
        assert kept.read() == [ours]
        assert aside == kept.path.parent / "history.jsonl.of-another-instance"
        assert json.loads(aside.read_bytes()) == theirs

    def test_entries_without_an_instance_belong_to_the_writer_of_the_journal(self, kept: History) -> None:
        kept.add(incident("a"))
        assert kept.claim("2", "1") is not None
        assert kept.read() == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": ',
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"id": "b"}',
        json.dumps(incident("b", opened_at="yesterday")).encode(),
        json.dumps(incident("b", opened_at=float("inf"))).encode(),
        json.dumps(incident("b", past=[{"event": "migrate"}])).encode(),
        json.dumps(incident("b", skips={})).encode(),
    ],
)
def test_unreadable_line_is_skipped(kept: History, line: bytes) -> None:
    kept.path.write_bytes(json.dumps(incident("a")).encode() + b"\n" + line + b"\n")
    assert kept.read() == [incident("a")]
    kept.add(incident("c"))
    assert kept.read() == [incident("a"), incident("c")]


def test_number_of_incidents_is_limited(kept: History) -> None:
    """Memory leaked over days (aws/aws-node-termination-handler#121)."""
    for number in range(history.MOST + 5):
        kept.add(incident(str(number)))
    assert [one["id"] for one in kept.read()] == [str(number) for number in range(5, history.MOST + 5)]
