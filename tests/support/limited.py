# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance handler with `support.file_slots` for the store: `python -m support.limited run --config FILE`.

With the variable PACE, the times between two questions are divided by it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from maintenance_handler.app import slot_keeper
from maintenance_handler.app.cli import main
from maintenance_handler.io import fleet_limit

if __name__ == "__main__":
    fleet_limit.PROGRAM = Path(__file__).with_name("file_slots.py")
    for name in ("FIRST", "LONGEST_WAIT", "DRAINED_WITHOUT", "LONGEST_RELEASE"):
        setattr(slot_keeper, name, getattr(slot_keeper, name) / float(os.environ.get("PACE", "1")))
    sys.exit(main())
