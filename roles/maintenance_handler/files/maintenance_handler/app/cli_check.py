# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that check the configuration: `check`, here or in the environment of the service, and `plan`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .._vm.maintenance import MANUAL, TERMINATE
from .._vm.metadata_server import Limits, MetadataServer
from ..core.plan import by_hand
from ..core.tasks import TASK_EVENTS
from ..core.timeline import plan_lines
from ..io.examination import PROGRAM
from ..io.log import visible
from . import config, status, unit_environment
from .cli_common import EXIT_OK, EXIT_USAGE, CommandError, become_owner_of, print_lines, read_status, settings_of
from .preflight import Report, report
from .unit_environment import UNIT_FILE, CannotRun


def check(options: argparse.Namespace) -> int:
    try:
        unit = None if options.here else unit_text(options.unit, options.config)
        if unit is None:
            become_owner_of(options.config)
        task_checks = not options.without_task_checks
        if unit is None:
            found = report(options.config, task_checks)
        else:
            found = report_in_unit(options.config, unit, task_checks)
    except CannotRun as exc:
        raise CommandError(str(exc)) from None
    if options.probe and not found.problems:
        host = config.load(options.config).metadata_host
        MetadataServer(host, limits=Limits(retry_for=options.probe)).get("instance/id")
    if options.json:
        print(json.dumps(vars(found)))
    else:
        for problem in found.problems:
            print(f"{options.config}: {visible(problem)}", file=sys.stderr)
        if not found.problems:
            print(f"{options.config}: {found.tasks} tasks, no problems")
            if found.notice:
                assumed = "; ".join(f"{event}: {notice}" for event, notice in found.notice.items())
                print(f"{options.config}: {assumed}")
            print_lines(f"{options.config}: note: {note}" for note in found.notes)
    return EXIT_USAGE if found.problems else EXIT_OK


def plan(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    now = read_status(settings)
    assumed = settings.assumed_notice(status.shown_preemption_notice(now))
    for event in TASK_EVENTS:
        tasks = by_hand(settings.tasks, TERMINATE) if event == MANUAL else settings.tasks
        print_lines(plan_lines(event, tasks, assumed, now.get("reach", {})))
        if settings.fleet_limit is not None:
            notice = assumed[event].seconds if event in assumed else None
            print_lines(settings.fleet_limit.plan(event, tasks, notice))
    return EXIT_OK


def unit_text(wanted: Path | None, configuration: Path) -> str | None:
    """The unit file to check against: the given one, else the installed one if it is for this configuration.

    None without a unit file or without systemd. Raises `CannotRun` if the given one cannot be used.
    """
    if wanted is not None:
        if not unit_environment.is_possible():
            raise CannotRun("only root can check in a service's environment, and only where systemd runs")
        try:
            return wanted.read_text(encoding="utf-8", errors="replace")
        except OSError as exc:
            raise CannotRun(f"Reading the unit {wanted}: {exc.strerror}.") from None
    try:
        text = UNIT_FILE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text if unit_environment.is_possible() and str(configuration) in text.split() else None


def report_in_unit(configuration: Path, unit: str, task_checks: bool = True) -> Report:
    """The result of `report` in the environment of the service of a unit file's text. Raises `CannotRun`."""
    by_input = str(configuration) in config.STANDARD_INPUT
    where = "-" if by_input else str(configuration)
    command = [sys.executable, "-I", "-X", "utf8", str(PROGRAM), "check", "--here", "--json", "--config", where]
    command += [] if task_checks else ["--without-task-checks"]
    # The file is read by the service's user, who may own it: root does not read what another may have put there.
    code, output = unit_environment.run(unit, command, config.read(configuration) if by_input else None)
    try:
        raw = json.loads(output)
        return Report(raw["digest"], raw["tasks"], tuple(raw["problems"]), tuple(raw["notes"]), raw["notice"])
    except (ValueError, KeyError, TypeError):
        raise CannotRun(f"the check in the service's environment ended with status {code} without a result") from None
