# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one verb of a recipe, as `python3 -I DIRECTORY NAME VERB [PARAMETERS]`, the directory of this file.

NAME is a recipe beside this file, or the absolute path of a folder; PARAMETERS a JSON object.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from recipes.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
