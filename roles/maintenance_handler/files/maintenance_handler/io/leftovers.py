# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a step that go on although the step is over, one way or another.

Such a step is run again or restored, so what is left of it must not go on beside that. Its processes may have left
their session, their control group (`su` does, where PAM opens a session) and their environment (`env -i`). They are
found by the variable that each of them inherited, and by the file that is their standard input: unlike a process
number, both belong to one step alone and need no writing down.
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
# A process that was killed is waited for, and what it started meanwhile is found.
_ROUNDS = 50
_PAUSE = 0.02
# Descriptors of a process that are looked at. What keeps thousands open is no step's.
_MOST_FILES = 256


def input_name(incident: str, number: int) -> str:
    """The name of the file that is a step's standard input."""
    return f"gce-maintenance-handler:{incident}/{number}"


def end_leftovers(steps: Iterable[tuple[str, int]], outputs: Iterable[str] = ()) -> int:
    """Kill all processes of the steps (incident, number) that we may, and wait for that. Answers how many.

    `outputs` are those of the steps, if they are known: whoever has one of them open belongs to its step, too.

    That may take for ever: a process that is stuck in the kernel may not even be looked at.
    """
    wanted, known = tuple(steps), frozenset(outputs)
    killed: set[int] = set()
    for _unused in range(_ROUNDS):
        try:
            found = _found(wanted, known)
        except OSError:
            # No descriptor is left to look with; in a moment there may be.
            time.sleep(_PAUSE)
            continue
        if not found:
            break
        # None of them is to notice that another has ended.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                _send(pid, number)
        killed |= found
        time.sleep(_PAUSE)
    return len(killed)


def end_leftovers_within(
    seconds: float, steps: Iterable[tuple[str, int]], outputs: Iterable[str], done: Callable[[int], None]
) -> bool:
    """The same, and wait no longer than that. `done` is told how many, when it is over. Answers whether it is."""
    thread = threading.Thread(target=lambda: done(end_leftovers(steps, outputs)), name="leftovers", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _found(steps: tuple[tuple[str, int], ...], outputs: frozenset[str]) -> set[int]:
    variables = {f"{VARIABLE}={incident}/{number}".encode() for incident, number in steps}
    # As the link of such a descriptor reads (memfd_create(2)).
    files = {f"/memfd:{input_name(incident, number)} (deleted)" for incident, number in steps} | outputs
    own = os.getpid()
    pids = [int(name) for name in os.listdir(_PROC) if name.isdigit() and int(name) != own]
    # Descriptors first: an environment cannot be read of a process whose memory is locked.
    found = {pid for pid in pids if _has_open(pid, files)}
    return found | {pid for pid in pids if pid not in found and _has_variable(pid, variables)}


def _has_open(pid: int, files: frozenset[str] | set[str]) -> bool:
    folder = f"{_PROC}/{pid}/fd"
    try:
        return any(_link(f"{folder}/{name}") in files for name in os.listdir(folder)[:_MOST_FILES])
    except OSError:
        # Gone meanwhile, or another user's.
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
