# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `rehearse`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from ..core.announcements import rehearsal
from ..core.incident import ANNOUNCED, IDLE, NOT_RESTORED, OK, Moment
from ..core.tasks import DRAIN, RESTORE
from ..core.timeline import incident_lines, news, plan_lines
from ..io.history import History
from ..io.request import REHEARSE, Request
from . import preflight, status
from .asking import ENDED, LOOK_EVERY, ask, patience, unique, user
from .cli_common import (
    EXIT_FAILED,
    EXIT_OK,
    CommandError,
    log_to_stderr,
    print_lines,
    read_status,
    runs_for,
    settings_of,
)
from .config import Config
from .handler import Handler


def rehearse(options: argparse.Namespace) -> int:
    settings = settings_of(options, preflight.load)
    if not options.execute:
        return _show_rehearsal(settings, options.event, as_json=options.json)
    name = unique("rehearsal")
    now = read_status(settings)
    if now["running"]:
        _ask_to_rehearse(settings, now, options, name)
    else:
        with log_to_stderr(settings) as log:
            code = Handler(settings, options.config, log).rehearse(options.event, name)
        if code:
            return code
    incident = _rehearsed(settings, name)
    if incident is None:
        raise CommandError("the rehearsal was interrupted; the next handler restores what it drained")
    if options.json:
        print(json.dumps(_document(options.event, incident)))
    else:
        print_lines(incident_lines(incident))
        for one in incident.get("not_restored", ()):
            print_lines([f"{one['task']} is NOT RESTORED, and retried: see the commands restore and acknowledge"])
    return EXIT_OK if all(step["outcome"] == OK for step in incident["steps"]) else EXIT_FAILED


def _document(event: str, incident: dict[str, Any]) -> dict[str, Any]:
    steps = [
        {field: step.get(field, "") for field in ("task", "phase", "outcome", "seconds", "detail", "output")}
        for step in incident["steps"]
    ]
    not_restored = [one["task"] for one in incident.get("not_restored", ())]
    skipped = [{"task": skip["task"], "reason": skip["reason"]} for skip in incident["skips"]]
    return {
        "event": event,
        "executed": True,
        "incident": incident["id"],
        "steps": steps,
        "skipped": skipped,
        "not_restored": not_restored,
    }


def _show_rehearsal(settings: Config, event: str, *, as_json: bool) -> int:
    """Show what would run, with each `when` evaluated."""
    now = Moment(time.monotonic(), time.time())
    document = rehearsal(event, "rehearsal", now, settings.notice).signal.document
    concerned = [task for task in settings.tasks if event in task.on]
    tasks = [task for task in concerned if runs_for(task, document)]
    skipped = [task.name for task in concerned if task not in tasks]
    if as_json:
        in_order = [task.name for task in sorted(tasks, key=lambda task: task.stage)]
        steps = [{"task": name, "phase": DRAIN} for name in in_order]
        steps += [{"task": name, "phase": RESTORE} for name in reversed(in_order)]
        reason = "its 'when' is false for a rehearsal"
        skips = [{"task": name, "reason": reason} for name in skipped]
        print(json.dumps({"event": event, "executed": False, "steps": steps, "skipped": skips}))
        return EXIT_OK
    for name in skipped:
        print(f"skipped: {name}, its 'when' is false for a rehearsal")
    print_lines(plan_lines(event, tasks, settings.assumed_notice(), {}))
    print("Nothing was run. Use --execute to drain and restore.")
    return EXIT_OK


def _ask_to_rehearse(settings: Config, now: dict[str, Any], options: argparse.Namespace, name: str) -> None:
    """Let the running handler rehearse, so that a real event becomes part of the incident, and wait for the end."""
    if "pid" in now and now["state"] not in (IDLE, ANNOUNCED):
        what = "a task is" if now["state"] == NOT_RESTORED else "the handler is"
        raise CommandError(f"{what} {now['state']}: rehearse when nothing is drained")
    ask(settings, now, Request(REHEARSE, name, user(), event=options.event))
    told: set[str] = set()
    give_up_at = time.monotonic() + patience(settings)
    while time.monotonic() < give_up_at:
        over = _rehearsed(settings, name)
        now = read_status(settings)
        goes_on = _since_rehearsal(now["incident"], name) if now["incident"] else None
        if not options.json:
            print_lines(news(told, over or goes_on or {"steps": []}))
            sys.stdout.flush()
        if over is not None:
            return
        if not now["running"]:
            raise CommandError(ENDED)
        time.sleep(LOOK_EVERY)
    raise CommandError("the rehearsal exceeds the timeouts of its tasks, and continues in the handler: see its status")


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
