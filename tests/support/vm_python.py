# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python of processes that run on VMs: handler, recipes, notifier, fleet_limit and emulator.

By default that of the tests. The environment variable VM_PYTHON names another one, which requires aiohttp, PyYAML and
jmespath.
"""

from __future__ import annotations

import os
import shutil
import sys

NAME = "VM_PYTHON"


def find_vm_python(named: str | None) -> str:
    """The absolute path of a program in PATH, or at a path. Tests start it in other directories."""
    if not named:
        return sys.executable
    program = shutil.which(named)
    if program is None:
        raise ValueError(f"{NAME} is {named!r}, which is neither a program in PATH nor the path of one.")
    # Not its real path: a virtual environment is found by that of its link.
    return os.path.abspath(program)


VM_PYTHON = find_vm_python(os.environ.get(NAME))
