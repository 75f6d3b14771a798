# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's reports: to systemd, in the status file, as metrics and guest attribute, and the log of outages."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Callable

from .. import __version__
from .._vm.maintenance import DRIFT_TOKEN_KEY, EVENTS, MAINTENANCE_EVENT_KEY, SIGNAL_KEYS
from .._vm.reach import was_announced
from .._vm.watch import Failed, Heard
from ..core.incident import IDLE, Incident, Moment, held, not_restored
from ..core.observations import UNUSABLE, SlotAnswered
from ..core.public import public
from ..io.files import write_whole
from ..io.instance import INSTANCE_ID_KEY, InstanceRead
from ..io.log import Log
from ..io.metrics import Metrics
from ..io.newest import Newest, Shown
from ..io.sd_notify import Supervisor, watchdog_interval
from ..io.textfile import Textfile
from . import status
from .config import Config
from .deliveries import Deliveries
from .figures import count_steps, show_incident, show_slot, went_ahead
from .guest_status import GuestStatus
from .status import silent_from, silent_keys

# Seconds between log lines during an outage.
OUTAGE_LOG_EVERY = 60.0
# Seconds until a failed write is retried.
WRITE_AGAIN = 5.0
# The number of requests whose answers the status keeps.
ANSWERS = 10


class Reporter:
    """Collects what is reported, and reports it when it has changed. Never raises."""

    def __init__(
        self,
        config: Config,
        log: Log,
        boot_id: str,
        on_published: Callable[[str], None],
        on_shown: Callable[[Shown], None],
    ) -> None:
        self._instance_id: str | None = None
        self._reach: Mapping[str, Any] = {}
        self._preemption_notice: float | None = None
        self._announced: set[str] = set()
        self._config = config
        self._log = log
        self._boot_id = boot_id
        self._started_at = time.time()
        # When each key was answered last, on the monotonic clock.
        self.last_good: dict[str, float | None] = dict.fromkeys((*SIGNAL_KEYS, DRIFT_TOKEN_KEY))
        self._outages: dict[str, tuple[float, float]] = {}
        self._last_failure = ""
        self._config_problems: list[str] = []
        self._unusable: list[str] = []
        self._answers: dict[str, str] = {}
        self._restart_required = False
        self._journal_problem = ""
        self._lock_problem = ""
        self._requests_problem = ""
        self._last_incident: Mapping[str, Any] | None = None
        # Of the fleet limit, if there is one.
        self.fleet_limit: Mapping[str, Any] | None = None
        self._lost_journal: Path | None = None
        self._task_problems: list[str] = []
        # The problems of writing files, by name.
        self._write_problems: dict[str, str] = {}
        self._write_again_at: float | None = None
        self._textfile = Textfile(config.state_dir)
        # The path that is saved there.
        self._noted_textfile: Path | str | None = ""
        self._status_file = Newest("status", on_shown)
        self._metrics_file = Newest("metrics", on_shown)
        self._published = ""
        self._ready = False
        self._supervisor = Supervisor()
        self._life_every = watchdog_interval()
        self._last_life = 0.0
        self._reported: tuple[Any, ...] = ()
        self._reported_at = 0.0
        self._shown_state: tuple[Any, ...] = ()
        self._guest_status = GuestStatus(config, on_published) if config.guest_attributes else None
        self.metrics = Metrics()
        self._deliveries = Deliveries(config, log, self.metrics)
        self._describe()

    def start(self) -> None:
        if self._guest_status is not None:
            self._guest_status.start()

    def instance_read(self, read: InstanceRead) -> None:
        """The metadata server has described this VM."""
        self._instance_id = read.instance_id
        self._reach = read.reach
        self._preemption_notice = read.preemption_notice
        self._outages.pop(INSTANCE_ID_KEY, None)

    def possible(self, event: str) -> bool | None:
        """Whether an event can reach this VM, None if unknown."""
        reach = self._reach.get(event)
        possible: bool | None = None if reach is None else reach["possible"]
        return possible

    def heard(self, heard: Heard) -> None:
        """A request for a key succeeded."""
        self.last_good[heard.key] = heard.clock
        self.metrics.count("polls_total", key=heard.key, result="answer")
        self.metrics.set("last_good_answer_timestamp_seconds", round(time.time(), 3), key=heard.key)
        outage = self._outages.pop(heard.key, None)
        if not self._outages:
            self._last_failure = ""
        if outage is not None:
            self._log.warning(f"{heard.key} is answered again, after {heard.clock - outage[0]:.0f} s")
        if heard.key == MAINTENANCE_EVENT_KEY and not self._ready:
            self._ready = True
            self._log.info("the metadata server has answered: ready")
            self._supervisor.notify("READY=1")

    def failed(self, failed: Failed) -> None:
        """A request for a key failed."""
        self.metrics.count("polls_total", key=failed.key, result="failure")
        began, logged = self._outages.get(failed.key, (failed.clock, None))
        if logged is None or failed.clock - logged >= OUTAGE_LOG_EVERY:
            since = "" if logged is None else f" (for {failed.clock - began:.0f} s now)"
            self._log.warning(f"{failed.reason}{since}")
            logged = failed.clock
        self._outages[failed.key] = (began, logged)
        self._last_failure = failed.reason

    def missed(self) -> None:
        """The VM was migrated without notice."""
        self.metrics.count("missed_migrations_total")

    def restarted(self) -> None:
        """The VM went down without an orderly stop."""
        self.metrics.count("unannounced_restarts_total")

    def published(self, result: str) -> None:
        """The guest attribute was written, or not. Changes are logged."""
        self.metrics.count("status_writes_total", result="ok" if result == "ok" else "failure")
        if result == self._published:
            return
        self._published = result
        if result == "ok":
            self._log.debug("the guest attribute is written")
        else:
            self._log.warning(f"cannot publish the status as a guest attribute: {result}")

    def lock_failed(self, problem: str) -> None:
        """The handler runs without a lock, so commands see it as stopped."""
        self.metrics.count("lock_failures_total")
        self._lock_problem = problem
        self._log.error(f"{problem} The handler runs without a lock: a second one would not be detected.")

    def journal_failed(self, problem: str) -> None:
        self.metrics.count("journal_failures_total")
        if problem != self._journal_problem:
            self._log.error(f"{problem} Steps run, but after a crash they are not restored.")
        self._journal_problem = problem

    def journal_set_aside(self) -> None:
        self.metrics.count("journal_set_aside_total")

    def journal_lost(self, kept: Path | None) -> None:
        """An unreadable journal was moved to this path; None if there is none any more."""
        self._lost_journal = kept

    def tasks_examined(self, problems: list[str]) -> list[str]:
        """The problems of the tasks on this machine. Returns those that are new."""
        new = [problem for problem in problems if problem not in self._task_problems]
        self._task_problems = problems
        return new

    def jumped(self, seconds: float) -> None:
        """The wall clock was set, or the machine was paused."""
        self.metrics.count("wall_clock_jumps_total")
        self._log.warning(f"the wall clock jumped by {seconds:+.0f} s; deadlines do not change")

    def journal_written(self) -> None:
        if self._journal_problem:
            self._log.warning("the journal is writable again")
        self._journal_problem = ""

    def config_unusable(self, problems: list[str]) -> None:
        """No valid configuration is active."""
        self._unusable = problems

    def config_refused(self, problems: list[str]) -> None:
        self.metrics.count("reload_failures_total")
        self._config_problems = problems

    def configured(self, config: Config, restart_required: bool) -> None:
        self._config = config
        self._config_problems = []
        self._unusable = []
        self._restart_required = restart_required
        if self._guest_status is not None:
            self._guest_status.configured(config)
        self._deliveries.configured(config)
        self._describe()

    def answered(self, name: str, refusal: str) -> None:
        """A request was accepted, or refused for this reason."""
        self._answers = {**dict(list(self._answers.items())[1 - ANSWERS :]), name: refusal}

    def asked(self, answer: SlotAnswered) -> None:
        """The store of the fleet limit has answered, or has not."""
        if answer.outcome in UNUSABLE:
            self.metrics.count("fleet_limit_unanswered_total")

    def admitted(self, problem: str) -> None:
        """Commands can send requests, or cannot for this reason."""
        if problem and problem != self._requests_problem:
            self._log.error(problem)
        self._requests_problem = problem

    def incident(self, before: Incident | None, after: Incident | None, closed: Incident | None) -> None:
        """An observation has changed the incident."""
        seen = after or closed
        if seen is None:
            return
        count_steps(self.metrics, before, seen, closed)
        for entry in went_ahead(before, seen):
            self.metrics.count("fleet_limit_exceeded_total", event=entry.event)
        self._announced.update(one.event for one in seen.signals if not one.rehearsal and one.event in EVENTS)

    def closed(self, document: Mapping[str, Any]) -> None:
        """An incident (of `public.recorded`) is closed."""
        self._last_incident = _without_output(document)
        if self._guest_status is not None:
            self._guest_status.closed(document)

    def closed_earlier(self, document: Mapping[str, Any]) -> None:
        """The last incident in the history. One that was closed meanwhile is newer."""
        if self._last_incident is None:
            self._last_incident = _without_output(document)
        if self._guest_status is not None:
            self._guest_status.closed_earlier(document)

    def alive(self, now: float, polls_end: bool) -> None:
        """Notify the watchdog while the loop turns and the requests of the watchers end."""
        if self._life_every is not None and now - self._last_life >= self._life_every / 2:
            self._last_life = now
            if polls_end:
                self._supervisor.notify("WATCHDOG=1")

    def shown(self, shown: Shown) -> None:
        """Writing the status file or the metrics has failed, or works again."""
        if shown.problem:
            self._write_problems[shown.what] = shown.problem
            self._log.error(f"Writing the {shown.what}: {shown.problem}.")
        else:
            del self._write_problems[shown.what]
            self._log.warning(f"the {shown.what} is writable again")

    def notified(self, report: Mapping[str, Any]) -> None:
        """The notifier has sent or given up notices (`io.notified`)."""
        self._deliveries.reported(report)

    def finish(self, within: float) -> None:
        """Wait until the last report is written, at most `within` seconds for each file."""
        self._status_file.finish(within)
        self._metrics_file.finish(within)

    def stopping(self) -> None:
        """The handler is stopping."""
        self._supervisor.notify("STOPPING=1")

    def next_time(self) -> float | None:
        """When a report or a notification of the watchdog is due."""
        life_at = None if self._life_every is None else self._last_life + self._life_every
        silent_at = silent_from(self.last_good, self._config.poll_timeout, self._reported_at)
        publish_at = None if self._guest_status is None else self._guest_status.next_time()
        times = (life_at, self._write_again_at, silent_at, publish_at)
        return min((at for at in times if at is not None), default=None)

    def report(self, incident: Incident | None, now: Moment, final: bool = False) -> None:
        """Write the status and the metrics, and tell systemd and the metadata server, if anything has changed."""
        is_due = self._write_again_at is not None and now.clock >= self._write_again_at
        state = IDLE if incident is None else incident.phase
        if self._guest_status is not None and self._guest_status.is_due(now.clock):
            self._guest_status.offer(incident, state, now)
        document, silent = self._document(), silent_keys(self.last_good, self._config.poll_timeout, now.clock)
        current = (incident, document, silent, dict(self._outages), self.metrics.counters())
        if current == self._reported and not final and not is_due:
            return
        self._reported, self._reported_at = current, now.clock
        self._write_again_at = now.clock + WRITE_AGAIN if self._write_problems else None
        show_incident(self.metrics, incident, now)
        if self.fleet_limit is not None:
            show_slot(self.metrics, incident)
        # Nobody updates the figures of a handler that has stopped.
        is_healthy = not final and not document["problems"] and not silent and not (incident and not_restored(incident))
        self.metrics.set("healthy", float(is_healthy))
        self._write({**document, "clock": now.clock, "state": state, "incident": incident and public(incident, now)})
        if final and self._guest_status is not None:
            self._guest_status.finish(incident, now)
            return
        unrestored = tuple(step.task for step in not_restored(incident)) if incident else ()
        # Not the deadline: that of a window is derived anew each time it is read, and differs by some milliseconds.
        events = tuple((one.event, one.serial, one.order) for one in incident.signals) if incident else ()
        held_now = (held(incident), incident.is_held) if incident else ()
        shown = (state, events, held_now, unrestored, bool(self._outages))
        if shown == self._shown_state:
            return
        self._shown_state = shown
        self._supervisor.notify(f"STATUS={state}{', the metadata server does not answer' if self._outages else ''}")
        if self._guest_status is not None:
            self._guest_status.offer(incident, state, now)

    def _document(self) -> dict[str, Any]:
        """The status, apart from the incident and the time."""
        assumed = self._config.assumed_notice(self._preemption_notice)
        return {
            "version": __version__,
            "pid": os.getpid(),
            "boot_id": self._boot_id,
            "instance_id": self._instance_id,
            "started_at": self._started_at,
            "last_good_answer": dict(self.last_good),
            "poll_timeout": self._config.poll_timeout,
            "problems": self._problems(),
            "outages": sorted(self._outages),
            "last_failure": self._last_failure,
            "config_digest": self._config.digest,
            "tasks": len(self._config.tasks),
            "config_refused": self._config_problems,
            "answers": self._answers,
            "last_incident": self._last_incident,
            "restart_required": self._restart_required,
            "missed_migrations": int(self.metrics.counted("missed_migrations_total")),
            "notice": {event: vars(notice) for event, notice in assumed.items()},
            "guest_attribute": self._published if self._guest_status else "off",
            "notifications": self._deliveries.document(),
            **({} if self.fleet_limit is None else {"fleet_limit": self.fleet_limit}),
            "reach": {**self._reach, **dict.fromkeys(self._announced, vars(was_announced()))},
        }

    def _write(self, document: Mapping[str, Any]) -> None:
        self._status_file.offer(partial(status.write, self._config, document))
        text = self.metrics.text().encode()
        self._metrics_file.offer(partial(self._write_metrics, self._config.metrics_textfile, text))

    def _write_metrics(self, path: Path | None, text: bytes) -> None:
        if path != self._noted_textfile:
            self._note_textfile(path)
            self._noted_textfile = path
        if path is not None:
            write_whole(path, text, mode=0o644)

    def _note_textfile(self, path: Path | None) -> None:
        """Remove the metrics at the path of an earlier configuration."""
        try:
            removed = self._textfile.use(path)
        except OSError as exc:
            self._log.error(f"Recording the path of the metrics: {exc}. The file stays if the path changes.")
            return
        if removed is not None:
            self._log.info(f"metrics are no longer written to {removed}, which was removed")

    def _problems(self) -> list[str]:
        problems = [
            problem for problem in (self._lock_problem, self._journal_problem, self._requests_problem) if problem
        ]
        if self._lost_journal is not None:
            problems.append(
                f"tasks in a journal that cannot be read may not be restored: look at {self._lost_journal}, restore "
                "them by hand, delete the file, and reload the handler"
            )
        for what, problem in self._write_problems.items():
            if what != "metrics" or not any("metrics_textfile" in one for one in self._task_problems):
                problems.append(f"Writing the {what}: {problem}.")
        unusable = [f"the configuration is invalid: {problem}" for problem in self._unusable]
        return unusable + problems + self._task_problems

    def _describe(self) -> None:
        self.metrics.clear("info")
        self.metrics.set("info", 1.0, version=__version__, config_digest=self._config.digest)


def _without_output(incident: Mapping[str, Any]) -> dict[str, Any]:
    """For the status, which everybody can read, unlike the output of tasks."""
    steps = [{name: step[name] for name in step if name != "output"} for step in incident["steps"]]
    return {**incident, "steps": steps}
