# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer to a question, as the handler reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HELD = "held"
DENIED = "denied"
RELEASED = "released"
OK = "ok"
UNREACHABLE = "unreachable"
INVALID = "invalid"

_LONGEST_LINE = 1000


@dataclass(frozen=True)
class Holder:
    """Who holds a slot, for what, and since when (ISO 8601, UTC)."""

    id: str
    reason: str | None
    since: str | None

    def __str__(self) -> str:
        known = [self.reason, self.since and f"since {self.since}"]
        facts = ", ".join(fact for fact in known if fact)
        return f"{self.id} ({facts})" if facts else self.id


@dataclass(frozen=True)
class Answer:
    """`holders` and `slots` are None where they are unknown; `detail` is a sentence."""

    outcome: str
    detail: str
    holders: tuple[Holder, ...] | None = None
    slots: int | None = None

    def as_dict(self) -> dict[str, Any]:
        holders = None if self.holders is None else [vars(holder) for holder in self.holders]
        return {
            "outcome": self.outcome,
            "state": {},
            "holders": holders,
            "slots": self.slots,
            "detail": line(self.detail),
        }


def line(text: str) -> str:
    """Text from elsewhere, fit for one line of a log."""
    text = "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}..."
