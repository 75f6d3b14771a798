# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine has what a configuration speaks of: programs, playbooks, users, jmespath."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from . import config as configuration
from .config import Config, ConfigError
from .expressions import ExpressionError, compiled
from .tasks import Task


def load(path: Path) -> Config:
    """The configuration in a file, if this machine has all it speaks of. Raises `ConfigError`, with all problems."""
    try:
        config = configuration.load(path)
    except ConfigError as exc:
        raise ConfigError([*exc.problems, *_told(path, problems(exc.tasks))]) from None
    missing = _told(path, problems(config.tasks))
    if missing:
        raise ConfigError(missing)
    return config


def problems(tasks: Iterable[Task]) -> list[str]:
    """A line for each thing that is missing here, naming the task and the field; none when all is there."""
    return [f"task {task.name!r}, {problem}" for task in tasks for problem in _task_problems(task)]


def _told(path: Path, lines: Iterable[str]) -> list[str]:
    return [f"{path}: {line}" for line in lines]


def _task_problems(task: Task) -> list[str]:
    found = []
    for field, command in (("drain", task.drain), ("restore", task.restore)):
        if command and not _is_found(command[0], task):
            found.append(f"field '{field}': program {command[0]!r} does not exist or cannot be executed here")
    for field, playbook in (("playbook", task.playbook), ("restore_playbook", task.restore_playbook)):
        if playbook is None:
            continue
        if not os.path.isfile(playbook):
            found.append(f"field '{field}': {playbook!r} does not exist or is not a file")
        if not _is_found("ansible-playbook", task):
            found.append(f"field '{field}': needs ansible-playbook, which is not installed here")
    if task.user is not None:
        found += _user_problems(task.user)
    if task.when is not None:
        try:
            compiled(task.when)
        except ExpressionError as exc:
            found.append(f"field 'when': {exc}")
    return found


def _is_found(program: str, task: Task) -> bool:
    """Whether a program will be found, along the PATH that the task is given."""
    if os.path.dirname(program) and not os.path.isabs(program):
        # Tasks run in the root directory, not in that of whoever checks them.
        program = os.path.join(os.sep, program)
    # As shutil.which does, whose module brings every compression of Python along: 0.6 MB of memory.
    folders = [""] if os.path.dirname(program) else os.get_exec_path({**os.environ, **task.env})
    paths = [os.path.join(folder, program) for folder in folders]
    return any(os.path.isfile(path) and os.access(path, os.X_OK) for path in paths)


def _user_problems(user: str) -> list[str]:
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return [f"field 'user': there is no user {user!r} here"]
    if os.geteuid() not in (0, uid):
        return [f"field 'user': only root can run a task as {user!r}"]
    return []
