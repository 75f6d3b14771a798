# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m gce_emulator`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
