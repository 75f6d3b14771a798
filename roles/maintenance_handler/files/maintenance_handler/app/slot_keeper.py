# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the store of the fleet limit for a slot while the incident wants one, and gives it back afterwards.

Imported only if a limit is configured. One question is asked at a time, in a thread; nothing here blocks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Callable

from .._vm.backoff import backoff
from .._vm.records import dataclass, replace
from ..core.fleet_limit import ANSWER, FleetLimit
from ..core.incident import Incident
from ..core.observations import DENIED, HELD, INVALID, RELEASED, UNREACHABLE, Observation, SlotAnswered, SlotExpired
from ..io.fleet_limit import ACQUIRE, PATIENCE, RELEASE, RENEW, UNLOCK, Ledger, Question, ask

if TYPE_CHECKING:
    from pathlib import Path

    from ..io.log import Log
    from ..io.pool import Pool

# Seconds between questions: while tasks wait, while the VM is drained without a slot, and until a slot is given back.
FIRST, LONGEST_WAIT = 1.0, 10.0
DRAINED_WITHOUT = 30.0
LONGEST_RELEASE = 60.0
# The share of the time to live after which a slot is renewed.
RENEW_SHARE = 1 / 3
# Seconds after which a question counts as lost, because its process could not even be started or killed.
LOST_AFTER = 2 * PATIENCE + 4.0


@dataclass
class _Asked:
    """The question that is open, asked at this time on the clock."""

    question: Question
    at: float
    # Of a request to unlock.
    then: Callable[[SlotAnswered], None] | None = None


