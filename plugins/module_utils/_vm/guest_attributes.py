# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guest attributes may be called, how large they may be, and how often they may be asked for. Pure.

Private to the collection: it may change at any time. Standard library only, as the maintenance handler uses this file.

The limits are checked here because the server's own answers to what breaks them are not documented, and because above
the rate it drops data without saying so: https://cloud.google.com/compute/docs/metadata/manage-guest-attributes
"""

from __future__ import annotations

import re
from collections import deque

DIRECTORY = "instance/guest-attributes"
NAME_LIMIT = 128
VALUE_LIMIT = 256 * 1024

# For all processes of an instance together: 10 queries a minute, in bursts of at most 3 a second.
QUERIES_PER_MINUTE = 10
QUERIES_PER_SECOND = 3

_NAME = re.compile(r"[A-Za-z0-9_-]+")


class GuestAttributeError(Exception):
    """A guest attribute cannot be what it was meant to be; str() is a sentence for a person."""


class InvalidName(GuestAttributeError):
    """A namespace or key is empty, too long, or has other characters than letters, digits, `_` and `-`."""


class ValueTooLarge(GuestAttributeError):
    """A value is larger than VALUE_LIMIT bytes."""


def namespace_path(namespace: str) -> str:
    """The metadata path of the directory that holds a namespace's guest attributes."""
    return f"{DIRECTORY}/{_checked('namespace', namespace)}/"


def attribute_path(namespace: str, key: str) -> str:
    """The metadata path of a guest attribute, for the metadata server's client."""
    return namespace_path(namespace) + _checked("key", key)


def attribute_value(value: str | bytes, key: str | None = None) -> bytes:
    """A value as it is sent: text as UTF-8 (surrogateescape). ``key`` is for the words of an error."""
    whose = "a guest attribute" if key is None else f"the guest attribute {key!r}"
    try:
        encoded = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    except UnicodeError:
        raise GuestAttributeError(f"The value of {whose} is neither bytes nor Unicode text.") from None
    if len(encoded) > VALUE_LIMIT:
        raise ValueTooLarge(f"The value of {whose} may have {VALUE_LIMIT} bytes, and this one has {len(encoded)}.")
    return encoded


class QueryBudget:
    """Spreads queries so that no minute sees more than QUERIES_PER_MINUTE, and no second more than QUERIES_PER_SECOND.

    It knows the queries of its own caller only, and leaves nothing for others: one budget for one process.
    """

    def __init__(self) -> None:
        self._queries: deque[float] = deque(maxlen=QUERIES_PER_MINUTE)

    def take(self, now: float) -> float:
        """Reserve the next query, and return how many seconds after ``now`` it may be sent."""
        when = now
        for count, seconds in ((QUERIES_PER_MINUTE, 60.0), (QUERIES_PER_SECOND, 1.0)):
            if len(self._queries) >= count:
                when = max(when, self._queries[-count] + seconds)
        self._queries.append(when)
        return when - now

    def answered(self, now: float) -> None:
        """Count the query reserved last from its answer: nobody knows when between the two the server saw it."""
        self._queries[-1] = now


def seconds_for(queries: int) -> float:
    """How long after the first of so many queries the last one may be sent."""
    budget = QueryBudget()
    return max((budget.take(0.0) for query in range(queries)), default=0.0)


def _checked(what: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"The {what} of a guest attribute is {name!r}, but only letters, digits, '_' and '-' may be in it."
        )
    if len(name) > NAME_LIMIT:
        raise InvalidName(
            f"The {what} of a guest attribute may have {NAME_LIMIT} characters, and {name!r} has {len(name)}."
        )
    return name
