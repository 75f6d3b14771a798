# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `run-task`: run one phase of one task by hand, as the handler would run it."""

from __future__ import annotations

import argparse
import select
import sys
import time
from pathlib import Path

from ..core.actions import Start
from ..core.event import REHEARSAL, document
from ..core.incident import ANNOUNCED, IDLE, OK, Moment, Step
from ..core.likeness import did_you_mean
from ..core.tasks import Task, with_grace
from ..io.account import NoAccount, look_up
from ..io.examination import PROGRAM
from ..io.executable import adopt_path, located
from ..io.launch import task_document, times, variables
from ..io.log import visible
from ..io.process import CannotStart, Command, Prepared, TaskProcess, environment_for
from . import unit_environment
from .cli_check import unit_text
from .cli_common import CommandError, read_status, settings_of
from .config import Config
from .unit_environment import CannotRun

INCIDENT = "by-hand"

# Seconds for the user database.
_LOOK_UP = 10.0
_EVERY = 0.1


def run_task(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    now = read_status(settings)
    if now["incident"] and now["state"] not in (IDLE, ANNOUNCED):
        raise CommandError(f"the handler is {now['state']}, and runs its tasks itself: see its status")
    try:
        unit = None if options.here else unit_text(None, options.config)
        if unit is not None:
            return run_in_unit(unit, settings, options.config, options.task, options.phase, options.event)
        return run_here(settings, options.task, options.phase, options.event)
    except CannotRun as exc:
        raise CommandError(str(exc)) from None


def run_in_unit(unit: str, config: Config, path: Path, name: str, phase: str, event: str | None) -> int:
    """Run it in the environment of the service of a unit file's text. Returns the exit status."""
    task, event = _wanted(config, name, phase, event)
    command = [sys.executable, "-I", "-X", "utf8", str(PROGRAM), "run-task", "--here", "--config", str(path)]
    # The unit's own line for it would delete it when this transient unit ends.
    writable = f"ReadWritePaths=-{config.state_dir}"
    return unit_environment.call(unit, [*command, "--event", event, "--", task.name, phase], [writable])


def run_here(config: Config, name: str, phase: str, event: str | None) -> int:
    """Run it in this environment, and print its output. Returns 0 if it succeeds, else 1."""
    task, event = _wanted(config, name, phase, event)
    adopt_path(config.path)
    process = _started(task, phase, event, config)
    more = True
    while True:
        # A task may close its output before it ends.
        select.select([process] if more else [], [], [], _EVERY)
        lines, more = process.read_lines()
        result = process.poll(time.monotonic())
        if result is not None:
            lines += process.last_lines()[0]
        for line in lines:
            print(visible(line), flush=True)
        if result is not None:
            break
    outcome, detail = result
    print(": ".join(filter(None, (f"{phase} {name!r}", outcome, detail))), file=sys.stderr)
    return 0 if outcome == OK else 1


def _wanted(config: Config, name: str, phase: str, event: str | None) -> tuple[Task, str]:
    tasks = {task.name: task for task in config.tasks}
    if name not in tasks:
        known = ", ".join(map(repr, tasks)) or "none"
        raise CommandError(f"there is no task {name!r}; there are {known}{did_you_mean(name, tasks)}")
    task = tasks[name]
    if not task.has(phase):
        raise CommandError(f"task {name!r} has no {phase}")
    if event is not None and event not in task.on:
        raise CommandError(f"task {name!r} is not for {event}, but for {', '.join(task.on)}")
    return task, event or task.on[0]


def _started(task: Task, phase: str, event: str, config: Config) -> TaskProcess:
    now = Moment(time.monotonic(), time.time())
    until = now.clock + with_grace(task.limit(phase, event))
    told = document(event, REHEARSAL, INCIDENT, config.notice.get(event))
    step = Step(number=0, task=task.name, phase=phase, event=event, attempt=1, started=now, until=until, left=None)
    start = Start(step, task, told)
    seen = task_document(start, INCIDENT, now.at)
    command = task.command(phase, seen["event"])
    try:
        account = None if task.user is None else look_up(task.user, _LOOK_UP)
        environment = environment_for(account, {**task.env, **variables(start, INCIDENT)})
        environment.update(times(start))
        prepared = Prepared(
            Command(command, located(command[0], environment), environment, account), input_name=INCIDENT, document=seen
        )
        return TaskProcess(prepared, now=now.clock, until=until)
    except (CannotStart, NoAccount) as exc:
        raise CommandError(f"task {task.name!r}: {exc}") from None
    except OSError as exc:
        raise CommandError(f"task {task.name!r}: {command[0]}: {exc.strerror}") from None
