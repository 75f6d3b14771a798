# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance handler on a machine that shuts down later: `python -m support.shutting_down_late`.

Its systemd is too busy to answer the first question, and answers the second with no.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from maintenance_handler.app.cli import main
from maintenance_handler.io import last_look

answers = iter([None, False])
patch.object(last_look, "is_shutting_down", lambda **_unused: next(answers, True)).start()

if __name__ == "__main__":
    sys.exit(main())
