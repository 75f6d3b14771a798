# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line. Here, and only here, errors become words and exit statuses."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Callable

from .. import __version__
from .._vm.guest_attributes import attribute_path
from .._vm.maintenance import EVENTS, format_time
from .._vm.metadata_server import MetadataError, MetadataNotFound, MetadataServer
from ..core.incident import ANNOUNCED, DRAINED, IDLE, NOT_RESTORED, OK, Moment
from ..core.signals import rehearsal
from ..core.tasks import DRAIN, TASK_EVENTS
from ..core.tasks import RESTORE as PHASE_RESTORE
from ..core.timeline import ended_at, incident_lines, news, plan_lines, step_end
from ..io import request
from ..io.history import MOST, History
from ..io.journal import Journal, JournalError
from ..io.lock import Locked
from ..io.log import Log, PatientStream, visible
from ..io.owner import NotOurs, become_owner
from ..io.publish import KEY, NAMESPACE
from ..io.request import ACKNOWLEDGE, REHEARSE, RESTORE, Request
from . import config, status
from .config import Config, ConfigError
from .expressions import ExpressionError, compiled
from .handler import Handler
from .waiting import GOALS, wait_until

DEFAULT_CONFIG = Path("/etc/gce-maintenance-handler/config.json")

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_IN_FLIGHT = 3
EXIT_RESTART_REQUIRED = 4

# Seconds for whoever reads the log, once there is nothing else to do.
LAST_WORDS = 1.0
# Seconds to try to delete the guest attribute: whoever removes the handler waits for it.
UNPUBLISH_FOR = 5.0
# Seconds that a handler may take to do what it was asked for, besides its tasks'.
WAITING = 60.0
# How often what another process carries out is looked at.
_LOOK_EVERY = 0.1
# How long the handler may take to say what it makes of a request: a disk may be slow.
_MOST_LOOKS_IN_VAIN = 100
_ENDED = "the handler ended meanwhile; started again, it restores what was drained"


