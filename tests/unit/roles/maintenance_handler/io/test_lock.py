# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exclusive lock that is released with its holder."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from maintenance_handler.io.lock import Lock, Locked, is_locked
from support.vm_python import VM_PYTHON

PACKAGE = Path(__file__).resolve().parents[5] / "roles" / "maintenance_handler" / "files"
HOLDER = """
import sys
from pathlib import Path
from maintenance_handler.io.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_lock_is_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    with pytest.raises(Locked, match="is locked by another process"):
        Lock(path)
    lock.release()
    Lock(path).release()


def test_lock_is_released_however_its_holder_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [VM_PYTHON, "-c", HOLDER, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert is_locked(path)
        with pytest.raises(Locked):
            Lock(path)
        holder.kill()
    assert not is_locked(path)
    Lock(path).release()


def test_checking_a_lock_does_not_take_it(tmp_path: Path) -> None:
    """The handler may start during repeated queries of its status."""
    path = tmp_path / "lock"
    Lock(path).release()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            is_locked(path)

    lookers = [threading.Thread(target=look) for _unused in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _unused in range(20):
            Lock(path).release()
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_a_check_that_takes_long_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a process that gets no time on a busy machine."""
    path = tmp_path / "lock"
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if sum(pauses) > 2:
            fcntl.flock(check, fcntl.LOCK_UN)

    monkeypatch.setattr(time, "sleep", sleep)
    with path.open("w") as check:
        fcntl.flock(check, fcntl.LOCK_SH)
        Lock(path).release()


def test_unused_lock_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
