# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependencies of a handler that never respond: a file system, a user database, the reader of a log."""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOSUID_NODEV = 2 | 4
_DETACH = 2


@contextmanager
def hung_mount(at: Path) -> Iterator[Path]:
    """A file system that answers no request (fuse(4)), for root. It is unmounted at the end."""
    at.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    # Waiting processes are released when this is closed, at the latest with the process.
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"hung", os.fsencode(at), b"fuse", _NOSUID_NODEV, options) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(at))
        try:
            yield at
        finally:
            libc.umount2(os.fsencode(at), _DETACH)
    finally:
        os.close(device)


def path_with_slow_groups(folder: Path) -> str:
    """A PATH on which `id` hangs until FOLDER/released exists."""
    programs = folder / "programs"
    programs.mkdir()
    program = programs / "id"
    real = shutil.which("id")
    program.write_text(f'#!/bin/sh\nuntil [ -e "{folder}/released" ]; do sleep 0.05; done\nexec {real} "$@"\n')
    program.chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


class UnreadLog:
    """A full pipe without a reader in place of a handler's log; `read` copies it to the log from then on."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._pipe = folder / "pipe"
        os.mkfifo(self._pipe)
        # As its reader and its writer: it can be opened, and written to until it is full.
        self._descriptor = os.open(self._pipe, os.O_RDWR | os.O_CLOEXEC)
        self.launcher = ("sh", "-c", 'pipe=$0; exec "$@" >"$pipe" 2>&1', str(self._pipe))

    def read(self) -> None:
        threading.Thread(target=self._copy, daemon=True).start()

    def _copy(self) -> None:
        with self._log.open("ab", buffering=0) as log:
            while data := os.read(self._descriptor, 65536):
                log.write(data)
