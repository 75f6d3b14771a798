# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An incident's slot of the limit across the fleet. Pure. Imported only if a limit is configured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .._vm.records import dataclass, replace
from .checked import checked
from .incident import Moment
from .observations import DENIED, HELD, UNUSABLE, SlotAnswered

# What happens to a slot.
TAKEN = "slot taken"
REFUSED = "no slot is free"
AWAY = "the store of the fleet limit does not answer"
EXCEEDED = "goes ahead without a slot"
LOST = "slot lost"
GIVEN_BACK = "slot given back"

MOST_ENTRIES = 40


@dataclass(frozen=True)
class Holder:
    """A VM that holds a slot, according to the store. `since` is the store's text."""

    id: str
    reason: str = ""
    since: str = ""

    def __str__(self) -> str:
        return f"{self.id} ({self.reason})" if self.reason else self.id


@dataclass(frozen=True)
class Entry:
    """Something that happened to the slot, at `at` in epoch seconds."""

    at: float
    what: str
    event: str
    detail: str = ""

    @property
    def is_excess(self) -> bool:
        """Whether tasks are drained without a slot from then on."""
        return self.what == EXCEEDED

    @property
    def level(self) -> str:
        """For the log."""
        return "info" if self.what in (TAKEN, REFUSED, GIVEN_BACK) else "warning"


@dataclass(frozen=True)
class Slot:
    """What is known of an incident's slot.

    It is wanted from the first task that waits for one until everything is restored. While it `is_open`, tasks start
    without waiting: because the slot is held, or because the handler went ahead without one.
    """

    since: Moment
    event: str
    is_wanted: bool = True
    is_open: bool = False
    is_held: bool = False
    # The tasks that wait, since when the last of them does, and when the first goes ahead without a slot.
    waiting: tuple[str, ...] = ()
    fresh: float = 0.0
    until: float | None = None
    # The last answer of the store, and since when there has been none that can be used.
    outcome: str = ""
    detail: str = ""
    holders: tuple[Holder, ...] = ()
    answered: float | None = None
    away_since: float | None = None
    entries: tuple[Entry, ...] = ()

    @property
    def exceeded(self) -> bool:
        """Whether tasks are drained without a slot."""
        return self.is_wanted and self.is_open and not self.is_held

    def noted(self, now: Moment, what: str, detail: str = "", event: str = "") -> Slot:
        """With an entry about what happens now."""
        entries = (*self.entries, Entry(now.at, what, event or self.event, detail))
        return replace(self, entries=entries[-MOST_ENTRIES:])

    def after(self, answer: SlotAnswered, now: Moment) -> Slot:
        """After an answer of the store."""
        if not self.is_wanted:
            return self
        if answer.outcome in UNUSABLE:
            return self._unanswered(answer, now)
        holders = tuple(Holder(**holder) for holder in answer.holders)
        slot = replace(self, answered=now.clock, away_since=None, holders=holders, detail=answer.detail)
        if answer.outcome == HELD:
            held = replace(slot, is_held=True, is_open=True, outcome=HELD)
            # The renewals are of no interest.
            return replace(self, away_since=None, outcome=HELD) if self.is_held else held.noted(now, TAKEN)
        if self.is_held:
            return replace(slot, is_held=False, outcome=DENIED).noted(now, LOST, answer.detail)
        slot = replace(slot, outcome=DENIED)
        return slot if self.outcome == DENIED else slot.noted(now, REFUSED, named(holders) or answer.detail)

    def _unanswered(self, answer: SlotAnswered, now: Moment) -> Slot:
        slot = replace(self, outcome=answer.outcome, detail=answer.detail, answered=now.clock)
        if self.away_since is not None:
            return slot
        return replace(slot, away_since=now.clock).noted(now, AWAY, answer.detail)

    def expired(self, now: Moment, detail: str) -> Slot:
        """After the time in which the store keeps it for a handler that it does not hear from."""
        return replace(self, is_held=False).noted(now, LOST, detail) if self.is_held else self

    def unwanted(self) -> Slot:
        """When nothing is drained or waits, or there is no limit any more."""
        return replace(self, is_wanted=False, is_open=False, is_held=False, waiting=(), until=None)

    def carried(self, carry: Callable[[Moment], Moment], now: Moment, is_drained: bool) -> Slot:
        """As the next handler resumes it: it asks for the slot again, and does not wait if something is drained."""
        shift = carry(self.since).clock - self.since.clock
        return replace(
            self,
            since=carry(self.since) if is_drained else now,
            is_open=self.is_open and is_drained,
            is_held=False,
            waiting=(),
            fresh=now.clock,
            until=None if self.until is None else self.until + shift,
            outcome="",
            detail="",
            holders=(),
            answered=None,
            away_since=None,
        )

    def public(self, now: Moment) -> dict[str, Any]:
        """For the status and the history."""
        return {
            "wanted": self.is_wanted,
            "held": self.is_held,
            "exceeded": self.exceeded,
            "since": self.since.at,
            "event": self.event,
            "waiting": list(self.waiting),
            "until": None if self.until is None else round(now.at + self.until - now.clock, 3),
            "outcome": self.outcome,
            "detail": self.detail,
            "holders": [dict(vars(holder)) for holder in self.holders],
            "entries": [dict(vars(entry)) for entry in self.entries],
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for the journal."""
        return {
            **vars(self),
            "since": vars(self.since),
            "holders": [vars(holder) for holder in self.holders],
            "entries": [vars(entry) for entry in self.entries],
        }


def slot_from_dict(raw: Any) -> Slot:
    """The slot of `to_dict`. Raises KeyError, TypeError or ValueError for anything else."""
    read: Mapping[str, Any] = checked(Slot, raw)
    records = {
        "since": Moment(**checked(Moment, read["since"])),
        "waiting": tuple(read["waiting"]),
        "holders": tuple(Holder(**checked(Holder, holder)) for holder in read["holders"]),
        "entries": tuple(Entry(**checked(Entry, entry)) for entry in read["entries"]),
    }
    return Slot(**{**read, **records})


def named(holders: tuple[Holder, ...]) -> str:
    """Who holds the slots, in words; empty if that is unknown."""
    return f"held by {', '.join(map(str, holders))}" if holders else ""
