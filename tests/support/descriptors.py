# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The open files of the test's process.

Threads of an earlier test may still close theirs, or open one for a moment: what is open counts, not how much.
"""

from __future__ import annotations

import os

from .emulator import eventually


def open_files() -> frozenset[str]:
    """Each descriptor and what it refers to, which has a number of its own for a pipe or a socket."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name}: {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            # Closed meanwhile, such as that of this list.
            continue
    return frozenset(found)


def until_only(before: frozenset[str]) -> None:
    """Wait until nothing is open that was not open before."""
    eventually(lambda: open_files() <= before, what=f"the end of {sorted(open_files() - before)}")
