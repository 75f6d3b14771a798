# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler as `python3 -I DIRECTORY`, the directory of this file.

So it needs neither a PYTHONPATH, which its tasks would inherit, nor a directory to stand in.
"""

from __future__ import annotations

import sys

from maintenance_handler.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
