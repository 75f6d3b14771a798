# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hears of host maintenance before it happens, drains the VM in time, and puts everything back afterwards.

It stays in memory for as long as the VM runs, for an event that comes a few times a year. So the modules that it is
made of are few and small: `typing`, for one, is 0.5 MB that only type checkers need, and those take a module-level
TYPE_CHECKING for true whatever is assigned to it (bench/footprint.py).
"""

from __future__ import annotations

__version__ = "0.1.0"
