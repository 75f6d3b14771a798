# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a step that outlived the handler that started it.

Such a step is run again or restored, so what is left of it must not go on beside that. Its processes are found by the
variable that each of them inherited: unlike a process number, it is theirs alone and needs no writing down.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "GCE_EVENT_STEP"


def end_leftovers(step: str) -> int:
    """Kill all processes of a step (`incident/number`) that we may; answers how many."""
    wanted = f"{VARIABLE}={step}".encode()
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            if wanted in variables:
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
        except OSError:
            # Gone meanwhile, or another user's.
            continue
    return killed
