# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the handler with `python3 -I DIRECTORY`, the directory of this file.

This needs no PYTHONPATH, which tasks would inherit, and no particular working directory.
"""

from __future__ import annotations

import sys

from maintenance_handler.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
