# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes left over from a step that has ended.

Such a step is run again or restored, and must not run in parallel with that. Its processes may have left
their session, their control group (`su` does, where PAM opens a session) and their environment (`env -i`). They are
identified by a variable that they inherit, and by the file of their standard input: unlike a process
number, both are unique to a step and need not be recorded.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from typing import Callable

VARIABLE = "GCE_EVENT_STEP"

_PROC = "/proc"
# Killed processes are waited for, and their new children are found.
_ROUNDS = 50
_PAUSE = 0.02
# Descriptors of a process that are checked. A process with thousands of them is not a step's.
_MOST_FILES = 256


def input_name(incident: str, number: int) -> str:
    """The name of the file that is a step's standard input."""
    return f"gce-maintenance-handler:{incident}/{number}"


def end_leftovers(steps: Iterable[tuple[str, int]], outputs: Iterable[str] = ()) -> int:
    """Kill all processes of the steps (incident, number), and wait until they are gone. Returns their number.

    `outputs` are the outputs of the steps, if known: a process that has one of them open belongs to its step.

    This may block: reading /proc of a process that is stuck in the kernel can hang.
    """
    wanted, known = tuple(steps), frozenset(outputs)
    killed: set[int] = set()
    for _unused in range(_ROUNDS):
        try:
            found = _found(wanted, known)
        except OSError:
            # No file descriptor is free. Try again.
            time.sleep(_PAUSE)
            continue
        if not found:
            break
        # Stop all of them first, so that none reacts to the end of another.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                _send(pid, number)
        killed |= found
        time.sleep(_PAUSE)
    return len(killed)


def end_leftovers_within(
    seconds: float, steps: Iterable[tuple[str, int]], outputs: Iterable[str], done: Callable[[int], None]
) -> bool:
    """The same, with a limit. `done` is called with the number at the end. Returns whether it ended in time."""
    thread = threading.Thread(target=lambda: done(end_leftovers(steps, outputs)), name="leftovers", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _found(steps: tuple[tuple[str, int], ...], outputs: frozenset[str]) -> set[int]:
    variables = {f"{VARIABLE}={incident}/{number}".encode() for incident, number in steps}
    # The target of such a descriptor's link (memfd_create(2)).
    files = {f"/memfd:{input_name(incident, number)} (deleted)" for incident, number in steps} | outputs
    own = os.getpid()
    pids = [int(name) for name in os.listdir(_PROC) if name.isdigit() and int(name) != own]
    # Descriptors first: reading the environment of a process blocks while its memory is locked.
    found = {pid for pid in pids if _has_open(pid, files)}
    return found | {pid for pid in pids if pid not in found and _has_variable(pid, variables)}


def _has_open(pid: int, files: frozenset[str] | set[str]) -> bool:
    folder = f"{_PROC}/{pid}/fd"
    try:
        return any(_link(f"{folder}/{name}") in files for name in os.listdir(folder)[:_MOST_FILES])
    except OSError:
        # The process has ended or belongs to another user.
        return False


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _has_variable(pid: int, variables: set[bytes]) -> bool:
    try:
        with open(f"{_PROC}/{pid}/environ", "rb") as file:
            return not variables.isdisjoint(file.read().split(b"\0"))
    except OSError:
        return False


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return
