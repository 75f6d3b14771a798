# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance handler on a machine that is shutting down: `python -m support.shutting_down_slowly`.

Its systemd is too busy to say so until FOLDER/released exists.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from unittest.mock import patch

from maintenance_handler.app.cli import main
from maintenance_handler.io import last_look


def is_shutting_down(**_unused: object) -> bool:
    while not (Path(os.environ["FOLDER"]) / "released").exists():
        time.sleep(0.02)
    return True


patch.object(last_look, "is_shutting_down", is_shutting_down).start()

if __name__ == "__main__":
    sys.exit(main())
