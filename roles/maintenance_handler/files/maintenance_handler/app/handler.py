# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's loop: it passes observations to the state machine and carries out its actions.

Threads watch the metadata server and write files; all decisions are made here, in one thread.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Union

from .._vm.maintenance import DRIFT_TOKEN_KEY, MAINTENANCE_EVENT_KEY, PREEMPT, PREEMPTED_KEY, SIGNAL_KEYS
from .._vm.records import dataclass, replace
from ..core import announcements
from ..core.incident import ANNOUNCED, DRAINING, NOT_RESTORED, RESTORING, Incident, Moment, not_restored, recorded
from ..core.machine import Action, Close, End, Limit, Start, State, step
from ..core.narrate import narrate
from ..core.observations import (
    Acknowledged,
    Announced,
    Began,
    Observation,
    Reading,
    Reconfigured,
    RetryWanted,
    ShutdownBegan,
    Tick,
    recovered,
    with_shutdown,
)
from ..core.power_off import stop_to_complete
from ..core.tasks import Task
from ..io import executable, request
from ..io.drift import Drift, TokenFile, found_missed, heard_announcement, heard_token, wake_at
from ..io.examination import Examined, Examiner
from ..io.files import sweep
from ..io.history import History
from ..io.inbox import Inbox
from ..io.instance import InstanceRead, start_reading_instance
from ..io.journal import UNREADABLE, Entry, Journal, JournalError
from ..io.last_look import Looked, ShutsDown, start_asking_systemd, start_looking
from ..io.launch import LATE, Launched
from ..io.lock import CannotLock, Lock, take_lock
from ..io.log import Log
from ..io.newest import Shown
from ..io.orphans import Orphans
from ..io.pool import Pool
from ..io.request import REHEARSE, Request, UnreadableRequest
from ..io.runner import Runner
from ..io.state_writer import Journaled, StateWriter
from ..io.systemctl import start_advising, start_power_off
from ..io.watch import Failed, Heard, Watcher
from . import config as configuration
from . import status
from .config import Config, ConfigError
from .expressions import ExpressionError, compiled
from .report import Reporter

if TYPE_CHECKING:
    from .expressions import Predicate

# Seconds after the poll timeout without the end of a request, after which a watcher counts as stuck.
STUCK_AFTER = 20.0
# Seconds that the last checks for a preemption may delay a stop, unless the machine is shutting down.
LAST_LOOK = 1.0
# Seconds that a stop waits for the disk at the end.
LAST_WRITE = 5.0
# Seconds that started tasks get the processors before they are logged and reported: with two processors,
# the first line of a task comes a fifth sooner (bench/notice.py).
HEAD_START = 0.005
# epoll accepts at most 24.8 days, and a window may be announced further ahead.
LONGEST_SLEEP = 86400.0
# Seconds. A larger difference between two turns of the loop means that the wall clock was set.
JUMP = 2.0

# Seconds between checks of a configuration with problems on this machine.
LOOK_AGAIN_AFTER = 60.0

# Settings that require a restart, because threads and open files depend on them.
_FIXED = ("state_dir", "runtime_dir", "metadata_host", "poll_timeout", "guest_attributes", "boot_id_file")


@dataclass(frozen=True)
class Published:
    """The result of writing the guest attribute: "ok" or the reason of the failure."""

    result: str


