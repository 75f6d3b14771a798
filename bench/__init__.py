# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the maintenance handler costs and how soon it reacts, measured side by side with other ways to do its work."""

from __future__ import annotations

import sys
from pathlib import Path

# For the package `support`, which the tests find by pytest's settings.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
