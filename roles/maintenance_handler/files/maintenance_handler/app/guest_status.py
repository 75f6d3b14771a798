# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status in the guest attribute: written when it changes, and at regular intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Callable

from .. import __version__
from .._vm.maintenance import format_time
from ..core.incident import Incident, Moment, held, not_restored
from ..core.last_incident import last_incident
from ..core.public import order_document
from ..io.publish import Publisher
from .config import Config
from .figures import is_rehearsed

# The state of a handler that has stopped, and the seconds that writing it may delay a shutdown.
STOPPED = "stopped"
GOODBYE = 1.0


class GuestStatus:
    """What the guest attribute contains. `on_published` is called with the result of each write."""

    def __init__(self, config: Config, on_published: Callable[[str], None]) -> None:
        self._every = config.guest_attributes_every
        self._publisher = Publisher(config.metadata_host, on_published)
        self._last_incident: dict[str, Any] | None = None
        # On the monotonic clock.
        self._offered_at: float | None = None
        self._has_changed = False

    def start(self) -> None:
        self._publisher.start()

    def configured(self, config: Config) -> None:
        self._every = config.guest_attributes_every

    def closed(self, document: Mapping[str, Any]) -> None:
        """An incident (of `public.recorded`) is closed."""
        self._last_incident = last_incident(document)

    def closed_earlier(self, document: Mapping[str, Any]) -> None:
        """The last incident in the history. One that was closed meanwhile is newer."""
        if self._last_incident is None:
            self.closed(document)
            self._has_changed = True

    def next_time(self) -> float | None:
        """When it is due to be written again, although the state is the same."""
        return None if self._offered_at is None else self._offered_at + (0.0 if self._has_changed else self._every)

    def is_due(self, clock: float) -> bool:
        due_at = self.next_time()
        return due_at is not None and clock >= due_at

    def offer(self, incident: Incident | None, state: str, now: Moment) -> None:
        """Have this status written. Never blocks."""
        self._offered_at, self._has_changed = now.clock, False
        self._publisher.offer(self._text(incident, state, now))

    def finish(self, incident: Incident | None, now: Moment) -> None:
        """Write that the handler has stopped."""
        self._publisher.finish(self._text(incident, STOPPED, now), GOODBYE)

    def _text(self, incident: Incident | None, state: str, now: Moment) -> str:
        hold = incident.hold if incident and incident.is_held else None
        by_hand = incident.by_hand() if incident else None
        document = {
            "state": state,
            "rehearsal": incident is not None and is_rehearsed(incident),
            "events": [one.event for one in incident.signals] if incident else [],
            "deadlines": _deadlines(incident, now) if incident else {},
            "held": list(held(incident)) if incident else [],
            "order": order_document(by_hand.order, now) if by_hand else None,
            "hold": {"by": hold.by, "reason": hold.reason, "at": hold.at} if hold else None,
            "not_restored": [step.task for step in not_restored(incident)] if incident else [],
            "incident": incident.id if incident else None,
            "last_incident": self._last_incident,
            "at": format_time(now.at),
            "every": self._every,
            "version": __version__,
        }
        return json.dumps(document)


def _deadlines(incident: Incident, now: Moment) -> dict[str, int]:
    """When each announced event begins, if that is known, in epoch seconds."""
    return {
        one.event: round(now.at + one.deadline - now.clock)
        for one in incident.signals
        if one.deadline is not None and not one.rehearsal
    }
