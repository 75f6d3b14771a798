# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notifications of people: what happens becomes notices in a queue, from which a separate process sends them.

The code for it is loaded only if there are targets, to save memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..core.incident import Incident, Moment
    from .config import Config

    # Calls its argument once everything that was written before is on disk.
    AfterJournal = Callable[[Callable[[], None]], None]


class Notifications:
    """What the handler reports here. This class notifies nobody; `for_config` returns one that does, if it should.

    No method blocks, except `finish`.
    """

    def for_config(self, config: Config, post: Callable[[Any], None], after_journal: AfterJournal) -> Notifications:
        """The notifications for a configuration that is now in force."""
        if not config.notify:
            return self
        from .queued_notifications import QueuedNotifications

        return QueuedNotifications(config, post, after_journal)

    def changed(self, before: Incident | None, after: Incident | None, now: Moment) -> None:
        """The open incident has changed. Its end is reported by `closed`."""

    def resumed(self, incident: Incident, now: Moment) -> None:
        """An incident of the last handler is resumed, which may not have queued all notices of it."""

    def closed(self, document: Mapping[str, Any], now: Moment) -> None:
        """An incident (of `public.recorded`) is closed."""

    def closed_earlier(self, document: Mapping[str, Any]) -> None:
        """The newest incident in the history. The last handler may have died before it queued that it is closed."""

    def limit_exceeded(self, incident: Incident, reason: str, now: Moment) -> None:
        """The VM drains although the fleet limit has no slot for it. `reason`: without a period at its end.

        Queues one notice for each announcement, however often this is called.
        """

    def instance_read(self, instance_id: str) -> None:
        """The metadata server has told which instance this is."""

    def queue_read(self, known: list[str], now: Moment) -> None:
        """The queue of the last handler had notices with these ids, oldest first."""

    def look(self, last_good: Mapping[str, float | None], bound: float, now: Moment) -> None:
        """Look whether a key of the metadata server has not been answered for more than `bound` seconds.

        `last_good`: when each was answered last, on the monotonic clock.
        """

    def next_time(self, last_good: Mapping[str, float | None], bound: float) -> float | None:
        """When a key that has not been answered since the start counts as silent."""
        return None

    def stop(self) -> None:
        """The handler ends: queue what is left, and try once more to send it."""

    def finish(self) -> None:
        """Wait for that, for a limited time."""
