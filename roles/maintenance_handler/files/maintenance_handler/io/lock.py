# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock that ensures one handler for each state directory. It is released when its holder ends."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

# Tries to take the lock while another process holds it, which may be about to end.
_TRIES = 25
# `is_locked` shares the lock for a moment, or longer on a busy machine, which must not count as another handler.
_TRIES_WHILE_SHARED = 1000
_PAUSE = 0.01


class CannotLock(Exception):
    """No lock can be taken, for example on a full or read-only disk. The text has the reason for each path."""


class Locked(Exception):
    """Another process holds the lock."""


class Lock:
    """An exclusive lock on a file, held until it is released or the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises `Locked` or OSError."""
        self._descriptor = _open_lock(path)
        for tried in range(_TRIES_WHILE_SHARED):
            if _flock(self._descriptor, fcntl.LOCK_EX):
                return
            if tried >= _TRIES and not self._is_shared():
                break
            time.sleep(_PAUSE)
        os.close(self._descriptor)
        raise Locked(f"{path} is locked by another process")

    def release(self) -> None:
        os.close(self._descriptor)

    def _is_shared(self) -> bool:
        """Whether no process holds the lock for itself."""
        if not _flock(self._descriptor, fcntl.LOCK_SH):
            return False
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return True


def is_locked(path: Path) -> bool:
    """Whether a process holds a `Lock` on the file. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        # Shared, so that two callers at once do not see each other as the holder.
        return not _flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def lock_paths(state_dir: Path, runtime_dir: Path) -> tuple[Path, Path]:
    """A running handler has locked one of these: the first that it could."""
    return state_dir / "lock", runtime_dir / "lock"


def take_lock(state_dir: Path, runtime_dir: Path) -> Lock:
    """The lock of a state directory's one handler. Raises `Locked` when another has it, and `CannotLock`."""
    problems = []
    *_unused, last_resort = paths = lock_paths(state_dir, runtime_dir)
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock(path)
        except OSError as exc:
            problems.append(str(exc))
            continue
        if path != last_resort and _is_taken(last_resort):
            lock.release()
            raise Locked(f"{last_resort} is locked by another process")
        return lock
    raise CannotLock(f"Taking a lock: {'; '.join(problems)}.")


def _is_taken(path: Path) -> bool:
    try:
        return is_locked(path)
    except OSError:
        # Its holder would have been able to open it.
        return False


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno != errno.EROFS:
            raise
    # On a file system that became read-only, an existing file can still be locked.
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
