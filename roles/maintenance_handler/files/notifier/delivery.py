# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery to one target: in order, with pauses that grow while it is not available, and an end."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from maintenance_handler._vm.backoff import backoff
from maintenance_handler.core.notice_document import document
from maintenance_handler.io.notice_queue import MOST, NoticeQueue
from notifier.backlog import Backlog
from notifier.outcome import Refused, Unavailable
from notifier.vm import Names

# Seconds. A receiver that was away for a minute is tried again within another one.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
# The most that a receiver can ask to wait.
LONGEST_RETRY_AFTER = 600.0
# A notice that is older than this is not worth sending, and must not keep newer ones waiting.
OLDEST = 86400.0
# An error in this program must not end the thread of a target, which nobody would notice.
_UNEXPECTED = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)


class Delivery:
    """The progress of one target. Numbers count since this process started."""

    def __init__(
        self,
        target: Mapping[str, Any],
        send: Callable[[Mapping[str, Any], Mapping[str, Any]], str],
        names: Names,
        queue: NoticeQueue,
        backlog: Backlog,
        clocks: Clocks,
    ) -> None:
        self.name: str = target["name"]
        self.sent = 0
        self.failed = 0
        # Why the last try has failed; empty after one that succeeded.
        self.problem = ""
        # Levels and texts. The service takes them, in another thread.
        self.log: deque[tuple[str, str]] = deque()
        self._target = target
        self._send = send
        self._names = names
        self._queue = queue
        self._backlog = backlog
        self._clocks = clocks
        self._again_at = 0.0
        self._pauses = self._fresh_pauses()
        self.done = self._read_done(target.get("after", 0))

    def pending(self) -> list[int]:
        """The numbers of the notices for this target that wait, oldest first."""
        kinds = self._target["on"]
        return [
            number
            for number, notice in sorted(self._backlog.notices.items())
            if number > self.done and notice["kind"] in kinds
        ]

    def step(self, hurry: bool = False) -> float | None:
        """Try to send the next notice. Returns the seconds until the next step; None if nothing is left.

        `hurry`: also before its time.
        """
        waiting = self.pending()
        if not waiting:
            self._skip_others()
            return None
        number, notice = waiting[0], self._backlog.notices[waiting[0]]
        names = self._names.of(notice["instance_id"])
        reason = self._reason_to_give_up(notice, len(waiting))
        if names is None or reason:
            reason = reason or f"it is from instance {notice['instance_id']}, of which this disk is a copy"
            self._give_up(number, notice, reason)
            return 0.0
        remaining = self._again_at - self._clocks.clock()
        if remaining > 0 and not hurry:
            return remaining
        try:
            said = self._send(self._target, document(notice, names))
        except Refused as exc:
            self._give_up(number, notice, str(exc))
        except Unavailable as exc:
            return self._pause(str(exc), exc.retry_after)
        except _UNEXPECTED as exc:
            # Its text may have a secret.
            return self._pause(f"unexpected {type(exc).__name__}", None)
        else:
            self.sent += 1
            level = "info" if self.problem else "debug"
            self.log.append((level, f"notify {self.name}: sent {notice['id']}: {said}"))
            self.problem = ""
            self._set_done(number)
        self._pauses, self._again_at = self._fresh_pauses(), 0.0
        return 0.0

    def _reason_to_give_up(self, notice: Mapping[str, Any], waiting: int) -> str:
        if self._clocks.wall() - notice["at"] > OLDEST:
            return f"it is older than {OLDEST / 3600:.0f} hours"
        return f"more than {MOST} are waiting" if waiting > MOST else ""

    def _give_up(self, number: int, notice: Mapping[str, Any], reason: str) -> None:
        self.failed += 1
        before = f"; before: {self.problem}" if self.problem and self.problem != reason else ""
        self.problem = f"gave up {notice['id']}: {reason}"
        self.log.append(("error", f"notify {self.name}: {self.problem}{before}"))
        self._set_done(number)

    def _pause(self, problem: str, retry_after: float | None) -> float:
        if not self.problem:
            self.log.append(("warning", f"notify {self.name}: {problem}; trying again"))
        self.problem = problem
        pause = max(next(self._pauses), min(retry_after or 0.0, LONGEST_RETRY_AFTER))
        self._again_at = self._clocks.clock() + pause
        return pause

    def _skip_others(self) -> None:
        """Be done also with the notices that are not for this target."""
        newest = max(self._backlog.notices, default=self.done)
        if newest > self.done:
            self._set_done(newest)

    def _set_done(self, number: int) -> None:
        self.done = number
        try:
            self._queue.set_done(self.name, number)
        except OSError as exc:
            # After a restart, it is sent twice.
            self.log.append(("warning", f"notify {self.name}: recording what is sent: {exc}"))

    def _read_done(self, default: int) -> int:
        try:
            done = self._queue.done(self.name)
        except OSError:
            done = None
        return default if done is None else done

    def _fresh_pauses(self) -> Iterator[float]:
        return backoff(FIRST_PAUSE, LONGEST_PAUSE, self._clocks.random)


class Clocks:
    """Time and chance."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        self.wall = wall
        self.random = chance
