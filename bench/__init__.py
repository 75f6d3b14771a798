# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks of the maintenance handler and of modules, side by side with alternatives."""

from __future__ import annotations

import sys
from pathlib import Path

# For the package `support`, which tests find through pytest's settings.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
