# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of the demo, found by an environment variable that they inherit (proc_pid_environ(5))."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "GCE_GUEST_DEMO"

# Seconds between SIGTERM and SIGKILL.
PATIENCE = 5.0


@dataclass(frozen=True)
class Found:
    pid: int
    command: str


def marked(environment: dict[str, str], place: Path) -> dict[str, str]:
    """The environment for a process that belongs to `place`."""
    return {**environment, MARK: str(place)}


def belonging_to(place: Path) -> list[Found]:
    """The processes of `place` and of places below it."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
        except OSError:
            # It has ended, or belongs to another user.
            continue
        mark = next((one[len(MARK) + 1 :] for one in variables if one.startswith(f"{MARK}=".encode())), None)
        # A zombie has no command line.
        if mark is not None and command and Path(os.fsdecode(mark)).is_relative_to(place):
            found.append(Found(int(folder.name), os.fsdecode(command).replace("\0", " ").strip()))
    return found


def kill(place: Path) -> list[Found]:
    """Kill the processes of `place`, like a power cut, and return them."""
    found = belonging_to(place)
    for one in found:
        _send(one.pid, signal.SIGKILL)
    return found


def end(place: Path) -> None:
    """End the processes of `place`, first with SIGTERM."""
    for one in belonging_to(place):
        _send(one.pid, signal.SIGTERM)
    give_up_at = time.monotonic() + PATIENCE
    while belonging_to(place) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    kill(place)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
