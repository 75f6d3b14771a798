# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine types that decide how a VM is maintained. Pure.

https://cloud.google.com/compute/docs/instances/live-migration-process#limitations
"""

from __future__ import annotations

import re

# Accelerator-optimized families and TPU VMs: their accelerators need not be listed.
_ACCELERATED = re.compile(r"(?:a[234]|a4x|g[24]|ct\d\w*|tpu\w+)-.+")
# H4D, and bare metal of any family.
_FIXED = re.compile(r"h4d-.+|.+-metal")


def has_accelerators(machine_type: str) -> bool:
    """Whether the type comes with accelerators."""
    return _ACCELERATED.fullmatch(machine_type) is not None


def can_migrate(machine_type: str) -> bool:
    """Whether VMs of this type can live-migrate, as far as the type decides it."""
    return not has_accelerators(machine_type) and _FIXED.fullmatch(machine_type) is None
