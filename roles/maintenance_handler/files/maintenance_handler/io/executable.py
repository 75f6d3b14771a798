# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where programs are searched for, and where a task's program is."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping

# A login's (login.defs(5)), and Ubuntu's for snaps: gcloud is one on Google's images.
LOGIN_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/snap/bin")

_HEAD = 4096


def search_path(configured: str | None, inherited: str) -> str:
    """The PATH of tasks: the configured one, or else the inherited one followed by a login's folders."""
    if configured is not None:
        return configured
    folders = [folder for folder in inherited.split(os.pathsep) if folder]
    return os.pathsep.join(dict.fromkeys((*folders, *LOGIN_FOLDERS)))


def adopt_path(configured: str | None) -> None:
    """Set the PATH of this process and of the programs that it starts."""
    os.environ["PATH"] = search_path(configured, os.environ.get("PATH", ""))


def located(program: str, environment: Mapping[bytes, bytes]) -> str:
    """The path of a program. Raises OSError, as executing it would.

    The beginning of the program is read here. If its file system hangs, only this thread waits; a thread that executes
    a program would block all threads.
    """
    folders = [""] if os.path.dirname(program) else os.get_exec_path(environment)  # type: ignore[arg-type]
    refused: OSError | None = None
    for folder in folders:
        # The working directory of tasks is the root.
        path = os.path.join(os.sep, os.fsdecode(folder), program)
        try:
            _look_into(path)
            return path
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            refused = refused or exc
    raise refused or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)


def _look_into(path: str) -> None:
    head = _head(path)
    words = head[2:].split(b"\n", 1)[0].split() if head.startswith(b"#!") else []
    if not words:
        return
    interpreter = os.fsdecode(words[0])
    try:
        _head(interpreter)
    except OSError as exc:
        raise OSError(errno.ENOEXEC, f"its interpreter {interpreter!r}: {exc.strerror}", path) from None


def _head(path: str) -> bytes:
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        # It may be executable nevertheless.
        return b""
    try:
        return os.pread(descriptor, _HEAD, 0)
    finally:
        os.close(descriptor)
