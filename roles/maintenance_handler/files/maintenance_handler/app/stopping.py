# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stop of the handler, and of the VM once nothing is left to drain."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable

from .._vm.maintenance import PREEMPT, PREEMPTED_KEY
from ..core.announcements import SHUTDOWN_SECONDS
from ..core.incident import DRAINING, RESTORING, Incident
from ..core.power_off import stop_to_complete
from ..io import shutdown
from ..io.last_look import start_asking_systemd, start_looking
from ..io.systemctl import start_advising, start_power_off

if TYPE_CHECKING:
    from ..io.log import Log
    from .config import Config
    from .report import Reporter

# Seconds that the last checks for a preemption may delay a stop, unless the machine is shutting down.
LAST_LOOK = 1.0
# Seconds that a stop waits for the first check, and for systemd, which is busy at a shutdown, to say that it is none.
FIRST_ANSWERS = LAST_LOOK + shutdown.WITHIN

_CHECK, _SYSTEMD = "check", "systemd"


class Stop:
    """A stop of the handler: running steps end first, and a last check looks for a preemption.

    A second request leaves the running steps to the next handler.
    """

    def __init__(
        self,
        log: Log,
        reporter: Reporter,
        post: Callable[[Any], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests = 0
        self._log = log
        self._reporter = reporter
        self._post = post
        self._clock = clock
        self._stop_at = 0.0
        self._look_until = 0.0
        # Whose first answer the checks wait for, and until when.
        self._awaited: set[str] = set()
        self._await_until = 0.0

    def request(self, config: Config, incident: Incident | None, is_watching: bool) -> None:
        """systemd, or someone else, asks the handler to stop. `is_watching`: whether it watches for events."""
        self.requests += 1
        self._stop_at = self._clock() + config.stop_timeout
        self._reporter.stopping()
        if self.requests == 1:
            start_advising(self._log.warning)
            if is_watching:
                start_asking_systemd(self._post)
            if is_watching and not _is_in_flight(incident):
                self._look_last(config)
        if _is_in_flight(incident):
            self._log.warning("stopping after the running steps; stop again to leave them to the next handler")

    def looked(self, incident: Incident | None) -> None:
        """End the checks after the first on a VM that cannot be preempted, or is being preempted."""
        self._awaited.discard(_CHECK)
        is_preempted = incident is not None and any(one.source == PREEMPTED_KEY for one in incident.signals)
        if is_preempted or not self._can_be_preempted():
            self._look_until = self._clock()
            self._awaited.clear()

    def stays_up(self) -> None:
        """The machine is not shutting down as far as systemd tells."""
        self._awaited.discard(_SYSTEMD)

    def shutdown_began(self, stop_timeout: float, preemption_notice: float) -> None:
        """The machine is shutting down. The key of a preemption may change later, while the machine is still up."""
        if self._can_be_preempted() and self._looks_until() > self._clock():
            seconds = min(stop_timeout, preemption_notice, SHUTDOWN_SECONDS)
            self._look_until += seconds - LAST_LOOK
            self._log.info(f"the machine is shutting down: checking for a preemption for {seconds:.0f} s")
        self._awaited.discard(_SYSTEMD)

    def is_over(self, incident: Incident | None) -> bool:
        """Whether the handler ends now."""
        if self.requests == 0:
            return False
        if self.requests > 1 or self._clock() >= self._stop_at:
            return True
        return not _is_in_flight(incident) and self._clock() >= self._looks_until()

    def next_time(self, incident: Incident | None) -> float | None:
        """When the stop is over, if nothing happens until then."""
        if self.requests == 0:
            return None
        return self._stop_at if _is_in_flight(incident) else min(self._stop_at, self._looks_until())

    def _look_last(self, config: Config) -> None:
        """Check for a preemption: it shuts the system down, and its signal may arrive later."""
        if not any(PREEMPT in task.on for task in config.tasks):
            return
        self._look_until = self._clock() + LAST_LOOK
        self._awaited, self._await_until = {_CHECK, _SYSTEMD}, self._clock() + FIRST_ANSWERS
        start_looking(config.metadata_host, self._post)

    def _looks_until(self) -> float:
        return max(self._look_until, self._await_until) if self._awaited else self._look_until

    def _can_be_preempted(self) -> bool:
        return self._reporter.possible(PREEMPT) is not False


class PowerOff:
    """Powers the VM off once nothing is left to drain: until the end of its graceful shutdown, it is billed."""

    def __init__(self, log: Log) -> None:
        self._log = log
        # The announcement of the stop for which this handler powered off, so that it does so once.
        self._done_for = ""

    def complete_stop(self, incident: Incident | None) -> None:
        announcement = stop_to_complete(incident)
        if announcement and announcement != self._done_for:
            self._done_for = announcement
            self._log.warning("all tasks are drained: powering off, which completes the stop")
            start_power_off(lambda why: self._log.error(f"systemctl poweroff: {why}. The platform stops the VM later."))


def _is_in_flight(incident: Incident | None) -> bool:
    return incident is not None and incident.phase in (DRAINING, RESTORING)
