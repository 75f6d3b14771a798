# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands share: exit statuses, the configuration, the status, output."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

from ..core.tasks import Task
from ..io.log import Log, PatientStream, visible
from ..io.owner import become_owner
from . import config, status
from .config import Config, ConfigError
from .expressions import ExpressionError, compiled

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_IN_FLIGHT = 3
EXIT_RESTART_REQUIRED = 4

# Seconds to wait at the end until the log is written.
LOG_FLUSH = 1.0


class CommandError(Exception):
    """A command failed. The text is the reason."""


def settings_of(options: argparse.Namespace, load: Callable[[Path], Config] = config.load) -> Config:
    """Load the configuration, as the user who owns it and the state directory: root runs nothing of another user's."""
    become_owner_of(options.config)
    settings = load(options.config)
    become_owner([settings.state_dir])
    return settings


def become_owner_of(path: Path) -> None:
    if str(path) not in config.STANDARD_INPUT:
        become_owner([path.parent, path])


def known_settings(path: Path) -> Config:
    """The configuration; if it is invalid while a handler runs or an incident is open, what does not depend on it."""
    try:
        return config.load(path)
    except ConfigError:
        settings = config.without_file(path, os.environ)
        if settings is None:
            raise
        become_owner([settings.state_dir])
        now = read_status(settings)
        # A running handler has the last valid configuration.
        if not (now["running"] or now["incident"]):
            raise
        return settings


def public_settings(path: Path, load: Callable[[Path], Config] = known_settings) -> Config:
    """The configuration; for a user who cannot read it, only where the handler shows its status and takes requests."""
    is_hidden = str(path) not in config.STANDARD_INPUT and path.exists() and not os.access(path, os.R_OK)
    settings = config.without_file(path, os.environ) if is_hidden else None
    return load(path) if settings is None else settings


def runs_for(task: Task, event: Mapping[str, Any]) -> bool:
    """Whether the `when` of a task is true for an event. Raises `CommandError`."""
    try:
        return task.when is None or bool(compiled(task.when)({"event": event}))
    except ExpressionError as exc:
        raise CommandError(f"task {task.name!r}, field 'when': {exc}") from None


@contextmanager
def log_to_stderr(settings: Config) -> Iterator[Log]:
    """A log on standard error that never blocks the handler's loop."""
    stream = PatientStream(sys.stderr.fileno())
    try:
        yield Log(settings.log_level, stream)
    finally:
        stream.finish(LOG_FLUSH)


def read_status(settings: Config) -> dict[str, Any]:
    return status.read(settings, time.monotonic(), settings.boot_id())


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(visible(line))