class CommandError(Exception):
    """A command cannot do what it was asked for. As text, the reason."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Answers the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What the locale has no character for is shown all the same.
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        result: int = options.command(options)
        sys.stdout.flush()
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return EXIT_USAGE
    except (CommandError, Locked, MetadataError, NotOurs) as exc:
        print(f"gce-maintenance-handler: {exc}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        # Whoever reads has seen enough. Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as exc:
        print(f"gce-maintenance-handler: {exc.filename or 'the system'}: {exc.strerror}", file=sys.stderr)
        return EXIT_FAILED
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gce-maintenance-handler",
        description="Hears of host maintenance before it happens, drains the VM in time, and puts everything back.",
        formatter_class=_formatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, formatter_class=_formatter)
        sub.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
        sub.set_defaults(command=function)
        return sub

    command("run", _run, "Watch, drain and restore until asked to stop.")
    sub = command("check", _check, "Say whether the configuration can be used on this machine.")
    sub.description = (
        "Say whether the configuration can be used on this machine: its text is right, its tasks fit the notice of "
        "their events, and each task's user has all that the task needs. For root, where systemd runs the machine, "
        "this is judged in the service's own environment, with its user, PATH and sandbox, by systemd-run. As FILE, - "
        "is standard input. Exit status 0: it can be used, 2: it cannot, 1: it could not be judged."
    )
    where = sub.add_mutually_exclusive_group()
    where.add_argument(
        "--unit",
        type=Path,
        metavar="FILE",
        help="judge in the environment of the service that this unit file describes; default: the installed one, if it "
        "is for this configuration",
    )
    where.add_argument("--here", action="store_true", help="judge in the environment of the caller")
    sub.add_argument("--json", action="store_true", help="as JSON: tasks, problems, notes")
    sub.add_argument(
        "--without-task-checks",
        action="store_true",
        help="leave out the tasks' own checks, where what they need does not run, as in an image",
    )
    sub.add_argument("--probe", type=_seconds, metavar="SECONDS", help="ask the metadata server, too, for so long")
    command("plan", _plan, "Show for each event what would run when, and what that leaves of the notice.")
    sub = command("rehearse", _rehearse, "Show what an event would start; with --execute, do it and take it back.")
    sub.add_argument("event", choices=EVENTS, metavar="EVENT", help=", ".join(EVENTS))
    sub.add_argument("--execute", action="store_true", help="run the drain tasks, then restore")
    sub = command("run-task", _run_task, "Run one task by hand, as its user and with its environment.")
    sub.description = (
        "Run one task by hand, as its user and with its environment; for root, where systemd runs the machine, in the "
        "service's own environment. Nothing is noted down: what is drained by hand is restored by hand, or with the "
        "next event that drains it. Refused while the handler drains or restores. Exit status 0: it succeeded."
    )
    sub.add_argument("task", metavar="TASK", help="its name")
    sub.add_argument("phase", choices=(DRAIN, PHASE_RESTORE), metavar="PHASE", help=f"{DRAIN}, {PHASE_RESTORE}")
    sub.add_argument("--event", choices=TASK_EVENTS, metavar="EVENT", help="for this event; default: the task's first")
    sub.add_argument("--here", action="store_true", help="in the environment of the caller")
    sub = command("status", _status, "Say how the handler is. Exit status 0: well, 1: not, 3: draining or restoring.")
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub = command("restore", _restore, "Try now to restore what could not be restored, and say what came of it.")
    sub.add_argument("task", nargs="?", metavar="TASK", help="only this task")
    sub = command("acknowledge", _acknowledge, "Leave what could not be restored as it is, and end the incident.")
    sub.add_argument("task", nargs="?", metavar="TASK", help="only this task")
    sub = command("wait", _wait, "Wait until the handler reaches a state.")
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
        "--configuration", default="", metavar="SHA256", help="and the configuration file with this hash is in force"
    )
    sub.add_argument("--json", action="store_true", help="print the status as JSON")
    command("unpublish", _unpublish, "Delete the guest attribute that shows the status, once the handler is stopped.")
    sub = command("history", _history, f"Show the incidents that are over. The last {MOST} are kept.")
    sub.add_argument("--last", type=_count, metavar="N", help="only the newest N")
    sub.add_argument(
        "--since", type=_moment, metavar="WHEN", help="only those that went on after it: 7d, 12h or a date"
    )
    sub.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of incidents, such as 5")
    return int(text)


def _moment(text: str) -> float:
    """Epoch seconds of `12h` (ago), a date, or a date and time, which is local where it does not say otherwise."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    if text[:-1].isdecimal() and text[-1:] in units:
        return time.time() - int(text[:-1]) * units[text[-1]]
    try:
        # Before Python 3.11 "Z" is not taken.
        return datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1:] in ("Z", "z") else text).timestamp()
    except (ValueError, OverflowError, OSError):
        how = "30m, 12h, 7d, 2w, 2026-11-26 or 2026-11-26T14:00:00Z"
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write {how}") from None


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Without a width argparse asks shutil for the terminal's, at every start, and that costs 0.6 MB of memory.
    return argparse.HelpFormatter(prog, width=80)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError
    return seconds


def _settings(options: argparse.Namespace, load: Callable[[Path], Config] = config.load) -> Config:
    """The configuration, as the user who owns it and the state: what root would read or run is that user's."""
    _become_owner(options.config)
    settings = load(options.config)
    become_owner([settings.state_dir])
    return settings


def _become_owner(path: Path) -> None:
    if str(path) not in config.STANDARD_INPUT:
        become_owner([path.parent, path])


def _run(options: argparse.Namespace) -> int:
    try:
        settings = _settings(options)
    except ConfigError as exc:
        return _restore_only(options.config, exc)
    with _log(settings) as log:
        return Handler(settings, options.config, log).run()


def _restore_only(path: Path, error: ConfigError) -> int:
    """Without a configuration, see to what the journal says is drained. Raises the error if that is nothing."""
    settings = config.without_file(path, os.environ)
    if settings is None:
        raise error
    become_owner([settings.state_dir])
    if not _has_incident(settings):
        raise error
    with _log(settings) as log:
        for problem in error.problems:
            log.error(problem)
        return Handler(settings, path, log).restore_only(error.problems)


