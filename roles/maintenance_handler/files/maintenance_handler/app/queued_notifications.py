# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notifications for a configuration with targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

from ..core import notices
from ..core.timeline import ended_at
from ..io.outbox import Outbox
from .figures import went_ahead
from .notifications import Notifications

if TYPE_CHECKING:
    from ..core.incident import Incident, Moment
    from ..core.notices import Notice
    from .config import Config
    from .notifications import AfterJournal

# Seconds of a stop that the notifier has to try once more what is queued. The network stays up until the handler has
# stopped (After=network.target), and then systemd kills the notifier with the rest of the control group. What cannot be
# sent in this time stays in the queue, and is sent after the boot.
LAST_TRY = 5.0


class QueuedNotifications(Notifications):
    """Queues notices for the notifier."""

    def __init__(self, config: Config, post: Callable[[Any], None], after_journal: AfterJournal) -> None:
        self._outbox = Outbox(config.state_dir, post)
        # A notice of an incident that is not in the journal would never be followed by `restored`.
        self._after_journal = after_journal
        self._instance_id: str | None = None
        self._began: float | None = None
        # Since when the metadata server has not answered (epoch seconds), if that was notified.
        self._blind_since: float | None = None
        self._settings: dict[str, Any] = {}
        self._configure(config)

    def for_config(self, config: Config, post: Callable[[Any], None], after_journal: AfterJournal) -> Notifications:
        if not config.notify:
            self._outbox.stop()
            return Notifications()
        self._configure(config)
        return self

    def changed(self, before: Incident | None, after: Incident | None, now: Moment) -> None:
        if after is not None:
            for notice in notices.changes(before, after, now):
                self._queue(notice)
            for entry in went_ahead(before, after):
                self.limit_exceeded(after, entry.detail, now)

    def resumed(self, incident: Incident, now: Moment) -> None:
        for notice in notices.current(incident, now):
            self._queue_unless_repeated(notice)

    def closed(self, document: Mapping[str, Any], now: Moment) -> None:
        self._queue(notices.restored(document, now.at))

    def closed_earlier(self, document: Mapping[str, Any]) -> None:
        identity = document["id"]
        notice = self._document(notices.restored(document, ended_at(document)))
        self._outbox.put(notice, lambda known: notices.is_left_open(identity, known))

    def limit_exceeded(self, incident: Incident, reason: str, now: Moment) -> None:
        self._queue_unless_repeated(notices.limit_exceeded(incident, reason, now))

    def instance_read(self, instance_id: str) -> None:
        self._instance_id = instance_id

    def queue_read(self, known: list[str], now: Moment) -> None:
        if self._blind_since is None and notices.is_blind_after(known):
            self._blind_since = now.at

    def look(self, last_good: Mapping[str, float | None], bound: float, now: Moment) -> None:
        self._began = now.clock if self._began is None else self._began
        silent_for = now.clock - min(self._began if at is None else at for at in last_good.values())
        if silent_for > bound:
            if self._blind_since is None:
                self._blind_since = now.at - silent_for
                self._queue(notices.blind(self._blind_since, now))
        elif self._blind_since is not None and None not in last_good.values():
            self._queue(notices.seeing(self._blind_since, now))
            self._blind_since = None

    def next_time(self, last_good: Mapping[str, float | None], bound: float) -> float | None:
        if self._began is None or self._blind_since is not None or None not in last_good.values():
            return None
        return self._began + bound + 0.01

    def stop(self) -> None:
        self._outbox.stop()

    def finish(self) -> None:
        self._outbox.wait(LAST_TRY)

    def _configure(self, config: Config) -> None:
        settings = {"targets": list(config.notify), "metadata_host": config.metadata_host}
        if settings != self._settings:
            self._settings = settings
            self._outbox.configure(settings)

    def _queue(self, notice: Notice) -> None:
        document = self._document(notice)
        self._after_journal(lambda: self._outbox.put(document))

    def _queue_unless_repeated(self, notice: Notice) -> None:
        document = self._document(notice)
        self._after_journal(lambda: self._outbox.put(document, lambda known: not notices.is_repeated(document, known)))

    def _document(self, notice: Notice) -> dict[str, Any]:
        # The notices of a disk that is copied are not sent by the other VM.
        return {**notice.to_dict(), "instance_id": self._instance_id}
