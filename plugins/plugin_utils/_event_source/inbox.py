# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages from threads to an event loop.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any, Generic, TypeVar

from .plain_text import plain

_Message = TypeVar("_Message")

# A rulebook whose actions hang takes no events for long. Beyond this, the oldest messages are dropped.
CAPACITY = 1000


class Inbox(Generic[_Message]):
    """`post` is called in any thread, `get` in the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._messages: deque[_Message] = deque(maxlen=CAPACITY)
        self._lock = threading.Lock()
        self._arrived = asyncio.Event()

    def post(self, message: _Message) -> None:
        with self._lock:
            self._messages.append(message)
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:
            return  # the loop is closed: the rulebook has ended

    async def get(self, timeout: float) -> _Message | None:
        """The next message; None after the timeout, in seconds."""
        with self._lock:
            if self._messages:
                return self._messages.popleft()
            self._arrived.clear()
        # Not wait_for: before Python 3.12, it can swallow the cancellation of the source.
        timer = self._loop.call_later(timeout, self._arrived.set)
        try:
            await self._arrived.wait()
        finally:
            timer.cancel()
        with self._lock:
            return self._messages.popleft() if self._messages else None


async def pass_on(queue: Any, event: dict[str, Any]) -> None:
    """Give an event to the rulebook, which may take its time."""
    await queue.put(plain(event))
    # The queue of ansible-rulebook has one place. Let it take the event.
    await asyncio.sleep(0)
