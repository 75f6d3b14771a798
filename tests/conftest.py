# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout importable as the collection that it is: ansible_collections.gce.guest."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from support.vm_python import VM_PYTHON

CHECKOUT = Path(__file__).resolve().parents[1]

# Hypothesis' default deadline is 200 ms for an example, which a busy machine exceeds.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


def link_collection() -> Path:
    """Put a tree on sys.path in which the checkout lies where Python, and Ansible, look for the collection."""
    root = Path(tempfile.mkdtemp(prefix="gce-guest-tests-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    namespace = root / "ansible_collections" / "gce"
    namespace.mkdir(parents=True)
    (namespace / "guest").symlink_to(CHECKOUT, target_is_directory=True)
    sys.path.insert(0, str(root))
    return root


COLLECTIONS_PATH = link_collection()


@pytest.fixture(scope="session")
def collections_path() -> Path:
    """What to set ANSIBLE_COLLECTIONS_PATH to."""
    return COLLECTIONS_PATH


def pytest_report_header() -> str:
    return f"processes of VMs: {VM_PYTHON}"
