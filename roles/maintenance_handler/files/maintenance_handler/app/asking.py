# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the running handler to do something, as commands do."""

from __future__ import annotations

import grp
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.incident import DRAINING, RESTORING
from ..core.tasks import DRAIN, RESTORE
from ..io import request
from ..io.request import LONGEST_NAME, SOCKET, Request
from .cli_common import CommandError, read_status
from .config import Config
from .status import UNKNOWN

# Seconds that a handler may take for a request, besides the time of its tasks.
WAITING = 60.0
# Seconds between two reads of the status.
LOOK_EVERY = 0.1
# Reads of the status until a handler that has not answered a request is given up: its disk may be slow.
MOST_LOOKS_IN_VAIN = 100
ENDED = "the handler stopped in the meantime; the next one continues, and restores what nothing keeps drained"

_LOGIN_UID = Path("/proc/self/loginuid")
# Of processes that no login has started.
_NO_LOGIN = 2**32 - 1


def ask(settings: Config, now: dict[str, Any], wish: Request) -> dict[str, Any]:
    """Send a request to the running handler. Returns its status then. Raises `CommandError` if it is not accepted."""
    if not now["running"]:
        purpose = "to continue the incident in its journal" if now["incident"] else "first"
        raise CommandError(f"the handler is not running: start it {purpose}")
    if "pid" not in now:
        raise CommandError("the handler has not written its status yet: try again later")
    _send(settings, wish)
    for _unused in range(MOST_LOOKS_IN_VAIN):
        time.sleep(LOOK_EVERY)
        now = read_status(settings)
        refusal = now.get("answers", {}).get(wish.name)
        if refusal:
            raise CommandError(f"the handler refused to {wish.command}: {refusal}")
        if refusal is not None:
            return now
        if not now["running"]:
            raise CommandError(ENDED)
    raise CommandError(f"no response from the handler to the request to {wish.command}: see its log")


def unique(command: str) -> str:
    """A unique name for a request."""
    return f"{command} {os.urandom(4).hex()}"


def user() -> str:
    """The name of the user who has logged in, whoever they have become since."""
    return (os.environ.get("SUDO_USER", "") or _name(_login_uid(os.getuid())))[:LONGEST_NAME]


def patience(settings: Config) -> float:
    """Seconds in which all tasks can be drained and restored one after the other."""
    phases = (DRAIN, RESTORE)
    return WAITING + sum(
        max(task.limit(phase, event) for event in task.on) for task in settings.tasks for phase in phases
    )


def watch(settings: Config, timeout: float, see: Callable[[dict[str, Any]], bool]) -> None:
    """Show each status to `see` until it answers True. Raises `CommandError` after `timeout` seconds."""
    give_up_at = time.monotonic() + timeout
    while True:
        now = read_status(settings)
        is_over = see(now)
        # Whatever it ran when it ended is not over: its journal says so, or cannot be read.
        if not now["running"] and (not is_over or now["state"] in (DRAINING, RESTORING, UNKNOWN)):
            raise CommandError(ENDED)
        if is_over:
            return
        if time.monotonic() >= give_up_at:
            raise CommandError(f"not over within {timeout:g} s, and goes on in the handler: see its status")
        time.sleep(LOOK_EVERY)


def _send(settings: Config, wish: Request) -> None:
    path = settings.runtime_dir / SOCKET
    try:
        request.send(settings.runtime_dir, wish)
    except PermissionError:
        raise CommandError(f"only root{_operators(path)} can request to {wish.command}") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise CommandError(f"the handler does not take requests at {path}: reload it, or see its log") from None
    except OSError as exc:
        raise CommandError(f"sending a request to the handler at {path}: {exc}") from None


def _operators(path: Path) -> str:
    """The group that can send requests, in words; empty if there is none."""
    try:
        found = path.stat()
        return f" and members of the group {grp.getgrgid(found.st_gid).gr_name}" if found.st_mode & 0o020 else ""
    except (OSError, KeyError):
        return ""


def _login_uid(otherwise: int) -> int:
    try:
        uid = int(_LOGIN_UID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return otherwise
    return otherwise if uid == _NO_LOGIN else uid


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
