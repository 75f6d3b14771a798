# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the configuration by a separate process, so that a check that hangs does not block the loop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from .._vm.records import dataclass

# Seconds for `check`, which stops hanging checks before that.
PATIENCE = 30.0

# The directory of the package, which `python3 -I` can run.
PROGRAM = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Examined:
    """The result of `check` for the request `number`."""

    number: int
    problems: tuple[str, ...]


if TYPE_CHECKING:
    Post = Callable[[Examined], None]


class Examiner:
    """Runs `check` on a configuration file."""

    def __init__(self, config_path: Path, post: Post) -> None:
        self._path = config_path
        self._post = post
        self._running: subprocess.Popen[bytes] | None = None

    def start(self, number: int) -> None:
        """Check the file, and post `Examined`. A check that is still running is stopped."""
        self.close()
        threading.Thread(target=self._examine, args=(number,), name="examination", daemon=True).start()

    def close(self) -> None:
        """Stop a check that is running."""
        if self._running is not None:
            _end(self._running)

    def _examine(self, number: int) -> None:
        try:
            self._post(Examined(number, self._problems()))
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as exc:
            self._post(Examined(number, (f"the tasks could not be checked: {exc}",)))

    def _problems(self) -> tuple[str, ...]:
        python = [sys.executable, "-I", "-X", "utf8"]
        command = [*python, str(PROGRAM), "check", "--here", "--json", "--config", str(self._path)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running = process
        try:
            said, _unused = process.communicate(timeout=PATIENCE)
        finally:
            _end(process)
        return tuple(str(problem) for problem in json.loads(said)["problems"])


def _end(process: subprocess.Popen[bytes]) -> None:
    # The process group exists as long as the process has not been waited for.
    if process.returncode is None:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
