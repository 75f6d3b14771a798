# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulated Compute Engine project: metadata servers, the Compute API and a control face over one state."""

from __future__ import annotations

__version__ = "0.2.0"