class SlotKeeper:
    """The slot of this VM."""

    def __init__(
        self,
        limit: FleetLimit,
        state_dir: Path,
        log: Log,
        *,
        pool: Pool,
        post: Callable[[SlotAnswered], None],
    ) -> None:
        self.limit = limit
        self._log = log
        self._pool = pool
        self._post = post
        self._ledger = Ledger(state_dir)
        # With which id and state a slot may be held.
        self._may_hold = self._ledger.read()
        # `zone/name/instance id`, once the metadata server has told.
        self.vm_id = ""
        self._number = 0
        self._asked: _Asked | None = None
        self._unlocks: list[tuple[str, Callable[[SlotAnswered], None]]] = []
        self._asked_at = float("-inf")
        self._next_at = 0.0
        self._renewed_at = 0.0
        # Since when a slot is wanted, but not which VM this is.
        self._nameless_since = float("inf")
        self._is_held = False
        # The store's last word is that this VM holds none. It may have to forget something else, such as a session.
        self._is_denied = False
        self._pauses = self._new_pauses(LONGEST_WAIT)
        self._was_wanted = False

    def named(self, vm_id: str) -> None:
        """The metadata server has told which VM this is. The image of another VM may hold that one's record."""
        self.vm_id, self._next_at = vm_id, 0.0
        if self._may_hold is not None and self._may_hold[0] != vm_id:
            self._log.warning(f"the slot of {self._may_hold[0]} is not that of this VM")
            self._may_hold = None
            self._ledger.clear()

    def configured(self, limit: FleetLimit) -> None:
        """Other settings are in force. A slot of another group or store is left to expire."""
        if limit.options != self.limit.options and self._is_held:
            self._log.warning("the fleet limit has changed while a slot is held: the old one is left to expire")
            self._is_held = False
        self.limit = limit
        self._next_at = 0.0

    def unlock(self, holder: str, then: Callable[[SlotAnswered], None]) -> None:
        """Free the slot of another VM, and call `then` in the loop."""
        self._unlocks.append((holder, then))

    def consider(self, incident: Incident | None, now: float) -> Observation | None:
        """Ask what is due. Returns what is known without asking."""
        slot = incident.slot if incident is not None else None
        is_wanted = slot is not None and slot.is_wanted
        if is_wanted != self._was_wanted:
            self._was_wanted = is_wanted
            self._pauses = self._new_pauses(LONGEST_WAIT if is_wanted else LONGEST_RELEASE)
            self._next_at = now
        if self._asked is not None and now >= self._asked.at + LOST_AFTER:
            return self._lost()
        if self._asked is not None:
            return None
        if self._unlocks:
            holder, then = self._unlocks.pop(0)
            self._ask(UNLOCK, now, holder=holder, then=then)
        elif slot is not None and is_wanted:
            if self._is_held and slot.is_held and now >= self._renewed_at + self.limit.ttl:
                self._is_held = False
                return SlotExpired(f"the store has not been reached for {self.limit.ttl:g} s")
            # A handler that was restarted asks anew.
            self._is_held = self._is_held and slot.is_held
            is_new = not slot.is_open and slot.fresh > self._asked_at
            if now >= self._next_at or is_new or self._is_last_chance(slot.until, now):
                return self._ask_for_slot(slot.event, now)
        elif self._may_hold is not None and self.vm_id and now >= self._next_at:
            self._is_held = False
            self._ask(RELEASE, now)
        return None

    def next_time(self, incident: Incident | None) -> float | None:
        """When to consider again."""
        if self._asked is not None:
            return self._asked.at + LOST_AFTER
        slot = incident.slot if incident is not None else None
        if slot is not None and slot.is_wanted:
            chance = None if slot.until is None else slot.until - ANSWER
            return min(self._next_at, chance) if chance is not None and chance > self._asked_at else self._next_at
        return self._next_at if self._may_hold is not None and self.vm_id else None

    def answered(self, answer: SlotAnswered, now: float, is_drained: bool) -> SlotAnswered | None:
        """Take an answer over. Returns it if it is about this VM's slot."""
        asked = self._asked
        if asked is None or answer.number != asked.question.number:
            # It was given up.
            return None
        self._asked = None
        if asked.then is not None:
            asked.then(answer)
            return None
        verb = asked.question.verb
        if verb == RELEASE:
            self._next_at = now + next(self._pauses)
            if answer.outcome in (RELEASED, DENIED, INVALID):
                self._may_hold = None
                self._log_release(answer)
            return None
        self._may_hold = (self.vm_id, dict(answer.state))
        self._is_denied = answer.outcome == DENIED
        if asked.question.limit != self.limit.options:
            # It is about a slot of another group or store, which is left to expire.
            self._next_at = now
            return None
        if answer.outcome == HELD:
            # From the time of the question: the store counts from then.
            self._is_held, self._renewed_at = True, asked.at
            self._pauses = self._new_pauses(LONGEST_WAIT)
            self._next_at = asked.at + RENEW_SHARE * self.limit.ttl
        elif answer.outcome == DENIED or not self._is_held:
            self._is_held = False
            self._next_at = now + (DRAINED_WITHOUT if is_drained else next(self._pauses))
        else:
            self._next_at = now + next(self._pauses)
        if not self._was_wanted:
            # To give it back.
            self._next_at = now
        return answer

    def document(self) -> dict[str, object]:
        """For the status."""
        return {
            "backend": self.limit.backend,
            "group": self.limit.group,
            "id": self.vm_id,
            "may_hold": self._may_hold is not None and not self._is_denied,
        }

    def _is_last_chance(self, until: float | None, now: float) -> bool:
        """Whether a slot is asked for once more before the tasks go ahead without one."""
        return until is not None and self._asked_at < until - ANSWER <= now

    def _ask_for_slot(self, event: str, now: float) -> Observation | None:
        if not self.vm_id:
            self._asked_at, self._next_at = now, now + FIRST
            self._nameless_since = min(self._nameless_since, now)
            if now < self._nameless_since + PATIENCE:
                return None
            return SlotAnswered(0, UNREACHABLE, "the metadata server has not told yet which VM this is")
        self._ask(RENEW if self._is_held else ACQUIRE, now, reason=event)
        return None

    def _ask(
        self,
        verb: str,
        now: float,
        *,
        holder: str = "",
        reason: str = "",
        then: Callable[[SlotAnswered], None] | None = None,
    ) -> None:
        self._number += 1
        state = self._may_hold[1] if self._may_hold is not None else {}
        question = Question(self._number, verb, self.limit.options, holder or self.vm_id, reason, state)
        self._asked = _Asked(question, now, then)
        self._asked_at = now if verb in (ACQUIRE, RENEW) else self._asked_at
        self._pool.do(partial(_asked_in_thread, question, self._ledger, self._post))

    def _log_release(self, answer: SlotAnswered) -> None:
        if self._is_denied:
            return
        if answer.outcome == RELEASED:
            self._log.info("the slot of the fleet limit is given back")
        else:
            self._log.warning(f"the store does not take the slot of the fleet limit back: {answer.detail}")

    def _lost(self) -> Observation | None:
        asked = self._asked
        if asked is None:
            return None
        lost = SlotAnswered(asked.question.number, UNREACHABLE, "the program that asks the store hangs")
        return self.answered(lost, asked.at + LOST_AFTER, is_drained=False)

    def _new_pauses(self, longest: float) -> Iterator[float]:
        return backoff(FIRST, longest, random.random)


def _asked_in_thread(question: Question, ledger: Ledger, post: Callable[[SlotAnswered], None]) -> None:
    is_mine = question.verb in (ACQUIRE, RENEW)
    if question.verb == ACQUIRE:
        # Before the store can give it: a slot that nobody knows of would stay taken.
        ledger.write(question.id, question.state)
    answer = ask(question)
    if is_mine and answer.state != question.state:
        ledger.write(question.id, answer.state)
    if question.verb == RELEASE and answer.outcome in (RELEASED, DENIED, INVALID):
        ledger.clear()
    post(replace(answer, number=question.number))
