# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of which only the newest content counts."""

from __future__ import annotations

import errno
import os
import queue
import threading

from maintenance_handler.io.newest import Newest, Shown
from support.raw_server import PATIENCE


def test_stalled_disk_blocks_nothing_and_gets_the_newest_content() -> None:
    posted: queue.SimpleQueue[Shown] = queue.SimpleQueue()
    newest = Newest("status", posted.put)
    disk, written = threading.Event(), []

    def write(what: str) -> None:
        written.append(what)
        disk.wait(PATIENCE)

    newest.offer(lambda: write("first"))
    assert not newest.finish(0.0)
    while not written:
        newest.finish(0.01)
    newest.offer(lambda: write("overtaken"))
    newest.offer(lambda: write("last"))
    disk.set()
    assert newest.finish(PATIENCE)
    assert written == ["first", "last"]
    assert posted.empty()


def test_problem_is_reported_when_it_starts_and_ends() -> None:
    posted: queue.SimpleQueue[Shown] = queue.SimpleQueue()
    newest = Newest("status", posted.put)

    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for write in (fail, fail, lambda: None, lambda: None):
        newest.offer(write)
        assert newest.finish(PATIENCE)
    told = [posted.get(timeout=PATIENCE) for _unused in range(2)]
    assert [one.what for one in told] == ["status", "status"]
    assert "No space left" in told[0].problem
    assert told[1].problem == ""
    assert posted.empty()
