# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal file, also after every kind of interruption."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maintenance_handler.io.journal import BLOCK, ROOM, Entry, Journal, JournalError
from support.journals import entry

AT_REST = Entry("4711", "boot-1", None)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_journal_is_missing_at_first(journal: Journal) -> None:
    assert journal.read() is None


def test_reads_the_entry_that_was_written(journal: Journal) -> None:
    journal.write(AT_REST)
    assert journal.read() == AT_REST
    journal.write(entry("first"))
    journal.write(entry("second"))
    assert journal.read() == entry("second")


def test_entries_of_an_incident_are_written_into_the_allocated_room(journal: Journal) -> None:
    journal.write(AT_REST)
    before = journal.path.stat()
    for name in ("first", "second"):
        journal.write(entry(name))
    after = journal.path.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    begins = [at for at in range(0, after.st_size, BLOCK) if journal.path.read_bytes()[at : at + 1] == b"{"]
    assert begins == [0, BLOCK, 2 * BLOCK]


def test_idle_journal_contains_nothing_of_the_incident(journal: Journal) -> None:
    """Its entries have the tasks' environments in them."""
    journal.write(AT_REST)
    journal.write(entry("first"))
    journal.write(AT_REST)
    assert b"TOKEN" not in journal.path.read_bytes()


def test_creates_a_new_file_when_the_room_is_full(journal: Journal) -> None:
    journal.write(AT_REST)
    before = journal.path.stat().st_ino
    for number in range(4):
        journal.write(entry(str(number), size=ROOM // 3))
        assert journal.read() == entry(str(number), size=ROOM // 3)
    assert journal.path.stat().st_ino != before


@pytest.mark.parametrize("kept", [0, 1, 511, 512, 600])
def test_truncated_entry_is_ignored(kept: int, journal: Journal) -> None:
    """Its step was not started: a step starts once its entry is on disk."""
    journal.write(AT_REST)
    journal.write(entry("whole"))
    with journal.path.open("r+b") as file:
        begin = 2 * BLOCK
        journal.write(entry("torn"))
        file.seek(begin)
        line = file.readline()
        file.seek(begin + kept)
        file.write(b"\n" * (len(line) - kept))
    assert Journal(journal.path.parent).read() == entry("whole")


def test_entry_without_its_first_half_is_ignored(journal: Journal) -> None:
    journal.write(AT_REST)
    journal.write(entry("whole"))
    journal.write(entry("torn"))
    with journal.path.open("r+b") as file:
        file.seek(2 * BLOCK)
        file.write(b"\n" * 512)
    assert Journal(journal.path.parent).read() == entry("whole")


def test_next_handler_writes_a_new_file(journal: Journal) -> None:
    """The start of the room is unknown, and it may contain an incomplete entry."""
    journal.write(AT_REST)
    journal.write(entry("first"))
    successor = Journal(journal.path.parent)
    successor.write(entry("second"))
    assert journal.path.read_bytes().count(b'{"version"') == 1
    assert successor.read() == entry("second")


def test_replaced_file_is_not_written_into(journal: Journal, tmp_path: Path) -> None:
    journal.write(AT_REST)
    other = tmp_path / "restored from a backup"
    other.write_bytes(b"\n" * 2 * ROOM)
    with journal.path.open("rb") as original:
        other.replace(journal.path)
        journal.write(entry("first"))
        assert b"first" not in original.read()
    assert journal.path.read_bytes().startswith(b'{"version"')
    assert journal.read() == entry("first")


def test_deleted_journal_is_written_again(journal: Journal) -> None:
    journal.write(AT_REST)
    journal.path.unlink()
    journal.write(entry("first"))
    assert journal.read() == entry("first")


def test_raises_if_an_entry_cannot_be_written(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    journal.write(AT_REST)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with pytest.raises(OSError, match="Input/output error"):
            journal.write(entry("first"))
    journal.write(entry("second"))
    assert journal.read() == entry("second")


def test_every_entry_is_synced_before_write_returns(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("write", "pwrite", "fsync", "fdatasync", "replace"):
        real = getattr(os, name)

        def noting(*arguments: object, name: str = name, real: object = real, **named: object) -> object:
            done.append(name)
            return real(*arguments, **named)  # type: ignore[operator]

        monkeypatch.setattr(os, name, noting)
    journal.write(AT_REST)
    assert done == ["write", "fsync", "replace", "fsync"]
    done.clear()
    journal.write(entry("first"))
    assert done == ["pwrite", "fdatasync"]


def test_incident_can_be_closed_on_a_full_disk(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its last step would be run again by the next handler."""

    def full(*_unused: object, **_also_unused: object) -> None:
        raise OSError(28, "No space left on device")

    journal.write(AT_REST)
    journal.write(entry("first"))
    with monkeypatch.context() as patched:
        patched.setattr("maintenance_handler.io.journal.write_whole", full)
        journal.write(AT_REST)
        assert journal.read() == AT_REST
        with pytest.raises(OSError, match="No space left"):
            Journal(journal.path.parent).write(AT_REST)
    journal.write(AT_REST)
    assert b"TOKEN" not in journal.path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{", b"[]", b"\xff\n", b'{"version": 99}\n'])
def test_raises_if_it_cannot_be_read(content: bytes, journal: Journal) -> None:
    journal.path.write_bytes(content)
    with pytest.raises(JournalError, match=f"Reading the journal {journal.path}: "):
        journal.read()


def test_sets_another_journal_aside(journal: Journal) -> None:
    journal.write(entry("theirs"))
    content = journal.path.read_bytes()
    aside = journal.set_aside("of-4711")
    assert (aside.name, aside.read_bytes()) == ("journal.json.of-4711", content)
    journal.write(entry("ours"))
    assert aside.read_bytes() == content
    assert journal.read() == entry("ours")
