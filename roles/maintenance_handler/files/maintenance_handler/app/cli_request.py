# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that the running handler carries out: `rehearse`, `restore`, `acknowledge`."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
import time
from typing import Any

from ..core.announcements import rehearsal
from ..core.incident import ANNOUNCED, DRAINED, IDLE, NOT_RESTORED, OK, Moment
from ..core.tasks import DRAIN
from ..core.tasks import RESTORE as PHASE_RESTORE
from ..core.timeline import incident_lines, news, plan_lines, step_end
from ..io import request
from ..io.history import History
from ..io.request import ACKNOWLEDGE, REHEARSE, RESTORE, Request
from . import preflight, status
from .cli_common import (
    EXIT_FAILED,
    EXIT_OK,
    CommandError,
    known_settings,
    log_to_stderr,
    print_lines,
    read_status,
    settings_of,
)
from .config import Config
from .expressions import ExpressionError, compiled
from .handler import Handler

# Seconds that a handler may take for a request, besides the time of its tasks.
WAITING = 60.0
# Seconds between two reads of the status.
_LOOK_EVERY = 0.1
# Reads of the status until a handler that has not answered a request is given up: its disk may be slow.
_MOST_LOOKS_IN_VAIN = 100
_ENDED = "the handler stopped in the meantime; the next one restores what was drained"


def rehearse(options: argparse.Namespace) -> int:
    settings = settings_of(options, preflight.load)
    if not options.execute:
        return _show_rehearsal(settings, options.event)
    name = _name("rehearsal")
    now = read_status(settings)
    if now["running"]:
        _ask_to_rehearse(settings, now, options.event, name)
    else:
        with log_to_stderr(settings) as log:
            code = Handler(settings, options.config, log).rehearse(options.event, name)
        if code:
            return code
    incident = _rehearsed(settings, name)
    if incident is None:
        raise CommandError("the rehearsal was interrupted; the next handler restores what it drained")
    print_lines(incident_lines(incident))
    for one in incident.get("not_restored", ()):
        print_lines([f"{one['task']} is NOT RESTORED, and retried: see the commands restore and acknowledge"])
    return EXIT_OK if all(step["outcome"] == OK for step in incident["steps"]) else EXIT_FAILED


def restore(options: argparse.Namespace) -> int:
    settings = settings_of(options, known_settings)
    now = read_status(settings)
    tasks = _unrestored(now, options.task)
    incident = now["incident"]
    # An attempt that is already running counts as well.
    over = {step["task"]: step.get("number", 0) for step in incident["steps"] if step["outcome"]}
    _ask(settings, now, Request(RESTORE, _name(RESTORE), _user(), tasks=tasks))
    code = EXIT_OK
    for task in tasks:
        step = _next_step(settings, incident["id"], task, over.get(task, 0))
        print_lines([f"{step['phase']} {task!r}: {step_end(step)}"])
        code = code if step["phase"] == RESTORE and step["outcome"] == OK else EXIT_FAILED
    return code


def acknowledge(options: argparse.Namespace) -> int:
    settings = settings_of(options, known_settings)
    now = read_status(settings)
    tasks = _unrestored(now, options.task)
    _ask(settings, now, Request(ACKNOWLEDGE, _name(ACKNOWLEDGE), _user(), tasks=tasks))
    print_lines([f"acknowledged: {', '.join(tasks)}"])
    return EXIT_OK


def _show_rehearsal(settings: Config, event: str) -> int:
    """Show what would run, with each `when` evaluated."""
    now = Moment(time.monotonic(), time.time())
    document = {"event": rehearsal(event, "rehearsal", now, settings.notice).signal.document}
    tasks = []
    for task in settings.tasks:
        if event not in task.on:
            continue
        try:
            if task.when is None or compiled(task.when)(document):
                tasks.append(task)
            else:
                print(f"skipped: {task.name}, its 'when' is false for a rehearsal")
        except ExpressionError as exc:
            raise CommandError(f"task {task.name!r}, field 'when': {exc}") from None
    print_lines(plan_lines(event, tasks, settings.assumed_notice(), {}))
    print("Nothing was run. Use --execute to drain and restore.")
    return EXIT_OK


