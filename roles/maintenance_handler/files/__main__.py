# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -I DIRECTORY`, this file's directory: the handler with nothing in the environment that its tasks would inherit."""

from __future__ import annotations

import sys

from maintenance_handler.cli import main

if __name__ == "__main__":
    sys.exit(main())
