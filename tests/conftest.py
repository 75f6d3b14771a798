# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout importable as the collection that it is: ansible_collections.gce.guest."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def link_collection() -> None:
    """Put a tree on sys.path in which the checkout lies where Python looks for the collection."""
    root = Path(tempfile.mkdtemp(prefix="gce-guest-tests-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    namespace = root / "ansible_collections" / "gce"
    namespace.mkdir(parents=True)
    (namespace / "guest").symlink_to(CHECKOUT, target_is_directory=True)
    sys.path.insert(0, str(root))


link_collection()
