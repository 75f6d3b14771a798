# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A semaphore in a store that can change a few keys atomically.

Each holder has a key of its own, named by its id, so that taking a slot can be repeated, and nobody can free a slot by
mistake that another id holds. The key depends on a lease: it vanishes if the holder does not renew it. A slot is taken
only if no other has been taken since the holders were counted, and freed only if it is still the one that was read. So
there are never more holders than slots, also while VMs have different numbers of slots or clocks.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Protocol

from fleet_limit.answer import DENIED, HELD, OK, RELEASED, Answer, Holder, line
from fleet_limit.question import ACQUIRE, CHECK, HOLDERS, RENEW, UNLOCK, Question

# Seconds between two tries. Each failed try means that another VM has succeeded.
_PAUSE = 0.05
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Held:
    """A slot that is held. `slots` is the limit that its VM was given, None if unknown.

    `version` changes whenever the key is written. `lease` is "" if the key depends on none.
    """

    holder: Holder
    slots: int | None
    version: int
    lease: str


@dataclass(frozen=True)
class Seen:
    """All slots that are held. `version` is at least that of each slot taken so far."""

    held: tuple[Held, ...]
    version: int

    def by(self, name: str) -> Held | None:
        return next((one for one in self.held if one.holder.id == name), None)


class Store(Protocol):
    """The operations return False if something has changed since it was read. They raise `Refusal`."""

    def check(self) -> None:
        """Raise `Refusal` if a right is missing. Leaves nothing behind."""

    def read(self) -> Seen:
        """Read the slots that are held."""

    def add(self, name: str, text: str, seen: Seen) -> bool:
        """Take a slot, if none was taken since."""

    def replace(self, held: Held, text: str) -> bool:
        """Write the key of a slot anew, and prolong its lease."""

    def prolong(self, held: Held) -> bool:
        """Prolong the lease of a slot."""

    def remove(self, held: Held) -> bool:
        """Give back a slot."""

    def close(self) -> None:
        """Give back a lease that was not needed, if possible."""


def answered(question: Question, store: Store, sleep: Callable[[float], None] = time.sleep) -> Answer:
    """Answer a question. Raises `Refusal`, `Unreachable` if it takes too long."""
    try:
        if question.verb == CHECK:
            store.check()
        while True:
            seen = store.read()
            if question.verb in (CHECK, HOLDERS):
                return _answer(OK, f"{_count(question, seen)}, by {_holders(seen)}", question, seen)
            answer = (_taken if question.verb in (ACQUIRE, RENEW) else _freed)(question, store, seen)
            if answer is not None:
                return answer
            # Jitter separates VMs that begin at the same time.
            sleep(_PAUSE * (1 + random.random()))
    finally:
        store.close()


def held_from(name: str, text: bytes, version: int, lease: str) -> Held:
    """A slot from the store. Whatever its text is, the slot is held."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    value = value if isinstance(value, dict) else {}
    slots = value.get("slots")
    holder = Holder(line(name), _text_of(value.get("reason")), _text_of(value.get("since")))
    return Held(holder, slots if isinstance(slots, int) and not isinstance(slots, bool) else None, version, lease)


def _taken(question: Question, store: Store, seen: Seen) -> Answer | None:
    own = seen.by(question.id)
    if own is not None:
        now = seen if _kept(question, store, own) else None
    elif len(seen.held) >= question.limit["slots"]:
        return _answer(DENIED, f"no slot is free: {_count(question, seen)}, by {_holders(seen)}", question, seen)
    else:
        now = _with_new(question, store, seen)
    if now is None:
        return None
    return _answer(HELD, f"{question.id} holds a slot: {_count(question, now)}", question, now)


def _kept(question: Question, store: Store, own: Held) -> bool:
    if question.verb == RENEW and own.lease:
        return store.prolong(own)
    # A new version, so that a release that is still on its way does not free the slot.
    return store.replace(own, _text(question, own.holder.since))


def _with_new(question: Question, store: Store, seen: Seen) -> Seen | None:
    text = _text(question, None)
    if not store.add(question.id, text, seen):
        return None
    return Seen((*seen.held, held_from(question.id, text.encode(), seen.version, "")), seen.version)


def _freed(question: Question, store: Store, seen: Seen) -> Answer | None:
    own = seen.by(question.id)
    if own is None:
        return _answer(RELEASED, f"{question.id} holds no slot: {_count(question, seen)}", question, seen)
    if not store.remove(own):
        return None
    now = Seen(tuple(one for one in seen.held if one is not own), seen.version)
    verb = "freed by hand" if question.verb == UNLOCK else "given back"
    return _answer(RELEASED, f"the slot of {own.holder} is {verb}: {_count(question, now)}", question, now)


def _answer(outcome: str, detail: str, question: Question, seen: Seen) -> Answer:
    slots: int = question.limit["slots"]
    others = [f"{one.holder.id} has {one.slots}" for one in seen.held if one.slots not in (None, slots)]
    if others:
        detail += (
            f"; the VMs of the group do not have the same number of slots: this VM has {slots}, {', '.join(others)}"
        )
    return Answer(outcome, detail, tuple(one.holder for one in seen.held), slots)


def _count(question: Question, seen: Seen) -> str:
    verb = "is" if len(seen.held) == 1 else "are"
    return f"{len(seen.held)} of {question.limit['slots']} in group {question.limit['group']} {verb} held"


def _holders(seen: Seen) -> str:
    return ", ".join(str(one.holder) for one in seen.held) or "nobody"


def _text(question: Question, since: str | None) -> str:
    """The value of a holder's key. Each is different, because Consul gives an equal value no new version."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    value: dict[str, Any] = {
        "id": question.id,
        "reason": question.reason,
        "since": since or now,
        "slots": question.limit["slots"],
        "token": uuid.uuid4().hex,
    }
    return json.dumps(value)


def _text_of(value: Any) -> str | None:
    return line(value)[:_LONGEST_TEXT] if isinstance(value, str) else None
