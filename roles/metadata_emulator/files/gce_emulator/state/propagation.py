# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom metadata that the Compute API writes, and that guests see at once or after a delay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from .clock import Clock, Timer


class PropagatedMetadata:
    """The custom metadata of an instance, a zone or the project, as the API has it."""

    def __init__(
        self, clock: Clock, seen: Callable[[], Mapping[str, str]], show: Callable[[Mapping[str, str]], None]
    ) -> None:
        """`seen` returns what guests see, `show` changes it."""
        self._clock = clock
        self._seen = seen
        self._show = show
        # Written, but not yet visible to guests.
        self._written: Mapping[str, str] | None = None
        self._timer: Timer | None = None
        # The number of writes: part of the fingerprint, which changes with each.
        self.writes = 0

    @property
    def attributes(self) -> dict[str, str]:
        """A copy."""
        return dict(self._seen() if self._written is None else self._written)

    def write(self, attributes: Mapping[str, str], delay: float = 0.0) -> None:
        """Replace all of it. Guests see the change `delay` platform seconds later, or at the next write."""
        self.settle()
        self.writes += 1
        self._written = dict(attributes)
        if delay > 0:
            self._timer = self._clock.call_later(delay, self.settle)
        else:
            self.settle()

    def settle(self) -> None:
        """Make the last write visible to guests."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        written, self._written = self._written, None
        if written is not None:
            self._show(written)
