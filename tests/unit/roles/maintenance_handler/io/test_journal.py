# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal's file: what is read back after every kind of interruption."""

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


def test_there_is_none_at_first(journal: Journal) -> None:
    assert journal.read() is None


def test_gives_back_all_that_was_written(journal: Journal) -> None:
    journal.write(AT_REST)
    assert journal.read() == AT_REST
    journal.write(entry("first"))
    journal.write(entry("second"))
    assert journal.read() == entry("second")


def test_an_incident_is_written_into_the_room_that_was_made_at_rest(journal: Journal) -> None:
    journal.write(AT_REST)
    before = journal.path.stat()
    for name in ("first", "second"):
        journal.write(entry(name))
    after = journal.path.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    begins = [at for at in range(0, after.st_size, BLOCK) if journal.path.read_bytes()[at : at + 1] == b"{"]
    assert begins == [0, BLOCK, 2 * BLOCK]


def test_at_rest_nothing_of_the_incident_stays(journal: Journal) -> None:
    """Its entries have the tasks' environments in them."""
    journal.write(AT_REST)
    journal.write(entry("first"))
    journal.write(AT_REST)
    assert b"TOKEN" not in journal.path.read_bytes()


def test_makes_a_new_file_when_the_room_is_used_up(journal: Journal) -> None:
    journal.write(AT_REST)
    before = journal.path.stat().st_ino
    for number in range(4):
        journal.write(entry(str(number), size=ROOM // 3))
        assert journal.read() == entry(str(number), size=ROOM // 3)
    assert journal.path.stat().st_ino != before


@pytest.mark.parametrize("kept", [0, 1, 511, 512, 600])
def test_an_entry_that_a_crash_cut_short_was_never_written(kept: int, journal: Journal) -> None:
    """What it says was not started yet: a step starts once its entry is on the disk."""
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


def test_an_entry_whose_first_half_is_lost_was_never_written(journal: Journal) -> None:
    journal.write(AT_REST)
    journal.write(entry("whole"))
    journal.write(entry("torn"))
    with journal.path.open("r+b") as file:
        file.seek(2 * BLOCK)
        file.write(b"\n" * 512)
    assert Journal(journal.path.parent).read() == entry("whole")


def test_whoever_takes_it_up_goes_on_in_a_file_of_its_own(journal: Journal) -> None:
    """Where the room began is not known any more, and something torn may be in it."""
    journal.write(AT_REST)
    journal.write(entry("first"))
    successor = Journal(journal.path.parent)
    successor.write(entry("second"))
    assert journal.path.read_bytes().count(b'{"version"') == 1
    assert successor.read() == entry("second")


def test_a_file_that_was_put_in_its_place_is_not_written_into(journal: Journal, tmp_path: Path) -> None:
    journal.write(AT_REST)
    other = tmp_path / "restored from a backup"
    other.write_bytes(b"\n" * 2 * ROOM)
    with journal.path.open("rb") as original:
        other.replace(journal.path)
        journal.write(entry("first"))
        assert b"first" not in original.read()
    assert journal.path.read_bytes().startswith(b'{"version"')
    assert journal.read() == entry("first")


def test_written_again_after_it_was_deleted(journal: Journal) -> None:
    journal.write(AT_REST)
    journal.path.unlink()
    journal.write(entry("first"))
    assert journal.read() == entry("first")


def test_tells_when_an_entry_does_not_reach_the_disk(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_end_of_an_incident_needs_no_new_file_when_there_is_no_place_for_one(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_says_so_when_it_cannot_be_read(content: bytes, journal: Journal) -> None:
    journal.path.write_bytes(content)
    with pytest.raises(JournalError, match=f"Reading the journal {journal.path}: "):
        journal.read()


def test_keeps_what_is_not_its_own_under_another_name(journal: Journal) -> None:
    journal.write(entry("theirs"))
    content = journal.path.read_bytes()
    aside = journal.set_aside("of-4711")
    assert (aside.name, aside.read_bytes()) == ("journal.json.of-4711", content)
    journal.write(entry("ours"))
    assert aside.read_bytes() == content
    assert journal.read() == entry("ours")
