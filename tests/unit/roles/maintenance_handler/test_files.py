# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole at any time, and a lock that goes away with its holder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from maintenance_handler.files import Lock, Locked, is_locked, write_whole

PACKAGE = Path(__file__).resolve().parents[4] / "roles" / "maintenance_handler" / "files"
HOLDER = """
import sys
from pathlib import Path
from maintenance_handler.files import Lock
lock = Lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_written_and_replaced(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    write_whole(path, b"one", durable=durable)
    write_whole(path, b"two", durable=durable)
    assert path.read_bytes() == b"two"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path, mode: int) -> None:
    umask = os.umask(0o077)
    try:
        write_whole(tmp_path / "file", b"", mode=mode)
    finally:
        os.umask(umask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_whoever_has_the_old_file_open_keeps_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with path.open("rb") as reader:
        write_whole(path, b"new and longer")
        assert reader.read() == b"old"


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    (tmp_path / ".file.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_what_a_crash_left_half_written_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"a longer half")
    write_whole(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_lock_is_for_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    with pytest.raises(Locked, match="is locked by another process"):
        Lock(path)
    lock.release()
    Lock(path).release()


def test_a_lock_goes_away_with_its_holder_however_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
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


def test_looking_at_a_lock_takes_it_from_nobody(tmp_path: Path) -> None:
    """The handler may start while somebody asks for its status, again and again."""
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


def test_a_lock_that_nobody_ever_took(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
