# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drain a VM before host maintenance, and restore it afterwards.

The handler stays in memory for an event that comes a few times a year. It imports few modules, and small ones:
`python -m bench.footprint` measures what it uses, and `_vm/records.py` says why there are no `dataclasses`.
"""

from __future__ import annotations

__version__ = "0.2.0"
