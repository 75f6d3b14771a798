# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are replaced atomically. Links are not followed, because their directories may belong to another user."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

# The temporary name of a new file: hidden, random, and known to `sweep`.
_NEW = ".new"
_RANDOM = 8


def write_whole(path: Path, data: bytes, mode: int = 0o600, durable: bool = False) -> None:
    """Replace a file atomically; `durable`: it is on disk when this returns.

    Another user of the directory can neither predict the temporary name nor make the handler open another file. Raises
    OSError; the old file is then unchanged.
    """
    try:
        _put(path, data, mode, durable)
    except OSError as exc:
        # With the final name, which does not change from one attempt to the next.
        raise OSError(exc.errno, exc.strerror, str(path)) from None


def sweep(path: Path) -> None:
    """Delete temporary files left over from a crash. Never fails."""
    prefix = f".{path.name}."
    with suppress(OSError):
        for entry in os.scandir(path.parent):
            middle = entry.name[len(prefix) : -len(_NEW)]
            is_ours = entry.name.startswith(prefix) and entry.name.endswith(_NEW) and len(middle) == _RANDOM
            if is_ours and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def read_own(path: Path) -> bytes:
    """The content of a regular file of root or the handler's user. Raises OSError for other files and for links."""
    # Non-blocking, because it may be a pipe without a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if found.st_uid not in (0, os.geteuid()):
            raise OSError(
                errno.EPERM, f"belongs to user {found.st_uid}, neither to root nor to the handler's user", str(path)
            )
        return file.read()


def _put(path: Path, data: bytes, mode: int, durable: bool) -> None:
    temporary = f".{path.name}.{os.urandom(_RANDOM // 2).hex()}{_NEW}"
    access = os.O_RDONLY if durable else os.O_PATH
    directory = os.open(path.parent, access | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, mode, dir_fd=directory)
        try:
            _fill(descriptor, data, mode, durable)
            os.replace(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        if durable:
            # Without this a power cut may take back the rename (fsync(2)).
            os.fsync(directory)
    finally:
        os.close(directory)


def _fill(descriptor: int, data: bytes, mode: int, durable: bool) -> None:
    try:
        os.fchmod(descriptor, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
