# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limited runs: `maxRunDuration` and `terminationTime` stop or delete a VM, after its graceful shutdown."""

from __future__ import annotations

import asyncio
import datetime

from ..state import scheduling
from ..state.instance import Instance
from ..state.project import Project
from . import power


class RunLimits:
    """Timers of the VMs that have a limit. `arrange` is called after each change of scheduling."""

    def __init__(self, project: Project) -> None:
        project.on_reset(self._cancel_all)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._watched: set[str] = set()

    def arrange(self, instance: Instance) -> None:
        """Set the timer for the limit in the VM's scheduling, now and after each boot."""
        self._cancel(instance)
        if instance.name not in self._watched:
            self._watched.add(instance.name)
            instance.on_power(lambda: self.arrange(instance))
        clock, wanted = instance.clock, instance.more_scheduling
        end = scheduling.termination_time(wanted, instance.started, clock.speed)
        if end is not None and instance.is_up:
            graceful = clock.real_seconds(scheduling.graceful_shutdown(wanted))
            start = end - datetime.timedelta(seconds=graceful)
            self._timers[instance.name] = clock.call_at(start, self._stop, instance)

    def _cancel(self, instance: Instance) -> None:
        timer = self._timers.pop(instance.name, None)
        if timer is not None:
            timer.cancel()

    def _cancel_all(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _stop(self, instance: Instance) -> None:
        if instance.status == "RUNNING":
            action = instance.more_scheduling.get("instanceTerminationAction")
            power.stop(instance, target="DELETED" if action == "DELETE" else "STOPPED")
