# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that show the handler's state: `status`, `wait`, `history`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from .._vm.maintenance import format_time
from ..core.timeline import ended_at, incident_lines
from ..io.history import History
from . import status as status_file
from .cli_common import (
    EXIT_FAILED,
    EXIT_IN_FLIGHT,
    EXIT_OK,
    EXIT_RESTART_REQUIRED,
    CommandError,
    known_settings,
    print_lines,
    read_status,
    settings_of,
)
from .waiting import is_known, wait_until


def status(options: argparse.Namespace) -> int:
    settings = settings_of(options, known_settings)
    now = read_status(settings)
    if options.json:
        print(json.dumps(now, indent=2))
    else:
        print_lines(_status_lines(now))
    if status_file.in_flight(now):
        return EXIT_IN_FLIGHT
    return EXIT_OK if now["healthy"] else EXIT_FAILED


def wait(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    reached, now = wait_until(
        options.until,
        options.configuration,
        options.timeout,
        lambda: read_status(settings),
        clock=time.monotonic,
        sleep=time.sleep,
    )
    if options.json:
        print(json.dumps(now, indent=2))
    if reached:
        if options.configuration and now["restart_required"]:
            print("gce-maintenance-handler: part of the configuration requires a restart", file=sys.stderr)
            return EXIT_RESTART_REQUIRED
        return EXIT_OK
    reasons = [*now["problems"], *now.get("config_refused", [])]
    if not reasons and options.configuration and not options.configuration.startswith(now.get("config_digest", "-")):
        reasons = [f"configuration {now.get('config_digest')} is in force, and not {options.configuration:.12}"]
    why = f": {'; '.join(reasons)}" if reasons else ""
    within = f" within {options.timeout:g} s" if options.timeout else ""
    # Without a status, the state is that of the journal, which may be the goal.
    state = f", but {now['state']}" if is_known(now) else ""
    raise CommandError(f"not {options.until}{within}{state}{why}")


def history(options: argparse.Namespace) -> int:
    incidents = History(settings_of(options).state_dir).read()
    if options.since is not None:
        incidents = [incident for incident in incidents if ended_at(incident) >= options.since]
    if options.last is not None:
        incidents = incidents[-options.last :]
    if options.json:
        print(json.dumps(incidents, indent=2))
        return EXIT_OK
    for incident in incidents:
        print_lines(incident_lines(incident))
    if not incidents:
        is_filtered = options.since is not None or options.last is not None
        print("No such incident." if is_filtered else "No incident yet.")
    return EXIT_OK


def _status_lines(now: dict[str, Any]) -> list[str]:
    lines = [f"{'well' if now['healthy'] else 'NOT WELL'}, {now['state']}"]
    lines += [f"  problem: {problem}" for problem in now["problems"]]
    if now["incident"]:
        lines += incident_lines(now["incident"])
    if not now.get("pid"):
        return lines
    lines.append(f"  handler {now['version']}, process {now['pid']}, running since {format_time(now['started_at'])}")
    for key, age in now["last_good_answer_ages"].items():
        heard = "never" if age is None else f"{age:.1f} s ago"
        lines.append(f"  {key:<29} last answer {heard}")
    lines.append(f"  configuration {now['config_digest']}{_how_many_tasks(now.get('tasks'))}")
    lines += [f"  configuration rejected: {problem}" for problem in now["config_refused"]]
    if now["restart_required"]:
        lines.append("  a restart is required to apply the whole configuration")
    if now["missed_migrations"]:
        lines.append(f"  migrations without a notice since the handler started: {now['missed_migrations']}")
    lines.append(f"  guest attribute: {now['guest_attribute'] or 'not written yet'}")
    for event, reach in now["reach"].items():
        verdict = {True: "yes", False: "no", None: "unknown"}[reach["possible"]]
        lines.append(f"  can {event} reach this VM: {verdict}, {reach['reason']}")
    return lines


def _how_many_tasks(count: int | None) -> str:
    if count is None:
        return ""
    return {0: ", with NO task: nothing would be drained", 1: ", with 1 task"}.get(count, f", with {count} tasks")
