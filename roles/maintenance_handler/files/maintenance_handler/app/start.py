# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first steps of a handler: it takes its lock, and deletes the status of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..io.files import sweep
from ..io.lock import CannotLock, Lock, take_lock
from . import status

if TYPE_CHECKING:
    from ..io.log import Log
    from .config import Config
    from .report import Reporter


def lock(config: Config, reporter: Reporter) -> Lock | None:
    """Raises `Locked`. If no lock can be taken, the handler runs without."""
    try:
        return take_lock(config.state_dir, config.runtime_dir)
    except CannotLock as exc:
        reporter.lock_failed(str(exc))
        return None


def forget_last_status(config: Config, log: Log) -> None:
    """Delete the status of the previous handler, which would be read as that of this one."""
    try:
        status.forget(config)
    except OSError as exc:
        log.error(f"Deleting the last status: {exc}.")
    for path in (status.status_path(config), config.metrics_textfile):
        if path is not None:
            sweep(path)
