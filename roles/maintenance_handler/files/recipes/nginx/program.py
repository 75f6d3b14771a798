# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx: on SIGQUIT it closes its listening sockets and completes open requests (https://nginx.org/en/docs/control.html)."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from recipes import health, systemd
from recipes.commands import execute
from recipes.run import Refusal, Run, counted

# Exits with status 0 are followed by a start.
_RESTARTS = ("always", "on-success")


def check(run: Run) -> None:
    health.checked(run["health"])
    if (run["pid_file"] is None) != (run["start"] is None):
        raise Refusal("pid_file and start must be given together")
    if run["pid_file"] is None:
        unit = systemd.known(run["unit"])
        systemd.refuse_without_permission(unit)
        restarts = systemd.show(unit, "Restart")["Restart"]
        if restarts in _RESTARTS:
            raise Refusal(f"{unit} has Restart={restarts}, which starts nginx again after it quits: use on-failure")
    elif not Path(run["pid_file"]).parent.is_dir():
        raise Refusal(f"the directory of the pid file {run['pid_file']} does not exist")
    master = _master(run)
    if master is not None:
        _signal(master, 0)


def drain(run: Run) -> None:
    master = _master(run)
    if master is None:
        run.say("nginx is not running: nothing to do")
        return
    if run.record.get(_key(run)) != _identity(master):
        run.record.note(_key(run), _identity(master))
        _signal(master, signal.SIGQUIT)
    run.wait_until(lambda: _still_runs(run))
    run.say("nginx has finished its open requests and quit")


def restore(run: Run) -> None:
    quitting = run.record.get(_key(run))
    if quitting is None:
        run.say("nothing to restore: this recipe has not stopped nginx")
        return
    master = _master(run)
    if master is not None and _identity(master) == quitting:
        # It accepts no more connections, and the signal cannot be revoked.
        _signal(master, signal.SIGTERM)
        run.wait_until(lambda: _still_runs(run))
        master = None
    if run["pid_file"] is None:
        systemd.start_and_wait([systemd.known(run["unit"])], run)
    elif master is None:
        execute("start", run)
        run.wait_until(lambda: "" if _master(run) is not None else f"no process is in {run['pid_file']}")
    health.wait_until_healthy(run, run["health"])
    run.record.forget(_key(run))
    run.say("nginx runs")


def state(run: Run) -> None:
    master = _master(run)
    ours = ", because of this recipe" if _key(run) in run.record else ""
    if master is None:
        run.say(f"nginx does not run{ours}")
    else:
        quits = run.record.get(_key(run)) == _identity(master)
        run.say(f"nginx (process {master}) {'is quitting' if quits else 'runs'}")


def _key(run: Run) -> str:
    return str(run["pid_file"] or run["unit"])


def _master(run: Run) -> int | None:
    """The master process of nginx, if it is running."""
    if run["pid_file"] is None:
        pid = int(systemd.show(run["unit"], "MainPID").get("MainPID") or 0)
        return pid or None
    try:
        pid = int(Path(run["pid_file"]).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return pid if _is_alive(pid) else None


def _is_alive(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _identity(pid: int) -> list[str]:
    """A process by its id and its start time, because ids are reused."""
    return [str(pid), *_stat(pid)[19:20]]


def _stat(pid: int) -> list[str]:
    """Fields of proc_pid_stat(5), from the state on."""
    with suppress(OSError):
        # The name may have spaces and brackets in it.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []


def _still_runs(run: Run) -> str:
    recorded = run.record.get(_key(run))
    pid = int(recorded[0])
    if _is_alive(pid) and _identity(pid) == recorded:
        return f"{counted(_workers(pid), 'nginx worker')} still answering requests"
    if run["pid_file"] is None:
        # Before systemd has noticed the end, it would not start it again.
        shown = systemd.show(run["unit"], "ActiveState", "MainPID")
        state = shown["ActiveState"]
        unnoticed = shown.get("MainPID") == str(pid) or state in ("deactivating", "reloading")
        return f"{run['unit']} is {state}" if unnoticed else ""
    return ""


def _workers(master: int) -> int:
    numbers = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
    return sum(_stat(pid)[1:2] == [str(master)] for pid in numbers)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise Refusal(f"user {os.geteuid()} may not signal nginx (process {pid}): run the task as root") from None