def _has_incident(settings: Config) -> bool:
    try:
        entry = Journal(settings.state_dir).read()
    except JournalError:
        return False
    return entry is not None and entry.incident is not None


def _known(path: Path) -> Config:
    """The configuration, or what is known of it while it cannot be used but its incident is being seen to."""
    try:
        return config.load(path)
    except ConfigError:
        settings = config.without_file(path, os.environ)
        if settings is None:
            raise
        become_owner([settings.state_dir])
        if not _read_status(settings)["incident"]:
            raise
        return settings


@contextmanager
def _log(settings: Config) -> Iterator[Log]:
    """On standard error, for a loop that must not wait for whoever reads it."""
    stream = PatientStream(sys.stderr.fileno())
    try:
        yield Log(settings.log_level, stream)
    finally:
        stream.finish(LAST_WORDS)


def _check(options: argparse.Namespace) -> int:
    # Not in the memory of a handler that runs.
    from . import check

    try:
        unit = None if options.here else check.unit_text(options.unit, options.config)
        if unit is None:
            _become_owner(options.config)
        task_checks = not options.without_task_checks
        if unit is None:
            found = check.report(options.config, task_checks)
        else:
            found = check.report_in_unit(options.config, unit, task_checks)
    except check.CannotRun as exc:
        raise CommandError(str(exc)) from None
    if options.probe and not found.problems:
        MetadataServer(config.load(options.config).metadata_host, retry_for=options.probe).get("instance/id")
    if options.json:
        print(json.dumps(vars(found)))
    else:
        for problem in found.problems:
            print(f"{options.config}: {visible(problem)}", file=sys.stderr)
        if not found.problems:
            print(f"{options.config}: {found.tasks} tasks, nothing is wrong")
            _print(f"{options.config}: note: {note}" for note in found.notes)
    return EXIT_USAGE if found.problems else EXIT_OK


def _plan(options: argparse.Namespace) -> int:
    settings = _settings(options)
    reach = _read_status(settings).get("reach", {})
    for event in TASK_EVENTS:
        _print(plan_lines(event, settings.tasks, settings.notice, reach))
    return EXIT_OK


def _rehearse(options: argparse.Namespace) -> int:
    from . import preflight

    settings = _settings(options, preflight.load)
    if not options.execute:
        return _show_rehearsal(settings, options.event)
    name = _name("rehearsal")
    now = _read_status(settings)
    if now["running"]:
        _ask_to_rehearse(settings, now, options.event, name)
    else:
        with _log(settings) as log:
            code = Handler(settings, options.config, log).rehearse(options.event, name)
        if code:
            return code
    incident = _rehearsed(settings, name)
    if incident is None:
        raise CommandError("the rehearsal was interrupted; the next handler restores what it drained")
    _print(incident_lines(incident))
    for one in incident.get("not_restored", ()):
        _print([f"{one['task']} is NOT RESTORED: the handler goes on trying; see restore and acknowledge"])
    return EXIT_OK if all(step["outcome"] == OK for step in incident["steps"]) else EXIT_FAILED


def _run_task(options: argparse.Namespace) -> int:
    from . import check, run_task

    settings = _settings(options)
    now = _read_status(settings)
    if now["incident"] and now["state"] not in (IDLE, ANNOUNCED):
        raise CommandError(f"the handler is {now['state']}, and runs its tasks itself: see its status")
    try:
        unit = None if options.here else check.unit_text(None, options.config)
        if unit is not None:
            return run_task.run_in_unit(unit, settings, options.config, options.task, options.phase, options.event)
        return run_task.run_here(settings, options.task, options.phase, options.event)
    except (check.CannotRun, run_task.CannotRunTask) as exc:
        raise CommandError(str(exc)) from None


def _show_rehearsal(settings: Config, event: str) -> int:
    """What would run, with each `when` asked."""
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
    _print(plan_lines(event, tasks, settings.notice, {}))
    print("Nothing was run. With --execute, this is drained and restored.")
    return EXIT_OK


