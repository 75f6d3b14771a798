# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first steps of a handler: it takes its lock, deletes the status of the one before, and loads what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from ..io.files import sweep
from ..io.lock import CannotLock, Lock, take_lock
from . import status

if TYPE_CHECKING:
    from ..io.log import Log
    from ..io.pool import Pool
    from .config import Config
    from .report import Reporter
    from .slot_keeper import SlotKeeper


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


def slot_keeper(config: Config, log: Log, pool: Pool, post: Callable[[Any], None]) -> SlotKeeper | None:
    """What asks for slots of the fleet limit, if there is one. Only then is its code imported, to save memory."""
    if config.fleet_limit is None:
        return None
    from .slot_keeper import SlotKeeper

    return SlotKeeper(config.fleet_limit, config.state_dir, log, pool=pool, post=post)