if TYPE_CHECKING:
    Message = Union[Heard, Looked, ShutsDown, Failed, InstanceRead, Published, Launched, Journaled, Shown, Examined]


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
        self._config_path = config_path
        self._log = log
        self._clock = clock
        self._wall = wall
        self._boot_id = config.boot_id()
        self._inbox = Inbox()
        self._reporter = Reporter(
            config,
            log,
            self._boot_id,
            on_published=lambda result: self._inbox.post(Published(result)),
            on_shown=self._inbox.post,
        )
        self._lock = self._take_lock()
        self._forget_last_status()
        self._journal = Journal(config.state_dir)
        self._history = History(config.state_dir)
        self._selector = selectors.DefaultSelector()
        self._pool = Pool("work")
        self._writer = StateWriter(self._journal, self._inbox.post, config.journal_wait, clock)
        self._runner = Runner(self._selector, log, self._inbox.post, pool=self._pool, now=self._now)
        self._is_restoring_only = False
        self._stop_requests = 0
        self._stop_at = 0.0
        self._look_until = 0.0
        for path in (self._journal.path, self._history.path, status.status_path(config), config.metrics_textfile):
            if path is not None:
                sweep(path)
        self._instance_id: str | None = None
        # An incident of an earlier boot, until the instance is known.
        self._unclaimed: Entry | None = None
        self._early: dict[str, Observation] = {}
        self._unknown_values: dict[str, str] = {}
        self._predicates: dict[str, Predicate] = {}
        self._state = State(config.tasks, patience=config.patience)
        self._token_file = TokenFile(config.state_dir, self._boot_id)
        self._drift = Drift(self._token_file.read())
        self._watchers: list[Watcher] = []
        self._examiner = Examiner(config_path, self._inbox.post)
        # The number of checks of the configuration, the number of the one for a reload, and when the next is due.
        self._looks = 0
        self._reload_look = 0
        self._look_again_at: float | None = None
        self._orphans = Orphans()
        # Whether a stall of the disk was reported.
        self._stalled = False
        # As the VM's scheduling shows it.
        self._preemption_notice: float | None = None
        # The instance that went down without an orderly stop, until it is known whether that is this one.
        self._crashed_instance: str | None = None
        # By when the machine is powered off, on the clock, once it is shutting down.
        self._off_at: float | None = None
        # The announcement of a stop for which this handler powered off, so that it does so once.
        self._powered_off_for = ""
        self._is_stopped = False
        # The difference of the clocks, to detect jumps.
        self._wall_ahead = wall() - clock()

    def run(self) -> int:
        """Watch until stopped. Returns the exit status."""
        self._prepare()
        self._recover()
        self._log.info(f"watching for {len(self._config.tasks)} tasks, configuration {self._config.digest}")
        self._watchers = [
            Watcher(key, self._config.metadata_host, self._inbox.post, self._config.poll_timeout)
            for key in (*SIGNAL_KEYS, DRIFT_TOKEN_KEY)
        ]
        for watcher in self._watchers:
            watcher.start()
        start_reading_instance(self._config.metadata_host, self._inbox.post)
        self._examine()
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
        return 1 if self._is_restoring_only and not self._stop_requests else status

    def rehearse(self, event: str, name: str) -> int:
        """Rehearse an event without a metadata server, and return when it is over."""
        try:
            entry = self._journal.read()
        except JournalError as exc:
            self._log.error(f"{exc} Start the handler before a rehearsal: it sets the journal aside.")
            return 1
        if entry is not None:
            if entry.incident is not None:
                self._log.error("an incident is open: start the handler, which closes it, before a rehearsal")
                return 1
            self._instance_id = entry.instance_id
        self._prepare()
        self._observe(announcements.rehearsal(event, name, self._now(), self._config.notice))
        while self._is_to_go_on_rehearsing() and not self._is_done():
            self._turn()
        return self._stopped()

    def _is_to_go_on_rehearsing(self) -> bool:
        """Whether the rehearsal is open. A failed restore, which may take hours, is left to the next handler."""
        return self._state.incident is not None and self._state.incident.phase != NOT_RESTORED

    def _take_lock(self) -> Lock | None:
        """Raises `Locked`. If no lock can be taken, the handler runs without."""
        try:
            return take_lock(self._config.state_dir, self._config.runtime_dir)
        except CannotLock as exc:
            self._reporter.lock_failed(str(exc))
            return None

    def _forget_last_status(self) -> None:
        """Delete the status of the previous handler, which would be read as that of this one."""
        try:
            status.forget(self._config)
        except OSError as exc:
            self._log.error(f"Deleting the last status: {exc}.")

    def _prepare(self) -> None:
        self._selector.register(self._inbox, selectors.EVENT_READ)
        self._inbox.take_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, request.SIGNAL)

    def _recover(self) -> None:
        try:
            entry = self._journal.read()
        except JournalError as exc:
            self._log.error(f"{exc} The handler cannot restore what it contained.")
            self._set_journal_aside(UNREADABLE)
            # The file must exist before it is looked for.
            self._writer.finish(self._config.journal_wait)
            self._look_for_lost_journal()
            return
        self._look_for_lost_journal()
        if entry is None:
            return
        if entry.incident is None:
            self._instance_id = entry.instance_id
            if entry.boot_id != self._boot_id and entry.stopped is False:
                self._crashed_instance = entry.instance_id
            else:
                # From now on, a journal without an orderly stop means a crash.
                self._write_journal()
        elif entry.boot_id == self._boot_id:
            self._instance_id = entry.instance_id
            self._take_up(entry.incident, same_boot=True)
        else:
            self._unclaimed = entry
            self._log.info("an incident of an earlier boot is open: waiting for the metadata server")

    def _look_for_lost_journal(self) -> None:
        """Report an unreadable journal until someone has deleted it: its tasks may still be drained."""
        lost = self._journal.aside(UNREADABLE)
        self._reporter.journal_lost(lost if lost.exists() else None)

    def _take_up(self, incident: Incident, same_boot: bool) -> None:
        self._log.warning(f"resuming incident {incident.id}")
        self._runner.end_leftovers(incident)
        self._state = replace(self._state, incident=recovered(incident, self._now(), same_boot))
        self._observe(Reconfigured(self._config.tasks))

    def _turn(self) -> None:
        for key, _unused in self._selector.select(self._patience()):
            if key.data is None:
                self._inbox.drain()
            else:
                self._runner.read(key.data)
        for number in self._inbox.signals():
            self._on_signal(number)
        for message in self._inbox.messages():
            self._on_message(message)
        for finished in self._runner.poll(self._clock()):
            self._observe(finished)
        if self._state.wake_at is not None and self._state.wake_at <= self._clock():
            self._observe(Tick())
        if self._look_again_at is not None and self._look_again_at <= self._clock():
            self._examine()
        self._look_for_missed()
        self._look_for_jump()
        self._look_for_stall()
        self._complete_stop()
        if os.getpid() == 1:
            self._orphans.reap(self._runner.pids(), self._clock())
        self._show_life()
        self._report()

    def _patience(self) -> float | None:
        """Seconds until something is due."""
        times = [self._state.wake_at, self._runner.next_time(), self._reporter.next_time(), wake_at(self._drift)]
        times.append(self._look_again_at)
        times.append(self._stall_at())
        if self._stop_requests:
            times.append(self._stop_at if self._is_in_flight() else min(self._stop_at, self._look_until))
        known = [time for time in times if time is not None]
        return min(LONGEST_SLEEP, max(0.0, min(known) - self._clock())) if known else None

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Failed):
            self._reporter.failed(message)
        elif isinstance(message, Published):
            self._reporter.published(message.result)
        elif isinstance(message, InstanceRead):
            self._on_instance_read(message)
        elif isinstance(message, Looked):
            self._on_looked()
        elif isinstance(message, ShutsDown):
            self._on_shutdown()
        elif isinstance(message, Examined):
            self._on_examined(message)
        elif isinstance(message, Launched):
            self._on_launched(message)
        elif isinstance(message, Journaled):
            self._on_journaled(message)
        elif isinstance(message, Shown):
            self._reporter.shown(message)
        else:
            self._on_heard(message)

    def _on_heard(self, heard: Heard) -> None:
        if heard.key == DRIFT_TOKEN_KEY:
            self._on_token(heard)
            return
        unknown = self._config.unknown_event
        reading = announcements.read(heard.key, heard.value, self._now(), self._notice(), unknown)
        if isinstance(reading, Announced) and self._off_at is not None:
            reading = Announced(with_shutdown(reading.signal, self._off_at))
        self._log_unknown(heard, reading)
        self._take(heard.key, reading)
        if heard.key == MAINTENANCE_EVENT_KEY:
            self._drift = heard_announcement(self._drift, isinstance(reading, Announced), heard.clock)
        self._reporter.heard(heard)

    def _log_unknown(self, heard: Heard, reading: Reading) -> None:
        """Log an unknown value once for each announcement, because tasks only get the name of the event."""
        told = str(heard.value)[:100]
        if not isinstance(reading, Announced) or reading.signal.value != reading.signal.event:
            self._unknown_values.pop(heard.key, None)
        elif self._unknown_values.get(heard.key) != told:
            self._unknown_values[heard.key] = told
            self._log.warning(f"{heard.key} is {told!r}, which is unknown: handled as {reading.signal.event}")

    def _take(self, source: str, reading: Reading) -> None:
        if self._unclaimed is not None:
            self._early[source] = reading
        else:
            self._observe(reading)

    def _on_token(self, heard: Heard) -> None:
        self._reporter.heard(heard)
        if heard.value is None:
            return
        token = str(heard.value)
        is_new = token != self._drift.token
        self._drift = heard_token(self._drift, token, heard.clock)
        if is_new:
            self._writer.do(lambda: self._keep_token(token))

    def _keep_token(self, token: str) -> None:
        try:
            self._token_file.write(token)
        except OSError as exc:
            self._log.error(
                f"Writing the drift token: {exc}. A migration while the handler is stopped is not detected."
            )

    def _look_for_missed(self) -> None:
        self._drift, missed = found_missed(self._drift, self._clock())
        if missed:
            self._log.warning("the VM was live-migrated without notice")
            self._reporter.missed()
            self._take(DRIFT_TOKEN_KEY, announcements.missed(self._now()))

    def _look_for_jump(self) -> None:
        ahead = self._wall() - self._clock()
        jump, self._wall_ahead = ahead - self._wall_ahead, ahead
        if abs(jump) > JUMP:
            self._reporter.jumped(jump)

    def _on_instance_read(self, read: InstanceRead) -> None:
        self._preemption_notice = read.preemption_notice
        self._reporter.instance_read(read)
        entry, self._unclaimed = self._unclaimed, None
        if entry is not None and entry.incident is not None:
            if entry.instance_id in (None, read.instance_id):
                self._take_up(entry.incident, same_boot=False)
            else:
                self._log.warning(f"the journal belongs to instance {entry.instance_id}: setting it aside")
                self._set_journal_aside("of-another-instance")
        self._writer.do(partial(self._claim_history, read.instance_id, self._instance_id))
        self._instance_id = read.instance_id
        crashed_instance, self._crashed_instance = self._crashed_instance, None
        if crashed_instance == read.instance_id:
            # The journal is not written before: after a crash, a journal of this boot would hide the restart.
            self._on_restart()
        else:
            # This allocates room for the first entry of an incident.
            self._write_journal()
        while self._early:
            self._observe(self._early.pop(next(iter(self._early))))

    def _on_restart(self) -> None:
        self._log.warning("the VM restarted without an orderly stop: a host error, a crash or a reset")
        self._reporter.restarted()
        self._observe(announcements.restart(self._now()))

    def _notice(self) -> dict[str, float]:
        """Seconds of notice that each event is assumed to have."""
        assumed = self._config.assumed_notice(self._preemption_notice)
        return {event: notice.seconds for event, notice in assumed.items()}

    def _complete_stop(self) -> None:
        """Power off once nothing is left to drain: a VM that waits for the end of its graceful shutdown is billed."""
        if not self._config.stop_when_drained or self._stop_requests or self._writer.journal_waits():
            return
        announcement = stop_to_complete(self._state.incident)
        if announcement and announcement != self._powered_off_for:
            self._powered_off_for = announcement
            self._log.warning("all tasks are drained: powering off, which completes the stop")
            start_power_off(lambda why: self._log.error(f"systemctl poweroff: {why}. The platform stops the VM later."))

    def _claim_history(self, instance_id: str, written_by: str | None) -> None:
        try:
            aside = self._history.claim(instance_id, written_by)
        except OSError as exc:
            self._log.error(f"Checking the history {self._history.path} for incidents of another instance: {exc}.")
            return
        if aside is not None:
            self._log.warning(f"the history contained incidents of another instance, which are now in {aside}")

    def _observe(self, observation: Observation) -> None:
        before = self._state.incident
        now = self._now()
        self._state, actions = step(self._state, observation, now, self._applies)
        after = self._state.incident
        closed = next((action.incident for action in actions if isinstance(action, Close)), None)
        if closed is not None:
            kept = {**recorded(closed, now), "instance_id": self._instance_id}
            self._writer.do(lambda: self._keep(kept))
        wait_for_journal = self._write_journal() if after != before else _is_written
        for action in actions:
            self._act(action, after, now, wait_for_journal)
        if any(isinstance(action, Start) for action in actions):
            time.sleep(HEAD_START)
        seen = after or closed
        if seen is not None:
            for level, text in narrate(before, seen, now):
                getattr(self._log, level)(text)
        self._reporter.incident(before, after, closed)

    def _act(
        self, action: Action, incident: Incident | None, now: Moment, wait_for_journal: Callable[[float], bool]
    ) -> None:
        if isinstance(action, Start) and incident is not None:
            self._runner.start(action, incident, wait_for_journal)
        elif isinstance(action, Limit):
            self._runner.limit(action.number, now.clock, action.until)
        elif isinstance(action, End):
            self._runner.end(action.number, now.clock)

    def _on_launched(self, launched: Launched) -> None:
        failed = self._runner.launched(launched)
        if failed is not None:
            self._observe(failed)
        elif launched.seconds >= LATE:
            self._observe(Began(launched.number, launched.seconds))

    def _keep(self, incident: dict[str, Any]) -> None:
        try:
            self._history.add(incident)
        except OSError as exc:
            self._log.error(f"Writing the history {self._history.path}: {exc}. The incident is only in this log.")

    def _write_journal(self) -> Callable[[float], bool]:
        """Returns a function that waits until it is written."""
        entry = Entry(self._instance_id, self._boot_id, self._state.incident, stopped=self._is_stopped)
        return self._writer.write_journal(entry)

    def _on_journaled(self, journaled: Journaled) -> None:
        self._stalled = False
        if journaled.problem:
            # A drain without a journal is better than none.
            self._reporter.journal_failed(f"Writing the journal {self._journal.path}: {journaled.problem}.")
        else:
            self._reporter.journal_written()

    def _stall_at(self) -> float | None:
        """When the disk counts as stalled, if it does not respond until then."""
        since = self._writer.waiting_since()
        return None if since is None or self._stalled else since + self._config.journal_wait

    def _look_for_stall(self) -> None:
        stall_at = self._stall_at()
        if stall_at is not None and self._clock() >= stall_at:
            self._stalled = True
            why = f"no response from the disk for {self._config.journal_wait:g} s"
            self._reporter.journal_failed(f"Writing the journal {self._journal.path}: {why}.")

    def _set_journal_aside(self, suffix: str) -> None:
        self._reporter.journal_set_aside()
        self._writer.do(lambda: self._rename_journal(suffix))

    def _rename_journal(self, suffix: str) -> None:
        try:
            self._log.warning(f"the journal was moved to {self._journal.set_aside(suffix)}")
        except OSError as exc:
            self._log.error(f"Moving the journal {self._journal.path}: {exc}.")

    def _applies(self, task: Task, event: Mapping[str, Any]) -> bool:
        if task.when is None:
            return True
        try:
            if task.when not in self._predicates:
                self._predicates[task.when] = compiled(task.when)
            return bool(self._predicates[task.when]({"event": event}))
        except ExpressionError as exc:
            self._log.error(f"task {task.name!r}, field 'when': {exc}. The task is run.")
            return True

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._examine()
            self._reload_look = self._looks
        elif number == request.SIGNAL:
            self._take_requests()
        else:
            self._on_stop()

    def _on_stop(self) -> None:
        self._stop_requests += 1
        self._stop_at = self._clock() + self._config.stop_timeout
        self._reporter.stopping()
        if self._stop_requests == 1:
            start_advising(self._log.warning)
            if self._watchers:
                start_asking_systemd(self._inbox.post)
            if self._watchers and not self._is_in_flight():
                self._look_last()
        if self._is_in_flight():
            self._log.warning("stopping after the running steps; stop again to leave them to the next handler")

    def _look_last(self) -> None:
        """Check for a preemption: it shuts the system down, and its signal may arrive later."""
        if not any(PREEMPT in task.on for task in self._config.tasks):
            return
        self._look_until = self._clock() + LAST_LOOK
        start_looking(self._config.metadata_host, self._inbox.post)

    def _on_looked(self) -> None:
        """End the checks after the first on a VM that cannot be preempted, or is being preempted."""
        incident = self._state.incident
        is_preempted = incident is not None and any(one.source == PREEMPTED_KEY for one in incident.signals)
        if is_preempted or not self._can_be_preempted():
            self._look_until = self._clock()

    def _on_shutdown(self) -> None:
        """The ACPI signal has come. Of a preemption the key may say so later, while the machine is still up."""
        self._off_at = self._clock() + announcements.SHUTDOWN_SECONDS
        self._observe(ShutdownBegan(announcements.SHUTDOWN_SECONDS))
        if self._can_be_preempted() and self._look_until > self._clock():
            seconds = min(self._config.stop_timeout, self._notice()[PREEMPT], announcements.SHUTDOWN_SECONDS)
            self._look_until += seconds - LAST_LOOK
            self._log.info(f"the machine is shutting down: checking for a preemption for {seconds:.0f} s")

    def _can_be_preempted(self) -> bool:
        return self._reporter.possible(PREEMPT) is not False

    def _is_in_flight(self) -> bool:
        return self._state.incident is not None and self._state.incident.phase in (DRAINING, RESTORING)

    def _is_done(self) -> bool:
        if self._stop_requests == 0:
            return self._is_restoring_only and self._state.incident is None and self._unclaimed is None
        if self._stop_requests > 1 or self._clock() >= self._stop_at:
            return True
        return not self._is_in_flight() and self._clock() >= self._look_until

    def _stopped(self) -> int:
        self._examiner.close()
        self._runner.hand_over()
        if self._unclaimed is None and self._crashed_instance is None:
            # Otherwise the journal of the earlier boot is still needed.
            self._is_stopped = True
            self._write_journal()
        self._writer.finish(LAST_WRITE)
        self._report(final=True)
        self._reporter.finish(LAST_WRITE)
        self._log.info("stopped")
        return 0

    def _examine(self) -> None:
        self._look_again_at = None
        self._looks += 1
        self._examiner.start(self._looks)

    def _on_examined(self, examined: Examined) -> None:
        if examined.number != self._looks:
            # A newer check is running.
            return
        problems = [f"{self._config_path}: {problem}" for problem in examined.problems]
        if examined.number == self._reload_look:
            self._reload(problems)
            return
        if self._is_restoring_only and not problems:
            self._reload(problems)
            return
        # The other tasks can run nevertheless.
        for problem in self._reporter.tasks_examined(problems):
            self._log.error(problem)
        if problems:
            # For example a disk that is mounted late.
            self._look_again_at = self._clock() + LOOK_AGAIN_AFTER

    def _reload(self, problems: list[str]) -> None:
        try:
            if problems:
                raise ConfigError(problems)
            new = configuration.load(self._config_path)
        except ConfigError as exc:
            for problem in exc.problems:
                self._log.error(f"configuration rejected; keeping the current one: {problem}")
            self._reporter.config_refused(exc.problems)
            return
        late = [name for name in _FIXED if getattr(new, name) != getattr(self._config, name)]
        if late:
            self._log.warning(f"{', '.join(late)}: the change requires a restart")
            new = replace(new, **{name: getattr(self._config, name) for name in late})
        self._config = new
        self._is_restoring_only = False
        executable.adopt_path(new.path)
        self._writer.journal_wait = new.journal_wait
        self._reporter.tasks_examined([])
        self._predicates = {}
        self._state = replace(self._state, patience=new.patience)
        self._log.level = new.log_level
        self._reporter.configured(new, restart_required=bool(late))
        self._look_for_lost_journal()
        self._observe(Reconfigured(new.tasks))
        self._log.info(f"configuration {new.digest} with {len(new.tasks)} tasks is in force")

    def _take_requests(self) -> None:
        for wanted in request.take(self._config.runtime_dir):
            if isinstance(wanted, UnreadableRequest):
                self._log.error(str(wanted))
                continue
            refusal = self._rehearse(wanted) if wanted.command == REHEARSE else self._end_by_hand(wanted)
            if refusal:
                self._log.error(f"{wanted.command}, requested by {wanted.by}, was refused: {refusal}")
            self._reporter.answered(wanted.name, refusal)

    def _rehearse(self, wanted: Request) -> str:
        """Begin a rehearsal. Returns the reason if it is refused."""
        incident = self._state.incident
        if self._unclaimed is not None or (incident is not None and incident.phase != ANNOUNCED):
            return "an event is being handled"
        try:
            self._observe(announcements.rehearsal(wanted.event, wanted.name, self._now(), self._notice()))
        except KeyError:
            return f"there is no event {wanted.event!r}"
        return ""

    def _end_by_hand(self, wanted: Request) -> str:
        """Retry failed restores, or acknowledge them. Returns the reason if it is refused."""
        if self._unclaimed is not None:
            return "an incident of an earlier boot is open, and the metadata server has not answered yet"
        incident = self._state.incident
        names = [step.task for step in not_restored(incident)] if incident is not None else []
        if not names:
            return "all tasks are restored"
        unknown = [name for name in wanted.tasks if name not in names]
        if unknown:
            return f"{', '.join(map(repr, unknown))} is not among what is not restored: {', '.join(map(repr, names))}"
        tasks = wanted.tasks or tuple(names)
        self._log.warning(f"{wanted.by} asks to {wanted.command} {', '.join(map(repr, tasks))}")
        self._observe(RetryWanted(tasks) if wanted.command == request.RESTORE else Acknowledged(tasks, wanted.by))
        return ""

    def _show_life(self) -> None:
        now = self._clock()
        bound = self._config.poll_timeout + STUCK_AFTER
        self._reporter.alive(now, all(now - watcher.last_turn < bound for watcher in self._watchers))

    def _report(self, final: bool = False) -> None:
        if self._writer.journal_waits() and not self._stalled and not final:
            # A crash could undo what is not in the journal yet.
            return
        self._reporter.report(self._state.incident, self._now(), final=final)

    def _now(self) -> Moment:
        return Moment(self._clock(), self._wall())


def _is_written(_bound: float) -> bool:
    return True
