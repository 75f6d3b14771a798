# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command for a notice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from maintenance_handler.io.task_output import without_secret
from notifier.outcome import Unavailable

_LONGEST = 200
# Of the output, the end is read.
_TAIL = 4096


def send(target: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Run it with the document as JSON on standard input. Returns what came back. Raises `Unavailable`."""
    command = target["command"]
    # Files, not pipes: a process that the command leaves behind would keep a pipe open.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
        given.write(json.dumps(document).encode() + b"\n")
        given.seek(0)
        try:
            process = subprocess.Popen(
                command, stdin=given, stdout=output, stderr=subprocess.STDOUT, cwd="/", start_new_session=True
            )
        except OSError as exc:
            raise Unavailable(f"{command[0]} cannot be run: {exc.strerror}") from None
        try:
            status = process.wait(target["timeout"])
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{command[0]} did not end within {target['timeout']:g} s") from None
        finally:
            if process.poll() is None:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(max(0, output.tell() - _TAIL))
        lines = output.read().decode("utf-8", "replace").strip().splitlines()
    last = without_secret(lines[-1].strip())[:_LONGEST] if lines else ""
    said = f"{command[0]} ended with status {status}" + (f" ({last})" if last else "")
    if status != 0:
        raise Unavailable(said)
    return said
