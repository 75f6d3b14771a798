# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of the values of signal keys. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

from typing import Any, Union

from .maintenance import STOP_STATE_KEY, UPCOMING_MAINTENANCE_KEY, Stop, Window, parse_stop, parse_window

# What is kept of a key's value; None if the key, or an announcement in it, does not exist.
Value = Union[str, Window, Stop, None]

# Seconds after the end of a window until its announcement is ignored: maintenance may be late.
STAYS_AFTER_END = 3600.0
# Characters that are kept of a value.
LONGEST_VALUE = 100


def essence(key: str, value: Any) -> Value:
    """The part of a value that the handler keeps. It is small, however long the value is.

    Raises `UnreadableWindow`.
    """
    if value is None:
        return None
    if key == UPCOMING_MAINTENANCE_KEY:
        return parse_window(value)
    if key == STOP_STATE_KEY:
        return parse_stop(value)
    return str(value).strip()[:LONGEST_VALUE]
