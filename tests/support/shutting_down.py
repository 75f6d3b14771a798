# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance handler on a machine that systemd is shutting down: `python -m support.shutting_down`."""

from __future__ import annotations

import sys
from unittest.mock import patch

from maintenance_handler.app.cli import main
from maintenance_handler.io import last_look, systemctl

for module in (last_look, systemctl):
    patch.object(module, "is_shutting_down", lambda **_unused: True).start()

if __name__ == "__main__":
    sys.exit(main())