def _ask_to_rehearse(settings: Config, now: dict[str, Any], event: str, name: str) -> None:
    """Have the running handler do it, so that a real event in the middle is the same incident, and wait for its end."""
    if "pid" in now and now["state"] not in (IDLE, ANNOUNCED):
        what = "a task is" if now["state"] == NOT_RESTORED else "the handler is"
        raise CommandError(f"{what} {now['state']}: rehearse when nothing is drained")
    _ask(settings, now, Request(REHEARSE, name, _user(), event=event))
    told: set[str] = set()
    give_up_at = time.monotonic() + _patience(settings)
    while time.monotonic() < give_up_at:
        over = _rehearsed(settings, name)
        now = _read_status(settings)
        goes_on = _since_rehearsal(now["incident"], name) if now["incident"] else None
        _print(news(told, over or goes_on or {"steps": []}))
        sys.stdout.flush()
        if over is not None:
            return
        if not now["running"]:
            raise CommandError(_ENDED)
        time.sleep(_LOOK_EVERY)
    raise CommandError("the rehearsal takes longer than its tasks may: the handler goes on with it, see its status")


def _patience(settings: Config) -> float:
    """Seconds within which every task can be drained and restored, one after the other."""
    phases = (DRAIN, PHASE_RESTORE)
    return WAITING + sum(
        max(task.limit(phase, event) for event in task.on) for task in settings.tasks for phase in phases
    )


def _ask(settings: Config, now: dict[str, Any], wish: Request) -> None:
    """Have the running handler take a request. Raises `CommandError` when it does not."""
    if not now["running"]:
        raise CommandError("no handler is running: start it, it restores what its journal says is drained")
    if "pid" not in now:
        raise CommandError(f"the handler has not said anything yet: {wish.command} when it has")
    path = request.send(settings.runtime_dir, now["pid"], wish)
    for _unused in range(_MOST_LOOKS_IN_VAIN):
        time.sleep(_LOOK_EVERY)
        now = _read_status(settings)
        refusal = now.get("answers", {}).get(wish.name)
        if refusal:
            raise CommandError(f"the handler refuses to {wish.command}: {refusal}")
        if refusal is not None:
            return
        if not now["running"]:
            raise CommandError(_ENDED)
    path.unlink(missing_ok=True)
    raise CommandError(f"the handler did not answer the request to {wish.command}: its log may say why")


def _user() -> str:
    """Whoever asks, as a log should have it."""
    name = os.environ.get("SUDO_USER", "")
    if name:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def _restore(options: argparse.Namespace) -> int:
    settings = _settings(options, _known)
    now = _read_status(settings)
    tasks = _unrestored(now, options.task)
    incident = now["incident"]
    # An attempt that runs already is as good as the one that is asked for.
    over = {step["task"]: step.get("number", 0) for step in incident["steps"] if step["outcome"]}
    _ask(settings, now, Request(RESTORE, _name(RESTORE), _user(), tasks=tasks))
    code = EXIT_OK
    for task in tasks:
        step = _next_step(settings, incident["id"], task, over.get(task, 0))
        _print([f"{step['phase']} {task!r}: {step_end(step)}"])
        code = code if step["phase"] == RESTORE and step["outcome"] == OK else EXIT_FAILED
    return code


def _acknowledge(options: argparse.Namespace) -> int:
    settings = _settings(options, _known)
    now = _read_status(settings)
    tasks = _unrestored(now, options.task)
    _ask(settings, now, Request(ACKNOWLEDGE, _name(ACKNOWLEDGE), _user(), tasks=tasks))
    _print([f"acknowledged: {', '.join(tasks)}"])
    return EXIT_OK


def _unrestored(now: dict[str, Any], task: str | None) -> tuple[str, ...]:
    """The tasks that are not restored, or the one of them that was asked for."""
    names = tuple(one["task"] for one in (now["incident"] or {}).get("not_restored", ()))
    if not names:
        raise CommandError("no task is not restored: there is nothing to do")
    if task is None:
        return names
    if task not in names:
        raise CommandError(f"{task!r} is not among what is not restored: {', '.join(map(repr, names))}")
    return (task,)


