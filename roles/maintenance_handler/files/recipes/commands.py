# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run other programs with a timeout. Failures are sentences."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from recipes.run import Refusal, Run


class Failed(Refusal):
    """A program could not do its work. The text has the program and its output. `status` is None if it timed out."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


def output(command: Sequence[str], *, timeout: float, environ: Mapping[str, str] | None = None) -> str:
    """The output of a program. Raises `Failed` if it fails or times out, `Refusal` if it does not exist."""
    return _output(" ".join(command[:4]), command, timeout, environ)


def execute(name: str, run: Run, consequence: str = "") -> None:
    """Run the command in a parameter, in the remaining time. Raises like `output`.

    Errors do not have its arguments, which may be secret. The consequence is for the report of a recipe that is
    terminated meanwhile.
    """
    run.open = f"{name} had not ended{consequence}"
    _output(run[name][0], run[name], run.bounded(run.left()), None)


def _output(shown: str, command: Sequence[str], timeout: float, environ: Mapping[str, str] | None) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C", **(environ or {})},
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{shown} did not end within {timeout:.1f} s", None) from None
    except OSError as exc:
        raise Refusal(f"{command[0]} cannot be run: {exc.strerror}") from None
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace")
    lines = (
        done.stderr.decode("utf-8", "replace").strip() or done.stdout.decode("utf-8", "replace").strip()
    ).splitlines()
    why = f": {lines[-1].strip()}" if lines else ""
    raise Failed(f"{shown} failed with status {done.returncode}{why}", done.returncode)
