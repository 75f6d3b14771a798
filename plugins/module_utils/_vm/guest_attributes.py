# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names, sizes and query rate of guest attributes, and what to do where they are disabled. Pure.

Private to the collection: it may change at any time. Standard library only.

The limits are checked here because the server's answers to larger values and other names are not documented, and
because above the rate it silently drops data: https://cloud.google.com/compute/docs/metadata/manage-guest-attributes
"""

from __future__ import annotations

import re
from collections import deque

from .._metadata.text import LARGEST_VALUE, as_bool

DIRECTORY = "instance/guest-attributes"
NAME_LIMIT = 128

# The metadata that enables them, and the organization policy that disables them whatever the metadata.
SWITCH = "enable-guest-attributes"
CONSTRAINT = "constraints/compute.disableGuestAttributesAccess"
HOW_TO_ENABLE = (
    f"Set {SWITCH}=TRUE in the custom metadata of the instance, which takes precedence over its zone's and the "
    "project's."
)

# For all processes of an instance together: 10 queries a minute, in bursts of at most 3 a second.
QUERIES_PER_MINUTE = 10
QUERIES_PER_SECOND = 3

_NAME = re.compile(r"[A-Za-z0-9_-]+")


class GuestAttributeError(Exception):
    """A guest attribute has an invalid name or value; str() is a sentence."""


class InvalidName(GuestAttributeError):
    """A namespace or key is empty or too long, or has characters other than letters, digits, `_` and `-`."""


class ValueTooLarge(GuestAttributeError):
    """A value is larger than LARGEST_VALUE bytes."""


def namespace_path(namespace: str) -> str:
    """The metadata path of the directory that holds a namespace's guest attributes."""
    return f"{DIRECTORY}/{_checked('namespace', namespace)}/"


def attribute_path(namespace: str, key: str) -> str:
    """The metadata path of a guest attribute, for the metadata server's client."""
    return namespace_path(namespace) + _checked("key", key)


def attribute_value(value: str | bytes, key: str | None = None) -> bytes:
    """The bytes of a value: text as UTF-8 (surrogateescape). ``key`` is for the error, which is GuestAttributeError."""
    whose = "a guest attribute" if key is None else f"the guest attribute {key!r}"
    try:
        encoded = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    except UnicodeError:
        raise GuestAttributeError(f"The value of {whose} is neither bytes nor Unicode text.") from None
    if len(encoded) > LARGEST_VALUE:
        raise ValueTooLarge(f"The value of {whose} has {len(encoded)} bytes, but may have {LARGEST_VALUE} at most.")
    return encoded


class QueryBudget:
    """Spreads queries so that no minute has more than QUERIES_PER_MINUTE, and no second more than QUERIES_PER_SECOND.

    It counts the queries of its own caller only, and leaves nothing for other processes of the VM.
    """

    def __init__(self) -> None:
        self._queries: deque[float] = deque(maxlen=QUERIES_PER_MINUTE)

    def take(self, now: float) -> float:
        """Reserve the next query; returns how many seconds after ``now`` it may be sent."""
        when = now
        for count, seconds in ((QUERIES_PER_MINUTE, 60.0), (QUERIES_PER_SECOND, 1.0)):
            if len(self._queries) >= count:
                when = max(when, self._queries[-count] + seconds)
        self._queries.append(when)
        return when - now

    def answered(self, now: float) -> None:
        """Date the last query from its answer: the server may have counted it at any time until then."""
        self._queries[-1] = now


def seconds_for(queries: int) -> float:
    """The seconds from the first of so many queries to the last one."""
    budget = QueryBudget()
    return max((budget.take(0.0) for query in range(queries)), default=0.0)


def remedy_for_denied(instance: str | None, project: str | None) -> str:
    """Why guest attributes may be denied, and what to do, given the SWITCH of the instance and of the project."""
    owner, value = ("instance", instance) if instance is not None else ("project", project)
    has = f"The metadata of the {owner} has {SWITCH}={str(value)[:40]!r}"
    if value is not None and as_bool(value.strip()):
        return (
            f"{has} already. Either it was set within the last minutes, which retry_for=300 waits for, or an "
            f"organization policy denies guest attributes ({CONSTRAINT}): ask its administrator."
        )
    if value is None:
        has = f"Neither the metadata of the instance nor that of the project has {SWITCH}"
    return (
        f"{has}. {HOW_TO_ENABLE} It takes some minutes to work, which retry_for=300 waits for, and has no effect if an "
        f"organization policy denies guest attributes ({CONSTRAINT})."
    )


def _checked(what: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"The {what} of a guest attribute is {name!r}, but it may only have letters, digits, '_' and '-'."
        )
    if len(name) > NAME_LIMIT:
        raise InvalidName(
            f"The {what} of a guest attribute may have {NAME_LIMIT} characters, but {name!r} has {len(name)}."
        )
    return name
