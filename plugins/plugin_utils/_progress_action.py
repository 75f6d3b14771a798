# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of modules for the Compute API: shows their progress. A module itself shows nothing until it ends.

Private to the collection: it may change at any time.

The module runs in a process of its own, and appends its progress to a file, which a thread reads here. That requires a
local connection, as with delegate_to=localhost. Otherwise, nothing is shown.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.utils.display import Display
from ansible_collections.gce.guest.plugins.module_utils._module.progress_file import VARIABLE
from ansible_collections.gce.guest.plugins.plugin_utils._progress import DEFAULT_PAUSE, ProgressLines, parse_progress
from ansible_collections.gce.guest.plugins.plugin_utils._python_action import PythonAction

# Callback plugins whose output programs read.
MACHINE_CALLBACKS = ("json", "jsonl", "null")
# Seconds between two looks at the file.
LOOK = 0.25
# More than some lines of a progress file, in bytes.
TAIL = 1024


class ProgressAction(PythonAction):
    """Runs the module as its base class does, and shows its progress meanwhile."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        pause = self._pause(task_vars or {})
        if pause is None:
            return self._module_result(tmp, task_vars)
        host = self._task.delegate_to or (task_vars or {}).get("inventory_hostname")
        name = self._task.action.rpartition(".")[2]
        # Only for its owner. Ansible removes the parent directory even if this process is killed.
        with tempfile.TemporaryDirectory(prefix="gce-progress-", dir=C.DEFAULT_LOCAL_TMP) as folder:
            path = Path(folder) / "progress"
            path.touch()
            lines = ProgressLines(pause, time.monotonic())
            with self._environment(path), shown(path, lines, f"{name} on {host}: "):
                return self._module_result(tmp, task_vars)

    def _module_result(self, tmp: str | None, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result

    def _pause(self, task_vars: dict[str, Any]) -> float | None:
        """Seconds between two lines. None if there is nobody to show them to, or no way."""
        is_for_people = C.DEFAULT_STDOUT_CALLBACK.rpartition(".")[2] not in MACHINE_CALLBACKS
        # In the background, the module goes on after this plugin has ended.
        if not is_for_people or self._task.async_val or self._connection.transport != "local":
            return None
        try:
            pause = float(self._templar.template(task_vars.get("gce_progress", DEFAULT_PAUSE)))
        except (TypeError, ValueError):
            pause = DEFAULT_PAUSE
        return pause if pause > 0 else None

    @contextmanager
    def _environment(self, path: Path) -> Iterator[None]:
        """With the file's name in the environment of the module. The task may be run again, by `until`."""
        before = self._task.environment
        given = before if isinstance(before, list) else [before]
        self._task.environment = [*given, {VARIABLE: str(path)}]
        try:
            yield
        finally:
            self._task.environment = before


@contextmanager
def shown(path: Path, lines: ProgressLines, start: str) -> Iterator[None]:
    """While in it, lines that are due are shown on standard error, so that the output of callbacks stays as it is."""
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(LOOK):
            progress = parse_progress(_tail(path))
            line = None if progress is None else lines.next(progress, time.monotonic())
            if line is not None:
                Display().display(f"{start}{line}", stderr=True)

    thread = threading.Thread(target=follow, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            return file.read(TAIL).decode("ascii", "replace")
    except OSError:
        return ""
