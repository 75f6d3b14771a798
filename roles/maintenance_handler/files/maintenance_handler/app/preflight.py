# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that a configuration can be used on this machine: programs, playbooks, users, jmespath, directories.

Each task is checked by a separate process as the user that runs it, because root may see more. A user database or file
system that hangs does not block the checks.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._vm.maintenance import MIGRATE, WINDOW
from .._vm.records import dataclass, field, replace
from ..core.likeness import did_you_mean
from ..core.playbook import PROGRAM as ANSIBLE_PLAYBOOK
from ..core.tasks import Task
from ..io.executable import adopt_path
from ..io.programs import program_problem
from ..io.task_output import without_secret
from . import config as configuration
from . import status
from .config import Config, ConfigError
from .event_names import unknown_fields
from .expressions import ExpressionError, compiled

# Seconds for all tasks, which are checked in parallel.
PATIENCE = 10.0
# Seconds for a task's own check.
CHECK_PATIENCE = 8.0
# Characters of its last line that are shown.
LAST_LINE = 500


@dataclass(frozen=True)
class Report:
    """The result of the checks of a configuration, a line for each problem or note."""

    digest: str
    tasks: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    # The notice that each event of a task is assumed to have, in words.
    notice: Mapping[str, str] = field(default_factory=dict)


def report(path: Path, task_checks: bool = True) -> Report:
    """Check the configuration in a file, with or without the tasks' own checks. All problems are reported at once."""
    try:
        config = configuration.parse(configuration.read(path))
    except ConfigError as exc:
        adopt_path(None)
        return Report(
            "", len(exc.tasks), (*exc.problems, *problems(exc.metrics_textfile, _as_asked(exc.tasks, task_checks)))
        )
    adopt_path(config.path)
    found = problems(config.metrics_textfile, _as_asked(config.tasks, task_checks))
    found += [line for target in config.notify for line in _target_problems(target)]
    assumed = config.assumed_notice(_shown_preemption_notice(config))
    events = {event for task in config.tasks for event in task.on} - {WINDOW}
    notice = {event: str(assumed[event]) for event in assumed if event in events}
    notes = [*config.cautions]
    if config.fleet_limit is None:
        notes += _notes_without_limit(config.tasks)
    elif task_checks:
        from .slot_check import store_check

        more, problem = store_check(config.fleet_limit)
        notes += more
        found += problem
    return Report(config.digest, len(config.tasks), tuple(found), tuple(notes), notice)


def _notes_without_limit(tasks: Iterable[Task]) -> list[str]:
    names = ", ".join(repr(task.name) for task in tasks if MIGRATE in task.on)
    if not names:
        return []
    return [
        f"field 'fleet_limit': is not given, and these tasks are for migrate: {names}. VMs that are migrated at the "
        "same time are drained at the same time, and clients notice that more than the pause of a migration"
    ]


def _shown_preemption_notice(config: Config) -> float | None:
    with suppress(OSError):
        return status.shown_preemption_notice(status.read(config, time.monotonic(), config.boot_id()))
    return None


def _as_asked(tasks: tuple[Task, ...], task_checks: bool) -> tuple[Task, ...]:
    return tasks if task_checks else tuple(replace(task, check=()) for task in tasks)


def load(path: Path) -> Config:
    """The configuration in a file, if its tasks can run on this machine. Raises `ConfigError`."""
    config = configuration.load(path)
    adopt_path(config.path)
    missing = task_problems(config.tasks)
    if missing:
        raise ConfigError([f"{path}: {problem}" for problem in missing])
    return config


def problems(metrics_textfile: Path | None, tasks: Iterable[Task]) -> list[str]:
    """A line for each thing that is missing on this machine, with its field and task."""
    return [*_directory_problems(metrics_textfile), *task_problems(tasks)]


def task_problems(tasks: Iterable[Task]) -> list[str]:
    """A line for each thing that the tasks need and this machine lacks."""
    looks = [_Look.start(task) for task in tasks]
    give_up_at = time.monotonic() + PATIENCE
    return [f"task {look.task.name!r}, {problem}" for look in looks for problem in look.result(give_up_at)]


@dataclass
class _Look:
    """A process that checks one task as its user."""

    task: Task
    pid: int
    channel: int
    # Problems that do not depend on the user.
    known: list[str]

    @classmethod
    def start(cls, task: Task) -> _Look:
        known = _condition_problems(task)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.write(writer, json.dumps(_seen_problems(task)).encode())
                status = 0
            finally:
                # Do not flush or clean up anything of the parent.
                os._exit(status)
        os.close(writer)
        return cls(task, pid, reader, known)

    def result(self, give_up_at: float) -> list[str]:
        said = b""
        while select.select([self.channel], [], [], max(0.0, give_up_at - time.monotonic()))[0]:
            more = os.read(self.channel, 65536)
            if not more:
                os.waitpid(self.pid, 0)
                break
            said += more
        else:
            # In uninterruptible sleep, it ends later, and is reaped by init.
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, os.WNOHANG)
            said = json.dumps([f"could not be checked within {PATIENCE:g} s: {_suspect(self.task)}"]).encode()
        os.close(self.channel)
        try:
            return [*json.loads(said), *self.known]
        except ValueError:
            return ["could not be checked: the process that checks it ended early", *self.known]


