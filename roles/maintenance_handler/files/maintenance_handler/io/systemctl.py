# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemctl: powering off, and warnings about tasks in which it waits for a systemd that may be waiting for them.

Without --no-block, systemctl waits for its job, which during a shutdown may end after the handler.
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
# Seconds between two checks. A process that is there in both has waited about this long.
_EVERY = 1.0
_MOST_ANCESTORS = 100
# Seconds that systemd may take to answer.
_PATIENCE = 5.0
# The verbs for which systemctl waits for a job.
_MAKE_JOBS = (b"start", b"stop", b"restart", b"reload", b"try-restart", b"reload-or-restart", b"try-reload-or-restart")


@dataclass(frozen=True)
class Waiting:
    """A systemctl that waits for a job, and its step."""

    pid: int
    command: str
    step: str


def start_advising(warn: Callable[[str], None]) -> None:
    """While the machine shuts down, warn once about each systemctl that waits."""
    threading.Thread(target=_advise, args=(warn,), name="systemctl", daemon=True).start()


def waits(command: Iterable[bytes]) -> bool:
    """Whether a command is a systemctl that waits for a job."""
    program, *arguments = command
    if os.path.basename(program) != b"systemctl" or b"--no-block" in arguments:
        return False
    # The verb may follow options and their values.
    return any(argument in _MAKE_JOBS for argument in arguments)


def waiting_below(root: int) -> set[Waiting]:
    """Every waiting systemctl among the descendants of a process."""
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
            # The name before it may contain any character, including a parenthesis (proc_pid_stat(5)).
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
