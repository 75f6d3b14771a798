# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes to the state directory by one thread, on a disk that may stall."""

from __future__ import annotations

import errno
import os
import queue
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from maintenance_handler.io.journal import Entry, Journal
from maintenance_handler.io.state_writer import Journaled, StateWriter
from support.raw_server import PATIENCE


class Disk(Journal):
    """A journal whose disk answers when it is let."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.answers = threading.Event()
        self.asked = threading.Event()
        self.written: list[str] = []
        self.is_full = False

    def write(self, entry: Entry) -> None:
        self.asked.set()
        self.answers.wait(PATIENCE)
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(entry)
        self.written.append(entry.boot_id)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.answers.set()


@pytest.fixture
def posted() -> queue.SimpleQueue[Journaled]:
    return queue.SimpleQueue()


@pytest.fixture
def now() -> list[float]:
    """The clock: its last value counts."""
    return [100.0]


@pytest.fixture
def writer(disk: Disk, posted: queue.SimpleQueue[Journaled], now: list[float]) -> StateWriter:
    return StateWriter(disk, posted.put, 60.0, lambda: now[-1])


def _wait_for(event: threading.Event) -> None:
    event.wait(PATIENCE)


def entry(name: str) -> Entry:
    return Entry("4711", name, None)


def test_entry_is_on_disk_after_the_wait(writer: StateWriter, disk: Disk, posted: queue.SimpleQueue[Journaled]) -> None:
    disk.answers.set()
    assert writer.write_journal(entry("one"))(PATIENCE)
    assert disk.read() == entry("one")
    assert posted.get(timeout=PATIENCE) == Journaled("")
    assert writer.waiting_since() is None
    assert writer.finish(0.0)


def test_only_the_first_entry_waits_and_not_longer_than_the_limit(
    writer: StateWriter, disk: Disk, now: list[float]
) -> None:
    """A stalled disk costs a drain its bound once, not once a stage."""
    first = writer.write_journal(entry("one"))
    assert not first(0.01)
    assert writer.waiting_since() == 100.0
    now.append(101.0)
    # For this one there would be no end of the test, if it waited.
    assert not writer.write_journal(entry("two"))(1.0)
    assert writer.journal_waits()


def test_journal_wait_ends_every_wait(writer: StateWriter) -> None:
    writer.journal_wait = 0.0
    # For this one there would be no end of the test, if it waited.
    assert not writer.write_journal(entry("one"))(float("inf"))


def test_waiting_entries_do_not_count_as_further_stalls(
    writer: StateWriter, disk: Disk, posted: queue.SimpleQueue[Journaled], now: list[float]
) -> None:
    """Otherwise each waiting entry would be reported as another stall."""
    holds = threading.Event()
    writer.write_journal(entry("one"))
    writer.do(partial(_wait_for, holds))
    now.append(105.0)
    disk.answers.set()
    posted.get(timeout=PATIENCE)
    assert writer.waiting_since() == 105.0
    holds.set()
    assert writer.finish(PATIENCE)


def test_only_the_newest_entry_is_written_after_a_stall(
    writer: StateWriter, disk: Disk, posted: queue.SimpleQueue[Journaled]
) -> None:
    writer.write_journal(entry("one"))
    assert disk.asked.wait(PATIENCE)
    waits = [writer.write_journal(entry(name)) for name in ("two", "three", "four")]
    disk.answers.set()
    assert all(wait(PATIENCE) for wait in waits)
    assert disk.written == ["one", "four"]
    assert [posted.get(timeout=PATIENCE) for _unused in range(2)] == [Journaled("")] * 2
    assert not writer.journal_waits()


def test_jobs_run_in_order(writer: StateWriter, disk: Disk) -> None:
    writer.write_journal(entry("one"))
    writer.do(lambda: disk.written.append("history"))
    last = writer.write_journal(entry("two"))
    disk.answers.set()
    assert last(PATIENCE)
    assert disk.written == ["one", "history", "two"]


def test_failed_write_does_not_delay_the_caller(
    writer: StateWriter, disk: Disk, posted: queue.SimpleQueue[Journaled]
) -> None:
    disk.is_full = True
    disk.answers.set()
    assert writer.write_journal(entry("one"))(PATIENCE)
    assert "No space left" in posted.get(timeout=PATIENCE).problem
    disk.is_full = False
    assert writer.write_journal(entry("two"))(PATIENCE)
    assert posted.get(timeout=PATIENCE) == Journaled("")


def test_exception_in_a_job_does_not_end_the_thread(writer: StateWriter, disk: Disk) -> None:
    disk.answers.set()

    def fail() -> None:
        raise KeyError("missing")

    writer.do(fail)
    assert writer.write_journal(entry("one"))(PATIENCE)
