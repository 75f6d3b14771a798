# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole at any time, and a lock that goes away with its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

# Whoever only looks at a lock holds it for an instant, and must not be taken for its holder.
_TRIES = 25
_PAUSE = 0.01


def write_whole(path: Path, data: bytes, mode: int = 0o600, durable: bool = False) -> None:
    """Put a file in place at once, old or new and never half; `durable`: on disk before this returns.

    Raises OSError; the old file is then still there.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    if durable:
        # Without this a power cut may take back the rename (fsync(2)).
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Locked(Exception):
    """Somebody else holds the lock."""


class Lock:
    """An exclusive lock on a file, held until it is released or the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take it. Raises `Locked`, or OSError."""
        self._descriptor = _open_lock(path)
        for _unused in range(_TRIES):
            if _flock(self._descriptor, fcntl.LOCK_EX):
                return
            time.sleep(_PAUSE)
        os.close(self._descriptor)
        raise Locked(f"{path} is locked by another process")

    def release(self) -> None:
        os.close(self._descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds a `Lock` on the file. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        # Shared: two who look at once do not take each other for the holder.
        return not _flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno != errno.EROFS:
            raise
    # One that was made while it could be can still be locked.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
