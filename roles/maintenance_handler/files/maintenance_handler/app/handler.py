# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's loop: it waits for messages of threads, POSIX signals and times, and passes them on.

Threads watch the metadata server and write files; all decisions are made here, in one thread.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable

from .._vm.maintenance import DRIFT_TOKEN_KEY, PREEMPT, SIGNAL_KEYS
from .._vm.records import dataclass
from .._vm.watch import Failed, Heard, Watcher
from ..core import announcements
from ..core.incident import NOT_RESTORED, Incident, Moment
from ..core.observations import Observation, Reading, ShutdownBegan, SlotAnswered
from ..io import executable
from ..io.examination import Examined
from ..io.inbox import Inbox
from ..io.instance import InstanceRead, start_reading_instance
from ..io.journal import JournalError
from ..io.last_look import Looked, ShutsDown, StaysUp
from ..io.launch import Launched
from ..io.log import Log
from ..io.newest import Shown
from ..io.notified import Notified, QueueRead
from ..io.orphans import Orphans
from ..io.pool import Pool
from ..io.request import DRAIN, UNLOCK, Request
from ..io.runner import Runner
from ..io.state_writer import Journaled
from . import start, status
from .command_requests import FOR_OPERATORS, Refused, Situation, required_by
from .config import Config
from .notifications import Notifications
from .open_incident import Changed, OpenIncident
from .readings import Readings
from .recovery import Recovery
from .reload import ConfigChecks
from .report import Reporter
from .requests import Admitted, Requests, is_trusted
from .state_files import LastIncident, StateFiles
from .stopping import PowerOff, Stop

# Seconds after the poll timeout without the end of a request, after which a watcher counts as stuck.
STUCK_AFTER = 20.0
# Seconds that a stop waits for the disk at the end.
LAST_WRITE = 5.0
# epoll accepts at most 24.8 days, and a window may be announced further ahead.
LONGEST_SLEEP = 86400.0
# Seconds. A larger difference between two turns of the loop means that the wall clock was set.
JUMP = 2.0


@dataclass(frozen=True)
class Published:
    """The result of writing the guest attribute: "ok" or the reason of the failure."""

    result: str


