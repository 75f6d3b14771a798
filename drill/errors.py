# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the drill, and waiting with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable


class DrillError(Exception):
    """The drill cannot continue. The message is the reason."""


def until(condition: Callable[[], bool], what: str, within: float = 90.0) -> None:
    """Wait for a condition. Raises DrillError after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise DrillError(f"{what}: not within {within:g} s")
        time.sleep(0.2)
