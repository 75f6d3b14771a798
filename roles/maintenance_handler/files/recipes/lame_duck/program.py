# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that makes the health check fail by its presence or absence."""

from __future__ import annotations

import os
import time
from pathlib import Path

from client.http import request, shown
from recipes.run import Refusal, Run, counted
from recipes.waits import wait_since

_TIMEOUT = 3.0
# Of /proc/net/tcp.
_ESTABLISHED = "01"


def check(run: Run) -> None:
    folder = _file(run).parent
    if not folder.is_dir():
        raise Refusal(f"the directory {folder} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refusal(
            f"user {os.geteuid()} cannot write to {folder}: run the task as another user, or open the directory by "
            "maintenance_handler_unit_options, {Service: {ReadWritePaths: [DIRECTORY]}}"
        )
    if not _fails_by_file(run):
        if run["healthy_when"] == "present" and not _file(run).is_file():
            raise Refusal(f"{_file(run)} is not a file")
        problem = _problem_of_health(run, healthy=True)
        if problem:
            raise Refusal(f"the health check should succeed now, but {problem}")


def drain(run: Run) -> None:
    file = _file(run)
    if _fails_by_file(run) and str(file) not in run.record:
        run.say("the health check already fails, not because of this recipe")
    else:
        if not _fails_by_file(run):
            # Also if a reboot or someone else has ended it since: the load balancer has to notice it anew.
            run.record.note(str(file), time.time())
            _begin(run)
        run.wait_until(lambda: _problem_of_health(run, healthy=False))
        wait_since(run, float(run.record.get(str(file))), float(run["drain_seconds"]), "the load balancer")
    run.wait_until(lambda: _connections(run["port"]))
    run.say("the health check fails, and drain_seconds have passed")


def restore(run: Run) -> None:
    file = _file(run)
    if str(file) not in run.record:
        run.say("nothing to restore: this recipe has not made the health check fail")
        return
    if run["healthy_when"] == "absent" and _has_content(file):
        run.record.forget(str(file))
        run.say(f"{file} has content, which this recipe did not write; left as is")
        return
    _end(run)
    run.wait_until(lambda: _problem_of_health(run, healthy=True))
    run.record.forget(str(file))
    run.say("the health check answers again")


def state(run: Run) -> None:
    ours = ", by this recipe" if str(_file(run)) in run.record else ""
    run.say(f"the health check fails{ours}" if _fails_by_file(run) else "the health check answers")


def _file(run: Run) -> Path:
    return Path(run["file"])


def _aside(file: Path) -> Path:
    """The path to which the file is moved if its absence makes the health check fail."""
    return file.with_name(f".{file.name}.lame_duck")


def _fails_by_file(run: Run) -> bool:
    fails_by_presence: bool = run["healthy_when"] == "absent"
    return _file(run).exists() == fails_by_presence


def _begin(run: Run) -> None:
    file = _file(run)
    if run["healthy_when"] == "absent":
        file.touch(mode=0o644, exist_ok=True)
    elif file.exists():
        # With its content, its mode and its owner.
        file.replace(_aside(file))


def _end(run: Run) -> None:
    file = _file(run)
    if run["healthy_when"] == "absent":
        file.unlink(missing_ok=True)
    elif not file.exists():
        aside = _aside(file)
        if not aside.exists():
            raise Refusal(f"{file} and its copy {aside} are gone: create {file}, and repeat the restore")
        aside.replace(file)


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _problem_of_health(run: Run, healthy: bool) -> str:
    """Why the health check does not have the expected result; empty without a URL."""
    if run["url"] is None:
        return ""
    try:
        status = request(run["url"], timeout=run.bounded(_TIMEOUT)).status
    except Refusal as exc:
        problem = run.unanswered(str(exc))
        return problem if healthy else ""
    if (status < 400) == healthy:
        return ""
    return f"{shown(run['url'])} answers {status}" + (
        "" if healthy else f", although it should fail because of {run['file']}"
    )


def _connections(port: int | None) -> str:
    if port is None:
        return ""
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            _number, local, _remote, status, *_rest = line.split()
            count += status == _ESTABLISHED and int(local.rpartition(":")[2], 16) == port
    return f"{counted(count, 'connection')} to port {port}" if count else ""
