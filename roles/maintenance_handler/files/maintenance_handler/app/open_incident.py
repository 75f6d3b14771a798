# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The open incident: passes observations to the state machine, and carries out its actions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

from .._vm.records import dataclass, replace
from ..core.actions import Action, Close, End, Limit, Start
from ..core.incident import Incident, Moment
from ..core.machine import State, step
from ..core.narrate import narrate
from ..core.observations import RELEASED, Began, Observation, Reconfigured, SlotAnswered, Tick, recovered
from ..core.public import recorded
from ..io.launch import LATE, Launched
from .expressions import Conditions

if TYPE_CHECKING:
    from ..io.log import Log
    from ..io.request import Request
    from ..io.runner import Runner
    from .config import Config
    from .report import Reporter
    from .slot_keeper import SlotKeeper
    from .state_files import StateFiles

    NewKeeper = Callable[[Config], "SlotKeeper | None"]

# Seconds that started tasks get the processors before they are logged and reported: with two processors,
# the first line of a task comes a fifth sooner (bench/notice.py).
HEAD_START = 0.005


@dataclass(frozen=True)
class Changed:
    """An observation was taken. `after` is the open incident then, or `closed` the one that it closed.

    `document` is the closed one as `public.recorded`.
    """

    before: Incident | None
    after: Incident | None
    closed: Incident | None
    document: Mapping[str, Any] | None
    now: Moment


class OpenIncident:
    """The state of the handler, and its running steps. `on_change` is called after each observation."""

    def __init__(
        self,
        config: Config,
        runner: Runner,
        files: StateFiles,
        log: Log,
        on_change: Callable[[Changed], None],
        now: Callable[[], Moment],
    ) -> None:
        self._runner = runner
        self._files = files
        self._log = log
        self._on_change = on_change
        self._now = now
        self._conditions = Conditions(log)
        self._state = State(config.tasks, patience=config.patience, fleet_limit=config.fleet_limit)
        self._slots: SlotKeeper | None = None
        self._new_keeper: NewKeeper = lambda _config: None
        self._reporter: Reporter
        self._vm_id = ""

    @property
    def incident(self) -> Incident | None:
        """None if no incident is open."""
        return self._state.incident

    def observe(self, observation: Observation) -> None:
        """Decide what an observation requires, and do it."""
        before = self._state.incident
        now = self._now()
        self._state, actions = step(self._state, observation, now, self._conditions.applies)
        after = self._state.incident
        closed = next((action.incident for action in actions if isinstance(action, Close)), None)
        document = None if closed is None else recorded(closed, now)
        if document is not None:
            self._files.keep_incident(document)
        wait_for_journal = self._files.write_journal(after) if after != before else _is_written
        for action in actions:
            self._act(action, after, now, wait_for_journal)
        if any(isinstance(action, Start) for action in actions):
            time.sleep(HEAD_START)
        seen = after or closed
        if seen is not None:
            for level, text in narrate(before, seen, now):
                getattr(self._log, level)(text)
        self._on_change(Changed(before, after, closed, document, now))

    def keep_slots(self, config: Config, new_keeper: NewKeeper, reporter: Reporter) -> None:
        """Ask for slots of the fleet limit, if there is one."""
        self._new_keeper = new_keeper
        self._reporter = reporter
        self._limit(config)

    def named(self, vm_id: str) -> None:
        """The metadata server has told which VM this is: `zone/name/instance id`."""
        self._vm_id = vm_id
        if self._slots is not None:
            self._slots.named(vm_id)

    def unlock(self, wanted: Request, answered: Callable[[str, str], None]) -> None:
        """Free the slot of another VM. `answered` gets the request's name, and the reason why that failed, or ""."""
        self._log.warning(f"{wanted.by} frees the slot of {wanted.holder}")
        if self._slots is None:
            answered(wanted.name, "no fleet limit is configured")
        elif wanted.holder == self._vm_id and self._state.incident is not None:
            answered(wanted.name, "this VM is that holder, and gives the slot back when it is restored")
        else:
            self._slots.unlock(
                wanted.holder, lambda found: answered(wanted.name, "" if found.outcome == RELEASED else found.detail)
            )

    def slot_answered(self, found: SlotAnswered) -> None:
        """The store of the fleet limit has answered, or has not."""
        slot = self._state.incident.slot if self._state.incident is not None else None
        is_open = slot is not None and slot.is_open
        about_us = None if self._slots is None else self._slots.answered(found, self._now().clock, is_open)
        self._reporter.asked(found)
        if about_us is not None:
            self.observe(about_us)

    def observe_steps(self) -> None:
        """Observe steps that have ended, and the time if something is due."""
        for finished in self._runner.poll(self._now().clock):
            self.observe(finished)
        if self._state.wake_at is not None and self._state.wake_at <= self._now().clock:
            self.observe(Tick())
        if self._slots is not None:
            known = self._slots.consider(self._state.incident, self._now().clock)
            self._reporter.fleet_limit = self._slots.document()
            if known is not None:
                self.observe(known)

    def launched(self, launched: Launched) -> None:
        """A step's process was started, or could not be."""
        failed = self._runner.launched(launched)
        if failed is not None:
            self.observe(failed)
        elif launched.seconds >= LATE:
            self.observe(Began(launched.number, launched.seconds))

    def resume(self, incident: Incident, config: Config, same_boot: bool) -> None:
        """Go on with the incident of the last handler."""
        self._log.warning(f"resuming incident {incident.id}")
        self._runner.end_leftovers(incident)
        self._state = replace(self._state, incident=recovered(incident, self._now(), same_boot))
        self.observe(Reconfigured(config.tasks))

    def configured(self, config: Config) -> None:
        """Another configuration is in force."""
        self._conditions.clear()
        self._limit(config)
        self._state = replace(self._state, patience=config.patience, fleet_limit=config.fleet_limit)
        self.observe(Reconfigured(config.tasks))

    def next_time(self) -> float | None:
        """When something is due."""
        slots_at = None if self._slots is None else self._slots.next_time(self._state.incident)
        times = (self._state.wake_at, self._runner.next_time(), slots_at)
        return min((time for time in times if time is not None), default=None)

    def _limit(self, config: Config) -> None:
        if self._slots is not None and config.fleet_limit is not None:
            self._slots.configured(config.fleet_limit)
            return
        self._slots = self._new_keeper(config)
        if self._slots is None:
            self._reporter.fleet_limit = None
        elif self._vm_id:
            self._slots.named(self._vm_id)

    def _act(
        self, action: Action, incident: Incident | None, now: Moment, wait_for_journal: Callable[[float], bool]
    ) -> None:
        if isinstance(action, Start) and incident is not None:
            self._runner.start(action, incident, wait_for_journal)
        elif isinstance(action, Limit):
            self._runner.limit(action.number, now.clock, action.until)
        elif isinstance(action, End):
            self._runner.end(action.number, now.clock)


def _is_written(_bound: float) -> bool:
    return True
