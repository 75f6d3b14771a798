# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redaction of secrets in the output of tasks. Pure."""

from __future__ import annotations


def without_secret(line: str) -> str:
    """A line of output, redacted if it contains a secret."""
    # Imported when a task prints something: the rules need 2 MB of memory.
    from .._metadata.secrets import REDACTED, is_secret_item

    return REDACTED if is_secret_item("", line) else line
