# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulated Compute Engine project: one state, shown as metadata servers, as the Compute API and a control face."""

from __future__ import annotations

__version__ = "0.1.0"