def _suspect(task: Task) -> str:
    if task.user is not None:
        return f"the user database (user {task.user!r}) or a file system does not answer"
    return "a file system does not answer"


def _directory_problems(textfile: Path | None) -> list[str]:
    if textfile is None:
        return []
    folder = textfile.parent
    if not folder.is_dir():
        return [f"field 'metrics_textfile': the directory {str(folder)!r} does not exist"]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [f"field 'metrics_textfile': the directory {str(folder)!r} cannot be written to by the handler's user"]
    return []


def _target_problems(target: Mapping[str, Any]) -> list[str]:
    """What a target of notifications needs, and the handler's user cannot use."""
    given = {**target, **target.get("smtp", {})}
    found = [
        f"field '{name}': {given[name]!r} does not exist or cannot be read by the handler's user"
        for name in ("ca_file", "cert_file", "key_file")
        if name in given and not os.access(given[name], os.R_OK)
    ]
    if "command" in target:
        missing = program_problem(target["command"][0], os.get_exec_path())
        found += [f"field 'command': {missing}"] if missing else []
    return [f"notify {target['name']!r}, {problem}" for problem in found]


def _condition_problems(task: Task) -> list[str]:
    if task.when is None:
        return []
    try:
        compiled(task.when)
    except ExpressionError as exc:
        return [f"field 'when': {exc}"]
    return [f"field 'when': {problem}" for problem in unknown_fields(task.when)]


def _seen_problems(task: Task) -> list[str]:
    """The problems of a task for its user. Switches to that user."""
    environment = {**os.environ, **task.env}
    if task.user is not None:
        try:
            entry = pwd.getpwnam(task.user)
        except KeyError:
            hint = did_you_mean(task.user, (one.pw_name for one in pwd.getpwall()))
            return [f"field 'user': there is no user {task.user!r} here{hint}", *_file_problems(task, environment)]
        if os.geteuid() not in (0, entry.pw_uid):
            problem = f"field 'user': only root can run a task as {task.user!r}"
            return [problem, *_file_problems(task, environment)]
        environment = {**os.environ, "HOME": entry.pw_dir, **task.env}
        if os.geteuid() != entry.pw_uid:
            try:
                os.setgroups(os.getgrouplist(task.user, entry.pw_gid))
                os.setgid(entry.pw_gid)
                os.setuid(entry.pw_uid)
            except OSError as exc:
                return [f"field 'user': cannot become {task.user!r}: {exc.strerror}"]
    return _file_problems(task, environment)


def _file_problems(task: Task, environment: dict[str, str]) -> list[str]:
    os.chdir(os.sep)
    found = []
    who = f" by user {task.user!r}" if task.user is not None else ""
    folders = os.get_exec_path(environment)
    for name, command in (("drain", task.drain), ("restore", task.restore), ("check", task.check)):
        problem = program_problem(command[0], folders, who) if command else None
        if problem:
            found.append(f"field '{name}': {problem}")
    for name, playbook in (("playbook", task.playbook), ("restore_playbook", task.restore_playbook)):
        if playbook is not None:
            found += [
                f"field '{name}': {problem}" for problem in _playbook_problems(playbook, folders, who, environment)
            ]
    if task.check and not found:
        found += _check_problems(task, environment)
    return found


def _check_problems(task: Task, environment: dict[str, str]) -> list[str]:
    """The last line of output of the task's own check, if it fails."""
    try:
        done = subprocess.run(
            task.check,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=CHECK_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"check: did not end within {CHECK_PATIENCE:g} s"]
    except OSError as exc:
        return [f"check: {task.check[0]}: {exc.strerror}"]
    if done.returncode == 0:
        return []
    lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
    output = without_secret(lines[-1].strip())[:LAST_LINE] if lines else "without output"
    return [f"check: {output}" if lines else f"check: ended with status {done.returncode} {output}"]


def _playbook_problems(playbook: str, folders: Sequence[str], who: str, environment: dict[str, str]) -> list[str]:
    found = []
    if not os.path.isfile(playbook):
        found.append(f"{playbook!r} does not exist or is not a file")
    elif not os.access(playbook, os.R_OK):
        found.append(f"{playbook!r} cannot be read{who}")
    missing = program_problem(ANSIBLE_PLAYBOOK, folders, who)
    if missing:
        found.append(f"needs {ANSIBLE_PLAYBOOK}: {missing}")
    home = environment.get("HOME") or os.path.expanduser("~")
    if not {"ANSIBLE_LOCAL_TEMP", "ANSIBLE_REMOTE_TEMP"} <= environment.keys() and not _can_make(
        f"{home}/.ansible/tmp"
    ):
        found.append(
            f"{ANSIBLE_PLAYBOOK} keeps temporary files in the home directory, and {home!r} cannot be written to{who}: "
            "give it another by the task's 'env', such as HOME=/var/lib/drain"
        )
    return found


def _can_make(path: str) -> bool:
    """Whether a directory is writable, or can be created."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)
