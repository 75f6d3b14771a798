# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hears of host maintenance before it happens, drains the VM in time, and puts everything back afterwards."""

from __future__ import annotations

__version__ = "0.1.0"
