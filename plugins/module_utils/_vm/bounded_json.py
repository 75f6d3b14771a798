# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Untrusted JSON: parsed in linear time, with a limit on depth that keeps recursive code safe.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import json
from typing import Any

# The metadata server's own tree has seven levels.
DEPTH_LIMIT = 64
# Parsing n digits takes n² time, and Python before 3.10.7 has no limit. Instance ids have 20 digits.
DIGITS_LIMIT = 1000


class TooDeep(ValueError):
    """There are more than DEPTH_LIMIT levels of lists and objects."""


def loads(text: str) -> Any:
    """The value of a JSON text, with exact integers. Raises ValueError for invalid JSON, and TooDeep."""
    if text.count("[") + text.count("{") > DEPTH_LIMIT and _is_deep(text):
        raise TooDeep(f"the JSON has more than {DEPTH_LIMIT} levels")
    return json.loads(text, parse_int=_integer)


def _is_deep(text: str) -> bool:
    # Without escapes, each quotation mark begins or ends a string: every second piece is outside of strings.
    outside = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    depth = 0
    for piece in outside:
        for character in piece:
            if character in "[{":
                depth += 1
                if depth > DEPTH_LIMIT:
                    return True
            elif character in "]}":
                depth -= 1
    return False


def _integer(digits: str) -> int:
    if len(digits) > DIGITS_LIMIT:
        raise ValueError(f"the JSON has a number of {len(digits)} digits")
    return int(digits)
