# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks in which a `systemctl` waits for a systemd that shuts the machine down, and that may be waiting for them.

Without --no-block, systemctl waits for the end of its job, and at a shutdown that may come after the handler's.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Callable

from .._vm.records import dataclass
from .shutdown import is_shutting_down

_PROC = "/proc"
# What is there in two looks has waited for about that long.
_EVERY = 1.0
_MOST_ANCESTORS = 100
# Seconds that systemd may take to answer.
_PATIENCE = 5.0
# Of these systemctl makes a job, which it waits for.
_MAKE_JOBS = (b"start", b"stop", b"restart", b"reload", b"try-restart", b"reload-or-restart", b"try-reload-or-restart")


@dataclass(frozen=True)
class Waiting:
    """A systemctl that waits for a job, by its process, and the step that it belongs to."""

    pid: int
    command: str
    step: str


def start_advising(warn: Callable[[str], None]) -> None:
    """If the machine shuts down, warn once of each systemctl that waits, until the process ends."""
    threading.Thread(target=_advise, args=(warn,), name="systemctl", daemon=True).start()


def waits(command: Iterable[bytes]) -> bool:
    """Whether a command is a systemctl that waits for a job."""
    program, *arguments = command
    if os.path.basename(program) != b"systemctl" or b"--no-block" in arguments:
        return False
    # Values of options come before it, too, and are no verbs.
    return any(argument in _MAKE_JOBS for argument in arguments)


def waiting_below(root: int) -> set[Waiting]:
    """Every systemctl that waits in a process that this one started, or one of its own."""
    return set(_waiting_below(root))


def start_power_off(fail: Callable[[str], None]) -> None:
    """Have systemd power the machine off. `fail` is called with the reason if it refuses."""
    threading.Thread(target=_power_off, args=(fail,), name="power off", daemon=True).start()


def _power_off(fail: Callable[[str], None]) -> None:
    command = ["systemctl", "poweroff"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError) as exc:
        fail(str(exc))
        return
    if done.returncode:
        fail(done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.returncode}")


def _advise(warn: Callable[[str], None]) -> None:
    if not is_shutting_down():
        return
    before: set[Waiting] = set()
    told: set[Waiting] = set()
    while True:
        now = waiting_below(os.getpid())
        for one in sorted((now & before) - told, key=lambda waiting: waiting.pid):
            warn(
                f"{one.step}: `{one.command}` waits for systemd, which is shutting the machine down and may itself be "
                "waiting for this task. Use `systemctl --no-block`, and wait for what the task needs by other means"
            )
            told.add(one)
        before = now
        time.sleep(_EVERY)


def _waiting_below(root: int) -> Iterator[Waiting]:
    try:
        names = os.listdir(_PROC)
    except OSError:
        return
    for name in filter(str.isdigit, names):
        command = _words(name, "cmdline")
        if command and waits(command):
            leader = _child_above(int(name), root)
            if leader is not None:
                yield Waiting(int(name), b" ".join(command).decode("utf-8", "replace"), _step(leader))


def _child_above(pid: int, root: int) -> int | None:
    """The child of `root` that is an ancestor of the process, or the process itself."""
    for _unused in range(_MOST_ANCESTORS):
        parent = _parent(pid)
        if parent in (root, None):
            return pid if parent == root else None
        pid = parent
    return None


def _parent(pid: int) -> int | None:
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:
            # The name before it may have any character, a bracket as well (proc_pid_stat(5)).
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _step(pid: int) -> str:
    found = dict(variable.partition(b"=")[::2] for variable in _words(str(pid), "environ"))
    phase, task = (found.get(name, b"").decode("utf-8", "replace") for name in (b"GCE_EVENT_PHASE", b"GCE_EVENT_TASK"))
    return f"{phase} {task!r}" if task else "a task"


def _words(pid: str, name: str) -> list[bytes]:
    try:
        with open(f"{_PROC}/{pid}/{name}", "rb") as file:
            return file.read().rstrip(b"\0").split(b"\0")
    except OSError:
        return []
