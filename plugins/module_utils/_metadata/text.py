# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata values are text: how booleans and numbers are written as text, and read back. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

from typing import Any

# Bytes of a value of custom metadata, and of a guest attribute:
# https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations
LARGEST_VALUE = 256 * 1024

# https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#boolean
_BOOLEANS = {**dict.fromkeys(("TRUE", "Y", "YES", "1"), True), **dict.fromkeys(("FALSE", "N", "NO", "0"), False)}


def as_bool(value: Any) -> bool | None:
    """The boolean that a value means to Compute Engine, in any case; None for anything else."""
    return _BOOLEANS.get(str(value).upper()) if isinstance(value, (str, int)) else None


def as_text(value: Any) -> str | None:
    """The text of a boolean, a finite number or a text; None for anything else."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return str(value) if isinstance(value, (str, int, float)) else None