class Handler:
    """One handler for one state directory."""

    def __init__(
        self,
        config: Config,
        config_path: Path,
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Lock the state directory. Raises `Locked` if another handler has it."""
        executable.adopt_path(config.path)
        self._config = config
        self._log = log
        self._clock = clock
        self._wall = wall
        boot_id = config.boot_id()
        self._inbox = Inbox()
        post = self._inbox.post
        self._reporter = Reporter(config, log, boot_id, lambda result: post(Published(result)), on_shown=post)
        self._lock = start.lock(config, self._reporter)
        start.forget_last_status(config, log)
        self._files = StateFiles(config, boot_id, log, self._reporter, post, clock)
        self._recovery = Recovery(self._files, log)
        self._checks = ConfigChecks(config_path, log, self._reporter, post, clock)
        self._stop = Stop(log, self._reporter, post, clock)
        self._power_off = PowerOff(log)
        self._readings = Readings(self._files, log)
        self._selector = selectors.DefaultSelector()
        pool = Pool("work")
        self._runner = Runner(self._selector, log, post, pool=pool, now=self._now)
        self._requests = Requests(self._selector, log, post, pool)
        self._notifications = Notifications().for_config(config, post, self._files.after_writes)
        self._open = OpenIncident(config, self._runner, self._files, log, self._on_change, self._now)
        self._open.keep_slots(config, partial(start.slot_keeper, log=log, pool=pool, post=post), self._reporter)
        self._orphans = Orphans()
        self._watchers: list[Watcher] = []
        self._is_restoring_only = False
        # The difference of the clocks, to detect jumps.
        self._wall_ahead = wall() - clock()
        self._on: dict[type, Callable[[Any], None]] = {
            Heard: self._on_heard,
            Failed: self._reporter.failed,
            InstanceRead: self._on_instance_read,
            Launched: self._open.launched,
            SlotAnswered: self._open.slot_answered,
            Journaled: self._files.journaled,
            LastIncident: self._on_last_incident,
            Examined: self._on_examined,
            Looked: lambda _looked: self._stop.looked(self._open.incident),
            StaysUp: lambda _stays_up: self._stop.stays_up(),
            ShutsDown: self._on_shutdown,
            Published: lambda published: self._reporter.published(published.result),
            Shown: self._reporter.shown,
            QueueRead: lambda read: self._notifications.queue_read(read.known, self._now()),
            Notified: lambda notified: self._reporter.notified(notified.report),
            Admitted: lambda admitted: self._reporter.admitted(admitted.problem),
            Request: self._on_request,
        }

    def run(self) -> int:
        """Watch until stopped. Returns the exit status."""
        self._prepare()
        incident = self._recovery.begin()
        if incident is not None:
            self._resume(incident, same_boot=True)
        self._log.info(f"watching for {len(self._config.tasks)} tasks, configuration {self._config.digest}")
        self._watchers = [
            Watcher(key, self._config.metadata_host, self._inbox.post, self._config.poll_timeout)
            for key in (*SIGNAL_KEYS, DRIFT_TOKEN_KEY)
        ]
        for watcher in self._watchers:
            watcher.start()
        start_reading_instance(self._config.metadata_host, self._inbox.post)
        self._checks.examine()
        self._reporter.start()
        self._report()
        while not self._is_done():
            self._turn()
        return self._stopped()

    def restore_only(self, problems: list[str]) -> int:
        """Resume the journal's incident without a valid configuration, until it is closed.

        Its tasks are in the journal; nothing else is drained. A corrected configuration takes effect. Returns the exit
        status, which is not 0, so that systemd starts the handler again.
        """
        self._is_restoring_only = True
        self._reporter.config_unusable(problems)
        self._log.warning("the configuration is invalid: restoring only what is drained according to the journal")
        status = self.run()
        return 1 if self._is_restoring_only and not self._stop.requests else status

    def rehearse(self, event: str, name: str) -> int:
        """Rehearse an event without a metadata server, and return when it is over."""
        try:
            entry = self._files.read_journal()
        except JournalError as exc:
            self._log.error(f"{exc} Start the handler before a rehearsal: it sets the journal aside.")
            return 1
        if entry is not None:
            if entry.incident is not None:
                self._log.error("an incident is open: start the handler, which closes it, before a rehearsal")
                return 1
            self._files.instance_id = entry.instance_id
        self._prepare()
        self._open.observe(announcements.rehearsal(event, name, self._now(), self._config.notice))
        while self._is_rehearsing() and not self._is_done():
            self._turn()
        return self._stopped()

    def _is_rehearsing(self) -> bool:
        """Whether the rehearsal is open. A failed restore, which may take hours, is left to the next handler."""
        incident = self._open.incident
        return incident is not None and incident.phase != NOT_RESTORED

    def _prepare(self) -> None:
        self._selector.register(self._inbox, selectors.EVENT_READ)
        self._inbox.take_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
        self._requests.listen(self._config)

    def _turn(self) -> None:
        for key, _unused in self._selector.select(self._patience()):
            if key.data is None:
                self._inbox.drain()
            elif key.data is self._requests:
                self._requests.take()
            else:
                self._runner.read(key.data)
        for number in self._inbox.signals():
            self._on_signal(number)
        for message in self._inbox.messages():
            self._on[type(message)](message)
        self._open.observe_steps()
        self._checks.examine_if_due()
        self._look_for_missed()
        self._look_for_jump()
        self._look_for_blindness()
        self._files.look_for_stall()
        if self._config.stop_when_drained and not self._stop.requests and not self._files.journal_waits():
            self._power_off.complete_stop(self._open.incident)
        if os.getpid() == 1:
            self._orphans.reap(self._runner.pids(), self._clock())
        self._show_life()
        self._report()

    def _patience(self) -> float | None:
        """Seconds until something is due."""
        times = (
            self._open.next_time(),
            self._reporter.next_time(),
            self._readings.next_time(),
            self._checks.look_again_at,
            self._files.next_time(),
            self._stop.next_time(self._open.incident),
            self._notifications.next_time(self._reporter.last_good, self._silent_after()),
        )
        known = [time for time in times if time is not None]
        return min(LONGEST_SLEEP, max(0.0, min(known) - self._clock())) if known else None

    def _is_done(self) -> bool:
        if self._stop.requests:
            return self._stop.is_over(self._open.incident)
        return self._is_restoring_only and self._open.incident is None and not self._recovery.is_waiting()

    def _stopped(self) -> int:
        self._checks.close()
        self._requests.close()
        self._runner.hand_over()
        self._record_stop()
        self._files.finish(LAST_WRITE)
        self._notifications.stop()
        self._report(final=True)
        self._reporter.finish(LAST_WRITE)
        self._notifications.finish()
        self._log.info("stopped")
        return 0

    def _record_stop(self) -> None:
        """Record an orderly stop, unless the journal of an earlier boot is still needed."""
        if not self._recovery.needs_journal():
            self._files.write_journal(self._open.incident, stopped=True)

    def _resume(self, incident: Incident, same_boot: bool) -> None:
        self._open.resume(incident, self._config, same_boot)
        if self._open.incident is not None:
            self._notifications.resumed(self._open.incident, self._now())

    def _on_change(self, changed: Changed) -> None:
        """An observation may have changed the open incident."""
        if changed.document is not None:
            self._reporter.closed(changed.document)
            self._notifications.closed(changed.document, changed.now)
        self._reporter.incident(changed.before, changed.after, changed.closed)
        self._notifications.changed(changed.before, changed.after, changed.now)

    def _on_last_incident(self, last: LastIncident) -> None:
        self._reporter.closed_earlier(last.document)
        self._notifications.closed_earlier(last.document)

    def _on_heard(self, heard: Heard) -> None:
        reading = self._readings.read(heard, self._now(), self._config)
        if reading is not None:
            self._take(heard.key, reading)
        self._reporter.heard(heard)

    def _take(self, source: str, reading: Reading) -> None:
        if self._recovery.is_waiting():
            self._recovery.defer(source, reading)
        else:
            self._open.observe(reading)

    def _look_for_missed(self) -> None:
        reading = self._readings.missed(self._now())
        if reading is not None:
            self._log.warning("the VM was live-migrated without notice")
            self._reporter.missed()
            self._take(DRIFT_TOKEN_KEY, reading)

    def _look_for_jump(self) -> None:
        ahead = self._wall() - self._clock()
        jump, self._wall_ahead = ahead - self._wall_ahead, ahead
        if abs(jump) > JUMP:
            self._reporter.jumped(jump)

    def _on_instance_read(self, read: InstanceRead) -> None:
        self._readings.preemption_notice = read.preemption_notice
        self._reporter.instance_read(read)
        self._open.named(read.full_id)
        incident = self._recovery.claim_incident(read.instance_id)
        if incident is not None:
            self._resume(incident, same_boot=False)
        self._files.claim(read.instance_id)
        self._notifications.instance_read(read.instance_id)
        if self._recovery.claim_crash(read.instance_id):
            # The journal is not written before: after a crash, a journal of this boot would hide the restart.
            self._log.warning("the VM restarted without an orderly stop: a host error, a crash or a reset")
            self._reporter.restarted()
            self._open.observe(announcements.restart(self._now()))
        else:
            # This allocates room for the first entry of an incident.
            self._files.write_journal(self._open.incident)
        for reading in self._recovery.deferred():
            self._open.observe(reading)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._checks.examine_and_reload()
            self._requests.listen(self._config)
        # SIGUSR1 comes with requests of earlier versions' commands, which find no answer.
        elif number != signal.SIGUSR1:
            self._stop.request(self._config, self._open.incident, is_watching=bool(self._watchers))

    def _on_shutdown(self, _shuts_down: ShutsDown) -> None:
        """The ACPI signal has come."""
        # The platform may cut the power before the handler has stopped.
        self._record_stop()
        self._readings.off_at = self._clock() + announcements.SHUTDOWN_SECONDS
        self._open.observe(ShutdownBegan(announcements.SHUTDOWN_SECONDS))
        self._stop.shutdown_began(self._config.stop_timeout, self._readings.notice(self._config)[PREEMPT])

    def _on_examined(self, examined: Examined) -> None:
        new = self._checks.examined(examined, self._config, load_if_valid=self._is_restoring_only)
        if new is None:
            return
        is_another_group = new.operators != self._config.operators
        self._config = new
        self._is_restoring_only = False
        if is_another_group:
            self._requests.listen(new)
        executable.adopt_path(new.path)
        self._log.level = new.log_level
        self._files.configured(new)
        self._notifications = self._notifications.for_config(new, self._inbox.post, self._files.after_writes)
        self._open.configured(new)
        self._log.info(f"configuration {new.digest} with {len(new.tasks)} tasks is in force")

    def _on_request(self, wanted: Request) -> None:
        if wanted.command == UNLOCK:
            self._open.unlock(wanted, self._reporter.answered)
            return
        refusal = ""
        try:
            required = self._required_by(wanted)
        except Refused as exc:
            refusal = str(exc)
            self._log.error(f"{wanted.command}, requested by {wanted.by}, was refused: {refusal}")
        else:
            if wanted.tasks:
                self._log.warning(f"{wanted.by} asks to {wanted.command} {', '.join(map(repr, wanted.tasks))}")
            for observation in required:
                self._open.observe(observation)
        self._reporter.answered(wanted.name, refusal)

    def _required_by(self, wanted: Request) -> list[Observation]:
        """Raises `Refused`."""
        if wanted.command not in FOR_OPERATORS and not is_trusted(wanted):
            raise Refused("only root can request that")
        if wanted.command == DRAIN and self._stop.requests:
            raise Refused("the handler is stopping")
        return required_by(
            wanted,
            Situation(
                self._open.incident,
                self._recovery.is_waiting(),
                None if self._is_restoring_only else self._config.tasks,
                self._readings.notice(self._config),
                self._now(),
                self._config.fleet_limit is not None,
            ),
        )

    def _show_life(self) -> None:
        now = self._clock()
        bound = self._config.poll_timeout + STUCK_AFTER
        self._reporter.alive(now, all(now - watcher.last_turn < bound for watcher in self._watchers))

    def _look_for_blindness(self) -> None:
        if self._watchers:
            self._notifications.look(self._reporter.last_good, self._silent_after(), self._now())

    def _silent_after(self) -> float:
        return self._config.poll_timeout + status.SILENT_AFTER

    def _report(self, final: bool = False) -> None:
        if final or not self._files.holds_reports():
            self._reporter.report(self._open.incident, self._now(), final=final)

    def _now(self) -> Moment:
        return Moment(self._clock(), self._wall())
