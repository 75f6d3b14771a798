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
from ..core.slot_lines import slot_lines
from ..core.timeline import by_whom, ended_at, incident_lines
from ..io.history import History
from ..io.journal import Journal, JournalError
from . import config
from . import status as status_file
from .cli_common import (
    EXIT_FAILED,
    EXIT_IN_FLIGHT,
    EXIT_OK,
    EXIT_RESTART_REQUIRED,
    CommandError,
    print_lines,
    public_settings,
    read_status,
    settings_of,
)
from .config import Config
from .waiting import is_known, wait_until


def status(options: argparse.Namespace) -> int:
    settings = settings_of(options, public_settings)
    now = read_status(settings)
    if options.output and now["incident"]:
        _add_output(now["incident"], settings)
    if options.json:
        print(json.dumps(now, indent=2))
    else:
        print_lines(_status_lines(now))
    if status_file.in_flight(now):
        return EXIT_IN_FLIGHT
    return EXIT_OK if now["healthy"] else EXIT_FAILED


def wait(options: argparse.Namespace) -> int:
    settings = settings_of(options, lambda path: public_settings(path, config.load))
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


def _add_output(incident: dict[str, Any], settings: Config) -> None:
    """Add the last line of output of failed steps, which is only in the journal."""
    try:
        entry = Journal(settings.state_dir).read()
    except JournalError as exc:
        raise CommandError(str(exc)) from None
    known = entry.incident.steps if entry is not None and entry.incident is not None else ()
    outputs = {(step.number, step.task): step.output for step in known}
    for step in incident["steps"]:
        step["output"] = outputs.get((step.get("number"), step["task"]), "")


def _orders(incident: dict[str, Any]) -> list[str]:
    """A line for each order of an operator that is on."""
    lines = []
    for one in incident["signals"]:
        order = one.get("order")
        if order:
            until = "" if order["until"] is None else f" until {format_time(order['until'])}"
            since = format_time(one["noticed_at"])
            lines.append(f"  drained by hand as for {order['as_event']} since {since}{until}, {by_whom(order)}")
    hold = incident.get("hold")
    if hold and hold["released_at"] is None:
        lines.append(f"  held since {format_time(hold['at'])}, {by_whom(hold)}")
    return lines


def _status_lines(now: dict[str, Any]) -> list[str]:
    lines = [f"{'well' if now['healthy'] else 'NOT WELL'}, {now['state']}"]
    lines += [f"  problem: {problem}" for problem in now["problems"]]
    if now["incident"]:
        lines += [*_orders(now["incident"]), *incident_lines(now["incident"])]
    lines += slot_lines(now)
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
    for name, target in now.get("notifications", {}).items():
        lines.append(f"  notify {name}: {_delivery(target)}")
    for event, reach in now["reach"].items():
        verdict = {True: "yes", False: "no", None: "unknown"}[reach["possible"]]
        lines.append(f"  can {event} reach this VM: {verdict}, {reach['reason']}")
    return lines


def _delivery(target: dict[str, Any]) -> str:
    given_up = f", {target['failed']} given up" if target["failed"] else ""
    problem = f": {target['problem']}" if target["problem"] else ""
    return f"{target['sent']} sent, {target['queued']} queued{given_up}{problem}"


def _how_many_tasks(count: int | None) -> str:
    if count is None:
        return ""
    return {0: ", with NO task: nothing would be drained", 1: ", with 1 task"}.get(count, f", with {count} tasks")
