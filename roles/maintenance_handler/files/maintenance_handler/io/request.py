# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of the command line to the running handler: a file in its runtime directory, and a POSIX signal.

The answer is in the status, under the name of the request.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from .._vm.records import dataclass
from ..core.checked import checked
from .files import read_own, write_whole

REHEARSE = "rehearse"
RESTORE = "restore"
ACKNOWLEDGE = "acknowledge"
COMMANDS = (REHEARSE, RESTORE, ACKNOWLEDGE)

SIGNAL = signal.SIGUSR1


@dataclass(frozen=True)
class Request:
    """A request. `tasks` are those to restore or to acknowledge; if empty, all that are not restored."""

    command: str
    name: str
    by: str
    event: str = ""
    tasks: tuple[str, ...] = ()


class UnreadableRequest(Exception):
    """A request cannot be read. The text says which, and why."""


def send(runtime_dir: Path, pid: int, request: Request) -> Path:
    """Send a request to the handler. Returns its file, which the handler deletes. Raises OSError."""
    path = _path(runtime_dir, request.command)
    write_whole(path, json.dumps(vars(request)).encode())
    os.kill(pid, SIGNAL)
    return path


def take(runtime_dir: Path) -> Iterator[Request | UnreadableRequest]:
    """The pending requests, which are deleted."""
    for command in COMMANDS:
        path = _path(runtime_dir, command)
        try:
            data = read_own(path)
            path.unlink()
            raw = json.loads(data)
            yield Request(**{**checked(Request, raw), "tasks": tuple(raw["tasks"]), "command": command})
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
            yield UnreadableRequest(f"Reading the requests in {path}: {exc!r}.")


def _path(runtime_dir: Path, command: str) -> Path:
    return runtime_dir / f"{command}.json"