def _next_step(settings: Config, incident_id: str, task: str, before: int) -> dict[str, Any]:
    """What a task's next step came to. Waits for its end."""
    looks_in_vain = 0
    give_up_at = time.monotonic() + _patience(settings)
    while time.monotonic() < give_up_at:
        now = _read_status(settings)
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
            raise CommandError(f"{task!r} is not tried now: the handler is {now['state']}, see its status")
        time.sleep(_LOOK_EVERY)
    raise CommandError(f"the restore of {task!r} takes longer than it may: see the handler's status")


def _name(command: str) -> str:
    """A name that no other request has."""
    return f"{command} {os.urandom(4).hex()}"


def _rehearsed(settings: Config, name: str) -> dict[str, Any] | None:
    """The incident of a rehearsal that is over, with the steps since it began."""
    now = _read_status(settings)
    # A window that is announced days ahead keeps its incident open.
    goes_on = not status.in_flight(now) if now["running"] else now["state"] == NOT_RESTORED
    still_open = [now["incident"]] if now["incident"] and goes_on else []
    for incident in (*History(settings.state_dir).read(), *still_open):
        if any(past["value"] == name for past in incident["past"]):
            return _since_rehearsal(incident, name)
    return None


def _since_rehearsal(incident: dict[str, Any], name: str) -> dict[str, Any] | None:
    """An incident with the steps since a rehearsal began, None if it is not part of it."""
    for one in (*incident["past"], *incident["signals"]):
        if one["value"] == name:
            began = one["noticed_at"]
            return {**incident, "steps": [step for step in incident["steps"] if step["started_at"] >= began]}
    return None


def _status(options: argparse.Namespace) -> int:
    settings = _settings(options, _known)
    now = _read_status(settings)
    if options.json:
        print(json.dumps(now, indent=2))
    else:
        _print(_status_lines(now))
    if status.in_flight(now):
        return EXIT_IN_FLIGHT
    return EXIT_OK if now["healthy"] else EXIT_FAILED


def _wait(options: argparse.Namespace) -> int:
    settings = _settings(options)
    reached, now = wait_until(
        options.until,
        options.configuration,
        options.timeout,
        lambda: _read_status(settings),
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
    raise CommandError(f"not {options.until}{within}, but {now['state']}{why}")


def _unpublish(options: argparse.Namespace) -> int:
    settings = _settings(options)
    try:
        MetadataServer(settings.metadata_host, retry_for=UNPUBLISH_FOR).delete(attribute_path(NAMESPACE, KEY))
    except MetadataNotFound:
        print("There is no guest attribute of the handler.")
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
        lines.append(f"  {key:<29} last heard {heard}")
    lines.append(f"  configuration {now['config_digest']}{_how_many_tasks(now.get('tasks'))}")
    lines += [f"  a newer configuration was refused: {problem}" for problem in now["config_refused"]]
    if now["restart_required"]:
        lines.append("  a restart is required to put the whole configuration into force")
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


def _history(options: argparse.Namespace) -> int:
    incidents = History(_settings(options).state_dir).read()
    if options.since is not None:
        incidents = [incident for incident in incidents if ended_at(incident) >= options.since]
    if options.last is not None:
        incidents = incidents[-options.last :]
    if options.json:
        print(json.dumps(incidents, indent=2))
        return EXIT_OK
    for incident in incidents:
        _print(incident_lines(incident))
    if not incidents:
        is_filtered = options.since is not None or options.last is not None
        print("No such incident." if is_filtered else "No incident yet.")
    return EXIT_OK


def _read_status(settings: Config) -> dict[str, Any]:
    boot_id = settings.boot_id_file.read_text(encoding="ascii").strip()
    return status.read(settings, time.monotonic(), boot_id)


def _print(lines: Any) -> None:
    for line in lines:
        print(visible(line))
