# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the values of the watched keys mean: announcements, and migrations without notice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._vm.drift import Drift, found_missed, heard_announcement, heard_token, wake_at
from .._vm.maintenance import DRIFT_TOKEN_KEY, MAINTENANCE_EVENT_KEY
from ..core import announcements
from ..core.observations import Announced, Reading, with_shutdown

if TYPE_CHECKING:
    from .._vm.watch import Heard
    from ..core.incident import Moment
    from ..io.log import Log
    from .config import Config
    from .state_files import StateFiles


class Readings:
    """Reads values as observations.

    `preemption_notice` is that of the VM's scheduling, None if unknown. `off_at` is by when the machine is powered off,
    on the monotonic clock, once it is shutting down.
    """

    def __init__(self, files: StateFiles, log: Log) -> None:
        self.preemption_notice: float | None = None
        self.off_at: float | None = None
        self._files = files
        self._log = log
        self._drift = Drift(files.read_token())
        self._unknown_values: dict[str, str] = {}
        # The result of `notice`, which every answer needs, and what it is for.
        self._notice: Mapping[str, float] = {}
        self._notice_for: tuple[Config, float | None] | None = None

    def read(self, heard: Heard, now: Moment, config: Config) -> Reading | None:
        """The observation that a value means, None if it means nothing by itself."""
        if heard.key == DRIFT_TOKEN_KEY:
            self._take_token(heard)
            return None
        reading = announcements.read(heard.key, heard.value, now, self.notice(config), config.unknown_event)
        if isinstance(reading, Announced) and self.off_at is not None:
            reading = Announced(with_shutdown(reading.signal, self.off_at))
        self._log_unknown(heard, reading)
        if heard.key == MAINTENANCE_EVENT_KEY:
            self._drift = heard_announcement(self._drift, isinstance(reading, Announced), heard.clock)
        return reading

    def missed(self, now: Moment) -> Reading | None:
        """The observation of a migration without notice; once."""
        self._drift, is_missed = found_missed(self._drift, now.clock)
        return announcements.missed(now) if is_missed else None

    def next_time(self) -> float | None:
        """When to call `missed` again."""
        return wake_at(self._drift)

    def notice(self, config: Config) -> Mapping[str, float]:
        """Seconds of notice that each event is assumed to have."""
        if self._notice_for != (config, self.preemption_notice):
            self._notice_for = (config, self.preemption_notice)
            assumed = config.assumed_notice(self.preemption_notice)
            self._notice = {event: notice.seconds for event, notice in assumed.items()}
        return self._notice

    def _take_token(self, heard: Heard) -> None:
        if heard.value is None:
            return
        token = str(heard.value)
        is_new = token != self._drift.token
        self._drift = heard_token(self._drift, token, heard.clock)
        if is_new:
            self._files.keep_token(token)

    def _log_unknown(self, heard: Heard, reading: Reading) -> None:
        """Log an unknown value once for each announcement, because tasks only get the name of the event."""
        value = str(heard.value)[:100]
        if not isinstance(reading, Announced) or reading.signal.value != reading.signal.event:
            self._unknown_values.pop(heard.key, None)
        elif self._unknown_values.get(heard.key) != value:
            self._unknown_values[heard.key] = value
            self._log.warning(f"{heard.key} is {value!r}, which is unknown: handled as {reading.signal.event}")
