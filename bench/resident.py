# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of a process."""

from __future__ import annotations

from pathlib import Path


def resident_kib(process: int | str) -> float:
    """Its resident memory in KiB. `process` is a PID or "self"."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
