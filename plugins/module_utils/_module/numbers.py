# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which numbers the options of modules and lookups take. Pure.

Private to the collection: it may change at any time. Standard library only.

Ansible has converted them before: `true` has become 1, and "5" has become 5, as in every module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# A socket's timeout overflows somewhere above. No request takes a day.
LONGEST_REQUEST = 86400

_SECONDS = (lambda number: number >= 0, "at least 0 seconds")
# By option. Written so that nan is refused as well; inf is for ever, or no limit.
_RULES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "retry_for": _SECONDS,
    "timeout": _SECONDS,
    "max_wait": _SECONDS,
    "cache_seconds": _SECONDS,
    "request_timeout": (
        lambda number: 0 < number <= LONGEST_REQUEST,
        f"more than 0 and at most {LONGEST_REQUEST} seconds",
    ),
    "requests_per_minute": (lambda number: number >= 0, "at least 0, which removes the limit"),
    "concurrency": (lambda number: number >= 1, "at least 1"),
    "pause": _SECONDS,
    "resume_within": _SECONDS,
    "minutes": (lambda number: number > 0, "more than 0"),
    "rows": (lambda number: number >= 0, "at least 0"),
    "max_fail_percentage": (lambda number: 0 <= number <= 100, "from 0 to 100"),
}


class NumberError(Exception):
    """An option has a number that it does not take."""


def check_numbers(options: Mapping[str, Any]) -> None:
    """Raise NumberError for the first option, of those with a rule, whose number is refused."""
    for option, (is_right, words) in _RULES.items():
        if options.get(option) is not None and not is_right(options[option]):
            raise NumberError(f"{option} is {options[option]:g}, but it has to be {words}.")
