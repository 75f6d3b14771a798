# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task printed, without the secrets in it that show by themselves. Pure."""

from __future__ import annotations


def without_secret(line: str) -> str:
    """A line as it may be kept: as it is, or that it held a secret."""
    # Only once a task prints something: the rules are 2 MB that an idle handler does not need.
    from .._metadata.secrets import REDACTED, is_secret_item

    return REDACTED if is_secret_item("", line) else line
