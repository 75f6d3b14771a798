# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the configuration on this machine, and its reload, which a check precedes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from .._vm.records import replace
from ..io.examination import Examined, Examiner
from . import config as configuration
from .config import Config, ConfigError

if TYPE_CHECKING:
    from ..io.log import Log
    from .report import Reporter

# Seconds between checks of a configuration with problems on this machine.
LOOK_AGAIN_AFTER = 60.0

# Settings that require a restart, because threads and open files depend on them.
_FIXED = ("state_dir", "runtime_dir", "metadata_host", "poll_timeout", "guest_attributes", "boot_id_file")


class ConfigChecks:
    """Checks a configuration file in a separate process, and loads it if a reload is wanted."""

    def __init__(
        self,
        path: Path,
        log: Log,
        reporter: Reporter,
        post: Callable[[Examined], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._log = log
        self._reporter = reporter
        self._clock = clock
        self._examiner = Examiner(path, post)
        # The number of checks, and the number of the one for a reload.
        self._looks = 0
        self._reload_look = 0
        # When the next check is due.
        self.look_again_at: float | None = None

    def examine(self) -> None:
        """Start a check, which posts `Examined`. It replaces one that is running."""
        self.look_again_at = None
        self._looks += 1
        self._examiner.start(self._looks)

    def examine_and_reload(self) -> None:
        """Start a check, after which the configuration is loaded."""
        self.examine()
        self._reload_look = self._looks

    def examine_if_due(self) -> None:
        if self.look_again_at is not None and self.look_again_at <= self._clock():
            self.examine()

    def examined(self, examined: Examined, current: Config, load_if_valid: bool) -> Config | None:
        """A check has ended. Returns the configuration that replaces the current one, if one does."""
        if examined.number != self._looks:
            # A newer check is running.
            return None
        problems = [f"{self._path}: {problem}" for problem in examined.problems]
        if examined.number == self._reload_look or (load_if_valid and not problems):
            return self._load(problems, current)
        # The other tasks can run nevertheless.
        for problem in self._reporter.tasks_examined(problems):
            self._log.error(problem)
        if problems:
            # For example a disk that is mounted late.
            self.look_again_at = self._clock() + LOOK_AGAIN_AFTER
        return None

    def close(self) -> None:
        """Stop a check that is running."""
        self._examiner.close()

    def _load(self, problems: list[str], current: Config) -> Config | None:
        try:
            if problems:
                raise ConfigError(problems)
            new = configuration.load(self._path)
        except ConfigError as exc:
            for problem in exc.problems:
                self._log.error(f"configuration rejected; keeping the current one: {problem}")
            self._reporter.config_refused(exc.problems)
            return None
        late = [name for name in _FIXED if getattr(new, name) != getattr(current, name)]
        if late:
            self._log.warning(f"{', '.join(late)}: the change requires a restart")
            new = replace(new, **{name: getattr(current, name) for name in late})
        self._reporter.tasks_examined([])
        self._reporter.configured(new, restart_required=bool(late))
        return new
