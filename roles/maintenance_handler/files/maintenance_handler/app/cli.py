# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line. Here, and only here, errors become messages and exit statuses."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Callable

from .. import __version__
from .._vm.maintenance import EVENTS, TERMINATE
from .._vm.metadata_server import MetadataError
from ..core.tasks import DRAIN, RESTORE, TASK_EVENTS
from ..io.history import MOST
from ..io.lock import Locked
from ..io.owner import NotOurs
from ..io.request import LONGEST_HOLDER, LONGEST_REASON
from .cli_common import EXIT_FAILED, EXIT_USAGE, CommandError
from .config import ConfigError
from .waiting import GOALS

DEFAULT_CONFIG = Path("/etc/gce-maintenance-handler/config.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Characters that the locale does not have are shown escaped.
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        result: int = _function(options.command)(options)
        sys.stdout.flush()
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return EXIT_USAGE
    except (CommandError, Locked, MetadataError, NotOurs) as exc:
        print(f"gce-maintenance-handler: {exc}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        # The reader has closed the pipe. Python would report it again when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as exc:
        print(f"gce-maintenance-handler: {exc.filename or 'the system'}: {exc.strerror}", file=sys.stderr)
        return EXIT_FAILED
    return result


def _function(command: tuple[str, str]) -> Callable[[argparse.Namespace], int]:
    """The function of a command. Only its group is imported: a running handler does not need the others in memory."""
    group, name = command
    function: Callable[[argparse.Namespace], int] = getattr(
        import_module(f".cli_{group}", __package__), name.replace("-", "_")
    )
    return function


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gce-maintenance-handler",
        description="Drain a VM before host maintenance, and restore it afterwards.",
        formatter_class=_formatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, group: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, formatter_class=_formatter)
        sub.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
        sub.set_defaults(command=(group, name))
        return sub

    def because(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--reason", type=_reason, default="", metavar="TEXT", help="for status, log and history")

    def waiting(sub: argparse.ArgumentParser, patience: str = "with --wait") -> None:
        sub.add_argument("--wait", action="store_true", help="wait for the end, and show each step")
        sub.add_argument(
            "--timeout", type=_seconds, default=3600.0, metavar="SECONDS", help=f"{patience}; default: %(default)s"
        )

    command("run", "run", "Watch, drain and restore until asked to stop.")
    sub = command("check", "check", "Check the configuration on this machine.")
    sub.description = (
        "Check the configuration on this machine: its fields, whether its tasks fit the notice of their events, and "
        "whether each task's user has everything that the task needs. If root calls it and systemd runs, it checks in "
        "the environment of the service, with its user, PATH and sandbox, by systemd-run. FILE may be - for standard "
        "input. Exit status 0: valid, 2: invalid, 1: the check failed."
    )
    where = sub.add_mutually_exclusive_group()
    where.add_argument(
        "--unit",
        type=Path,
        metavar="FILE",
        help="check in the environment of the service of this unit file; default: the installed unit, if it "
        "is for this configuration",
    )
    where.add_argument("--here", action="store_true", help="check in the environment of the caller")
    sub.add_argument("--json", action="store_true", help="as JSON: tasks, problems, notes")
    sub.add_argument(
        "--without-task-checks",
        action="store_true",
        help="skip the tasks' own checks, as in an image, where what they need does not run",
    )
    sub.add_argument(
        "--probe", type=_seconds, metavar="SECONDS", help="also query the metadata server, for this many seconds"
    )
    command("plan", "check", "Show for each event what would run when, and how much notice is left.")
    sub = command("rehearse", "rehearse", "Show what an event would run; with --execute, drain and restore.")
    sub.add_argument("event", choices=EVENTS, metavar="EVENT", help=", ".join(EVENTS))
    sub.add_argument("--execute", action="store_true", help="run the drain tasks, then restore")
    sub.add_argument("--json", action="store_true", help="as JSON, at the end")
    sub = command("run-task", "task", "Run one task by hand, as its user and with its environment.")
    sub.description = (
        "Run one task by hand, as its user and with its environment; for root, where systemd runs the machine, in the "
        "environment of the service. Nothing is recorded: what is drained by hand is restored by hand, or with the "
        "next event that drains it. Refused while the handler drains or restores. Exit status 0: it succeeded."
    )
    sub.add_argument("task", metavar="TASK", help="its name")
    sub.add_argument("phase", choices=(DRAIN, RESTORE), metavar="PHASE", help=f"{DRAIN}, {RESTORE}")
    sub.add_argument("--event", choices=TASK_EVENTS, metavar="EVENT", help="for this event; default: the task's first")
    sub.add_argument("--here", action="store_true", help="in the environment of the caller")
    sub = command("status", "status", "Show the status. Exit status 0: well, 1: not well, 3: draining or restoring.")
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub.add_argument(
        "--output", action="store_true", help="also the last line of output of failed steps, which only root can read"
    )
    sub = command("drain", "drain", "Drain this VM now, until it is restored.")
    sub.description = (
        "Drain this VM now: run the tasks for manual, and those for the event that --as names. The VM stays drained, "
        "also over a restart of the handler and a reboot, until restore, or until the time of --for is over. With a "
        "fleet limit, the handler waits for a slot, and gives up after the time of --timeout. For root and the group "
        "of operators."
    )
    sub.add_argument(
        "--as", dest="as_event", choices=EVENTS, default=TERMINATE, metavar="EVENT", help="default: %(default)s"
    )
    sub.add_argument(
        "--for", dest="seconds", type=_duration, metavar="TIME", help="at most this long, such as 30m, 2h or 1d"
    )
    sub.add_argument(
        "--reason", type=_reason, default="", metavar="TEXT", help="for the status, the log and the history"
    )
    sub.add_argument("--dry-run", action="store_true", help="show what would run; for root")
    sub.add_argument("--json", action="store_true", help="with --dry-run: as JSON")
    waiting(sub, "with --wait, and also without it for a slot of the fleet limit")
    sub = command("restore", "restore", "End a drain by hand, or retry failed restores now.")
    sub.description = (
        "End a drain by hand. Tasks of an event that is announced stay drained until it is over, and what is held "
        "until unhold. Without a drain by hand, retry failed restores now, and show the result. With --wait, the exit "
        "status is 0 only if all tasks are restored."
    )
    sub.add_argument("task", nargs="?", metavar="TASK", help="retry the restore of this task only")
    waiting(sub)
    sub = command("hold", "drain", "Keep what is drained, or is to be drained, after its event, until unhold.")
    sub.add_argument(
        "--reason", type=_reason, default="", metavar="TEXT", help="for the status, the log and the history"
    )
    waiting(command("unhold", "restore", "Release what is held, so that it is restored once no event is left."))
    sub = command("unlock", "unlock", "Free the slot of the fleet limit of a VM that is gone.")
    sub.description = (
        "Free the slot of the fleet limit of a VM that is gone for good, or that cannot give it back. Another VM may "
        "be drained then. For root and the group of operators."
    )
    sub.add_argument("id", type=_holder, metavar="ID", help="as the status shows it: zone/name/instance id")
    sub = command("acknowledge", "restore", "Leave tasks that are not restored as they are, and close the incident.")
    sub.add_argument("task", nargs="?", metavar="TASK", help="only this task")
    sub = command("wait", "status", "Wait until the handler reaches a state.")
    sub.description = (
        "Wait until the handler reaches a state. running: it runs and has written its status; well: it is healthy; "
        "settled: no task is being drained or restored; idle: nothing is drained; drained: every task is. "
        "Exit status 0: reached, 1: not reached in time, 4: reached, but part of --configuration requires a restart."
    )
    sub.add_argument("--until", choices=GOALS, required=True, metavar="GOAL", help=", ".join(GOALS))
    sub.add_argument(
        "--timeout", type=_seconds, default=60.0, metavar="SECONDS", help="default: 60; 0 only tests the current state"
    )
    sub.add_argument(
        "--configuration", default="", metavar="SHA256", help="and the configuration with this hash is active"
    )
    sub.add_argument("--json", action="store_true", help="print the status as JSON")
    sub = command("notify-test", "notify", "Send a test notification, and show what comes back.")
    sub.description = (
        "Send a test notification to each target of maintenance_handler_notify, or to one, and show what comes back. "
        "What it opens in PagerDuty or Alertmanager, it also resolves. Exit status 0: all have accepted it."
    )
    sub.add_argument("target", nargs="?", metavar="TARGET", help="the name of a target; default: all")
    command("unpublish", "run", "Delete the guest attribute with the status, after the handler was stopped.")
    sub = command("history", "status", f"Show closed incidents. The last {MOST} are kept.")
    sub.add_argument("--last", type=_count, metavar="N", help="only the newest N")
    sub.add_argument("--since", type=_moment, metavar="WHEN", help="only those that ended after it: 7d, 12h or a date")
    sub.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of incidents, such as 5")
    return int(text)


def _moment(text: str) -> float:
    """Epoch seconds of `12h` (ago), a date, or a date and time, local unless it has an offset."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    if text[:-1].isdecimal() and text[-1:] in units:
        return time.time() - int(text[:-1]) * units[text[-1]]
    try:
        # Python before 3.11 does not accept "Z".
        return datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1:] in ("Z", "z") else text).timestamp()
    except (ValueError, OverflowError, OSError):
        how = "30m, 12h, 7d, 2w, 2026-11-26 or 2026-11-26T14:00:00Z"
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, such as {how}") from None


def _duration(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number = text[:-1] if text[-1:] in units else text
    if not number.isdecimal() or len(number) > 9 or int(number) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, such as 90s, 30m, 2h or 1d")
    return float(int(number) * units.get(text[-1:], 1))


def _reason(text: str) -> str:
    if len(text) > LONGEST_REASON or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be one printable line of at most {LONGEST_REASON} characters")
    return text


def _holder(text: str) -> str:
    if not text.strip() or len(text) > LONGEST_HOLDER or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be one printable line of at most {LONGEST_HOLDER} characters")
    return text


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Without a width, argparse would import shutil for the terminal's: 0.6 MB of memory.
    return argparse.HelpFormatter(prog, width=80)


def _seconds(text: str) -> float:
    problem = argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    try:
        seconds = float(text)
    except ValueError:
        raise problem from None
    if not 0 <= seconds < float("inf"):
        raise problem
    return seconds
