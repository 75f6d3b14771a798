# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conditions of a measurement."""

from __future__ import annotations

import os
import platform


def conditions() -> str:
    """The machine, its load and the interpreter, in one line."""
    load = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}, Linux {platform.release()}, {platform.machine()}, "
        f"{os.cpu_count()} CPUs ({_cpu_model()}), load {load:.1f}"
    )


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _unused, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return "unknown model"