def _ask_to_rehearse(settings: Config, now: dict[str, Any], event: str, name: str) -> None:
    """Let the running handler rehearse, so that a real event becomes part of the incident, and wait for the end."""
    if "pid" in now and now["state"] not in (IDLE, ANNOUNCED):
        what = "a task is" if now["state"] == NOT_RESTORED else "the handler is"
        raise CommandError(f"{what} {now['state']}: rehearse when nothing is drained")
    _ask(settings, now, Request(REHEARSE, name, _user(), event=event))
    told: set[str] = set()
    give_up_at = time.monotonic() + _patience(settings)
    while time.monotonic() < give_up_at:
        over = _rehearsed(settings, name)
        now = read_status(settings)
        goes_on = _since_rehearsal(now["incident"], name) if now["incident"] else None
        print_lines(news(told, over or goes_on or {"steps": []}))
        sys.stdout.flush()
        if over is not None:
            return
        if not now["running"]:
            raise CommandError(_ENDED)
        time.sleep(_LOOK_EVERY)
    raise CommandError("the rehearsal exceeds the timeouts of its tasks, and continues in the handler: see its status")


def _patience(settings: Config) -> float:
    """Seconds in which all tasks can be drained and restored one after the other."""
    phases = (DRAIN, PHASE_RESTORE)
    return WAITING + sum(
        max(task.limit(phase, event) for event in task.on) for task in settings.tasks for phase in phases
    )


def _ask(settings: Config, now: dict[str, Any], wish: Request) -> None:
    """Send a request to the running handler. Raises `CommandError` if it is not accepted."""
    if not now["running"]:
        raise CommandError("the handler is not running: start it to restore what is drained according to its journal")
    if "pid" not in now:
        raise CommandError("the handler has not written its status yet: try again later")
    path = request.send(settings.runtime_dir, now["pid"], wish)
    for _unused in range(_MOST_LOOKS_IN_VAIN):
        time.sleep(_LOOK_EVERY)
        now = read_status(settings)
        refusal = now.get("answers", {}).get(wish.name)
        if refusal:
            raise CommandError(f"the handler refused to {wish.command}: {refusal}")
        if refusal is not None:
            return
        if not now["running"]:
            raise CommandError(_ENDED)
    path.unlink(missing_ok=True)
    raise CommandError(f"no response from the handler to the request to {wish.command}: see its log")


def _user() -> str:
    """The name of the calling user, for the log."""
    name = os.environ.get("SUDO_USER", "")
    if name:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def _unrestored(now: dict[str, Any], task: str | None) -> tuple[str, ...]:
    """The tasks that are not restored, or the requested one of them."""
    names = tuple(one["task"] for one in (now["incident"] or {}).get("not_restored", ()))
    if not names:
        raise CommandError("all tasks are restored: there is nothing to do")
    if task is None:
        return names
    if task not in names:
        raise CommandError(f"{task!r} is not among what is not restored: {', '.join(map(repr, names))}")
    return (task,)


def _next_step(settings: Config, incident_id: str, task: str, before: int) -> dict[str, Any]:
    """The result of a task's next step. Waits for its end."""
    looks_in_vain = 0
    give_up_at = time.monotonic() + _patience(settings)
    while time.monotonic() < give_up_at:
        now = read_status(settings)
        here = now["incident"] and now["incident"]["id"] == incident_id
        known = [now["incident"]] if here else History(settings.state_dir).read()
        steps = [step for one in known if one["id"] == incident_id for step in one["steps"]]
        for step in steps:
            if step["task"] == task and step.get("number", 0) > before and step["outcome"]:
                return dict(step)
        if not now["running"]:
            raise CommandError(_ENDED)
        is_idle = not here or now["state"] in (NOT_RESTORED, DRAINED, ANNOUNCED)
        looks_in_vain = looks_in_vain + 1 if is_idle else 0
        if looks_in_vain > _MOST_LOOKS_IN_VAIN // 5:
            raise CommandError(f"the handler does not retry {task!r} now: it is {now['state']}, see its status")
        time.sleep(_LOOK_EVERY)
    raise CommandError(f"the restore of {task!r} exceeds its timeout: see the handler's status")


def _name(command: str) -> str:
    """A unique name for a request."""
    return f"{command} {os.urandom(4).hex()}"


def _rehearsed(settings: Config, name: str) -> dict[str, Any] | None:
    """The incident of a finished rehearsal, with the steps since its start."""
    now = read_status(settings)
    # An announced window keeps the incident open.
    goes_on = not status.in_flight(now) if now["running"] else now["state"] == NOT_RESTORED
    still_open = [now["incident"]] if now["incident"] and goes_on else []
    for incident in (*History(settings.state_dir).read(), *still_open):
        if any(past["value"] == name for past in incident["past"]):
            return _since_rehearsal(incident, name)
    return None


def _since_rehearsal(incident: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The incident with the steps since a rehearsal began, None if it has no such rehearsal."""
    for one in (*incident["past"], *incident["signals"]):
        if one["value"] == name:
            began = one["noticed_at"]
            return {**incident, "steps": [step for step in incident["steps"] if step["started_at"] >= began]}
    return None
