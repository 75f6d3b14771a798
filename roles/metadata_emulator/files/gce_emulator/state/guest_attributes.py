# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest attributes: limits of names, sizes and queries. Pure."""

from __future__ import annotations

import collections
import re
from typing import Callable

NAME = re.compile(r"[A-Za-z0-9_-]+")
KEY_LIMIT = 128
VALUE_LIMIT = 262144


class Budget:
    """At most 3 queries a second and 10 a minute. `clock` returns real seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._queries: collections.deque[float] = collections.deque()

    def spend(self) -> bool:
        """Count one query; False, without counting it, if it exceeds the budget."""
        now = self._clock()
        while self._queries and self._queries[0] <= now - 60:
            self._queries.popleft()
        in_last_second = sum(1 for at in self._queries if at > now - 1)
        if len(self._queries) >= 10 or in_last_second >= 3:
            return False
        self._queries.append(now)
        return True


def name_problem(names: list[str]) -> str | None:
    """What is wrong with NAMESPACE/KEY, or None."""
    if len(names) != 2:
        return "A guest attribute has the path guest-attributes/NAMESPACE/KEY."
    for name in names:
        if not NAME.fullmatch(name):
            return "Namespace and key can have letters, digits, underscores and hyphens."
    if len(names[1]) > KEY_LIMIT:
        return f"The key has {len(names[1])} bytes; the limit is {KEY_LIMIT}."
    return None
