# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether processes live that a test knows by their numbers only."""

from __future__ import annotations

from pathlib import Path


def has_ended(pid: int) -> bool:
    """Whether a process has ended. Its new parent may not have reaped it yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    # The latter while it is being reaped.
    except (FileNotFoundError, ProcessLookupError):
        return True
    # The name before it may have any character (proc_pid_stat(5)).
    return stat.rpartition(")")[2].split()[0] in "ZX"
