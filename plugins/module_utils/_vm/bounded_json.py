# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON of which nobody vouches: parsed in linear time, and never deeper than what can be walked without a thought.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import json
from typing import Any

# The metadata server's own tree has seven levels.
DEPTH_LIMIT = 64
# An int of n digits takes n² to read, and Python before 3.10.7 has no limit of its own. Instance ids have 20.
DIGITS_LIMIT = 1000


class TooDeep(ValueError):
    """There are more than DEPTH_LIMIT levels of lists and objects."""


def loads(text: str) -> Any:
    """The value of a JSON text, with integers exact; raises ValueError for what is no JSON, and for what is TooDeep."""
    if text.count("[") + text.count("{") > DEPTH_LIMIT and _is_deep(text):
        raise TooDeep(f"the JSON has more than {DEPTH_LIMIT} levels")
    return json.loads(text, parse_int=_integer)


def _is_deep(text: str) -> bool:
    # Without escapes, each quotation mark begins or ends a string, and every second piece is outside of them.
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
