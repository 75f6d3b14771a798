# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations without notice, detected by `virtual-clock/drift-token`, which changes when a VM is migrated. Pure.

Sole-tenant VMs are migrated without notice, and so is a VM that has not queried the key.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

from .records import dataclass, replace

# Seconds between the change of the token and its announcement, which come over separate connections.
GRACE = 5.0


@dataclass(frozen=True)
class Drift:
    """The last known token, and whether an announced migration explains a change. Times on the monotonic clock."""

    token: str | None = None
    # A migration is announced now, or was until `announced_until`.
    announced: bool = False
    announced_until: float | None = None
    # The time of a change that is not explained yet.
    changed_at: float | None = None


def heard_token(drift: Drift, token: str, now: float) -> Drift:
    """Take the current token."""
    if drift.token is None or drift.token == token:
        return replace(drift, token=token)
    explained = drift.announced or (drift.announced_until is not None and now <= drift.announced_until + GRACE)
    return replace(drift, token=token, changed_at=None if explained else now)


def heard_announcement(drift: Drift, announced: bool, now: float) -> Drift:
    """Take the current state of `maintenance-event`. An announcement explains a change just before it."""
    if announced:
        return replace(drift, announced=True, changed_at=None)
    return replace(drift, announced=False, announced_until=now) if drift.announced else drift


def found_missed(drift: Drift, now: float) -> tuple[Drift, bool]:
    """Whether a change is unexplained after GRACE; reported once."""
    missed = drift.changed_at is not None and now >= drift.changed_at + GRACE
    return (replace(drift, changed_at=None) if missed else drift), missed


def wake_at(drift: Drift) -> float | None:
    """When to call `found_missed` again."""
    return None if drift.changed_at is None else drift.changed_at + GRACE
