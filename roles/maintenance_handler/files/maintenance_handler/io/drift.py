# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations that nobody announced, told by `virtual-clock/drift-token`: it changes when a VM has been migrated.

Sole-tenant VMs are migrated without a notice, and so is a VM that did not ask for one. Pure, but for the file in
which the token outlives the handler.
"""

from __future__ import annotations

import json
from pathlib import Path

from .._vm.records import dataclass, replace
from .files import read_own, write_whole

# How far apart the token's change and its announcement may be heard: they come by connections of their own.
GRACE = 5.0


@dataclass(frozen=True)
class Drift:
    """The last known token, and whether a migration would explain a change now. Times on the monotonic clock."""

    token: str | None = None
    # A migration is announced now, or was until then.
    announced: bool = False
    announced_until: float | None = None
    # A change that nothing has explained yet.
    changed_at: float | None = None


def heard_token(drift: Drift, token: str, now: float) -> Drift:
    """The token as it is now."""
    if drift.token is None or drift.token == token:
        return replace(drift, token=token)
    explained = drift.announced or (drift.announced_until is not None and now <= drift.announced_until + GRACE)
    return replace(drift, token=token, changed_at=None if explained else now)


def heard_announcement(drift: Drift, announced: bool, now: float) -> Drift:
    """Whether `maintenance-event` says now that something comes. An announcement explains a change just before it."""
    if announced:
        return replace(drift, announced=True, changed_at=None)
    return replace(drift, announced=False, announced_until=now) if drift.announced else drift


def found_missed(drift: Drift, now: float) -> tuple[Drift, bool]:
    """Whether a change is still unexplained after its grace; it is told once."""
    missed = drift.changed_at is not None and now >= drift.changed_at + GRACE
    return (replace(drift, changed_at=None) if missed else drift), missed


def wake_at(drift: Drift) -> float | None:
    """When to ask `found_missed` again."""
    return None if drift.changed_at is None else drift.changed_at + GRACE


class TokenFile:
    """The token that this boot last heard: a migration while no handler runs is found by the next one."""

    def __init__(self, state_dir: Path, boot_id: str) -> None:
        self._path = state_dir / "drift-token.json"
        self._boot_id = boot_id

    def read(self) -> str | None:
        """The token, None when there is none of this boot."""
        try:
            raw = json.loads(read_own(self._path))
            return str(raw["token"]) if raw["boot_id"] == self._boot_id else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            # Without it a migration in between goes unseen; that is no reason not to watch.
            return None

    def write(self, token: str) -> None:
        """Raises OSError."""
        write_whole(self._path, json.dumps({"boot_id": self._boot_id, "token": token}).encode())
