# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a handler's files while it writes them."""

from __future__ import annotations

import threading
from pathlib import Path

from support.handler import HandlerProcess, newest_entry


def test_a_journal_that_is_moved_away_meanwhile_is_empty(tmp_path: Path) -> None:
    """As in an image of a drained VM: the handler moves the journal of the other instance away, then writes its own."""
    handler = HandlerProcess(tmp_path, "127.0.0.1:1", [])
    handler.state_dir.mkdir()
    journal, aside = handler.state_dir / "journal.json", handler.state_dir / "journal.json.of-another-instance"
    journal.write_text('{"instance_id": "1"}\n')
    ended = threading.Event()

    def move() -> None:
        while not ended.is_set():
            journal.replace(aside)
            aside.replace(journal)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        seen = [handler.journal() for _time in range(1000)]
    finally:
        ended.set()
        mover.join()
    assert [each for each in seen if each not in ({}, {"instance_id": "1"})] == []


def test_an_entry_that_is_half_written_does_not_count_yet(tmp_path: Path) -> None:
    """It is written into allocated room, of which a reader may see a part."""
    journal = tmp_path / "journal.json"
    journal.write_bytes(b'{"instance_id": "1"}\n\n\n{"instance_id": "2", "inc\n\n\n')
    assert newest_entry(journal) == {"instance_id": "1"}
