# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The notifier as the process that a handler starts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from maintenance_handler.io.lock import Lock
from maintenance_handler.io.notice_queue import NoticeQueue
from maintenance_handler.io.notifier_process import command
from support.vm_python import VM_PYTHON

RECORD = ".done.chat.json.0123abcd.new"
NOTICE = ".0000000001.a.json.0123abcd.new"


@pytest.fixture
def queue(tmp_path: Path) -> NoticeQueue:
    made = NoticeQueue(tmp_path)
    made.make()
    return made


def run(queue: NoticeQueue, *, keep_open: bool = True) -> tuple[int, bytes]:
    """The exit status and the errors of a notifier that has nothing to send. By default, its input stays open."""
    settings = {
        "state_dir": str(queue.folder.parent),
        "metadata_host": "127.0.0.1:1",
        "targets": [{"name": "chat", "url": "http://127.0.0.1:1/", "on": []}],
    }
    pipe = subprocess.PIPE
    program = [VM_PYTHON, *command("run")[1:]]
    with subprocess.Popen(program, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
        if not keep_open:
            process.stdin.close()
        return process.wait(60), process.stderr.read()


def test_idle_notifier_ends_with_success(queue: NoticeQueue) -> None:
    assert run(queue) == (0, b"")


def test_records_that_a_crash_left_half_written_are_deleted(queue: NoticeQueue) -> None:
    (queue.folder / RECORD).touch()
    # The handler may be writing this one.
    (queue.folder / NOTICE).touch()
    assert run(queue) == (0, b"")
    assert not (queue.folder / RECORD).exists()
    assert (queue.folder / NOTICE).exists()


def test_records_of_a_running_notifier_are_kept(queue: NoticeQueue) -> None:
    (queue.folder / RECORD).touch()
    # By the next handler, and by its notifier.
    queue.make()
    lock = Lock(queue.folder / "lock")
    assert run(queue, keep_open=False) == (0, b"")
    lock.release()
    assert (queue.folder / RECORD).exists()
