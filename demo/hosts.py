# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM that is a directory: what is in service on it, and the handler that the role has installed into it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from . import processes
from .errors import DemoError, end_of
from .fates import FOLDER

# What a VM looks like before anybody has done anything about its maintenance.
IMAGE = FOLDER / "vm"
# What says whether it does its work.
IN_SERVICE = ("service", "memory", "disk")
# What does not survive a power cut.
VOLATILE = ("memory", "run")

# Seconds that a handler gets to hear from the metadata server, and to stop.
PATIENCE = 15.0


class Host:
    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.folder = root / "vms" / name
        self.log = root / "logs" / f"{name}.log"
        # What was running on it when its power went: nothing but the handler, if all went well.
        self.cut_off: list[str] = []
        # Of handlers that were asked to stop.
        self.exit_statuses: list[int | None] = []
        self._handler: subprocess.Popen[bytes] | None = None
        shutil.copytree(IMAGE, self.folder)

    @property
    def is_on(self) -> bool:
        return self._handler is not None

    def boot(self, boot_id: str) -> None:
        """Come up with a boot id, and have the supervisor start the handler."""
        (self.folder / "boot-id").write_text(f"{boot_id}\n", encoding="ascii")
        with self.log.open("ab") as log:
            self._handler = subprocess.Popen(
                [self._launcher, "run"],
                cwd="/",
                env=processes.marked({"PATH": os.environ.get("PATH", os.defpath)}, self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_well(self) -> None:
        """Until the handler has heard from the metadata server."""
        give_up_at = time.monotonic() + PATIENCE
        while not json.loads(self._ask("status", "--json") or "{}").get("healthy"):
            if time.monotonic() > give_up_at or self._handler is None or self._handler.poll() is not None:
                raise DemoError(
                    f"The handler of {self.name} has not heard from its metadata server:\n{end_of(self.log)}"
                )
            time.sleep(0.1)

    def lose_power(self) -> None:
        """All processes are gone, and what was in memory with them."""
        handler = self._handler.pid if self._handler else 0
        self.cut_off += [one.command for one in processes.kill(self.folder) if one.pid != handler]
        if self._handler is not None:
            self._handler.wait()
            self._handler = None
        for name in VOLATILE:
            shutil.rmtree(self.folder / name)
            (self.folder / name).mkdir()

    def shut_down(self) -> None:
        """Ask the handler to stop, and note how it did."""
        if self._handler is None:
            return
        self._handler.send_signal(signal.SIGTERM)
        try:
            self.exit_statuses.append(self._handler.wait(timeout=PATIENCE))
        except subprocess.TimeoutExpired:
            self.exit_statuses.append(None)

    def status(self) -> dict[str, Any]:
        """What the handler last wrote about itself; empty when it has not yet."""
        try:
            text = (self.folder / "run/gce-maintenance-handler/status.json").read_bytes()
        except FileNotFoundError:
            return {}
        status: dict[str, Any] = json.loads(text)
        return status

    def history(self) -> list[dict[str, Any]]:
        """The incidents that the handler says are over."""
        incidents: list[dict[str, Any]] = json.loads(self._ask("history", "--json") or "[]")
        return incidents

    def tasks(self) -> list[dict[str, Any]]:
        """The tasks as the role has configured them."""
        text = (self.folder / "etc/gce-maintenance-handler/config.json").read_bytes()
        tasks: list[dict[str, Any]] = json.loads(text)["tasks"]
        return tasks

    def notes(self) -> str:
        """What the tasks wrote down themselves, see vm/usr/local/bin/note."""
        path = self.folder / "var/log/tasks.tsv"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def in_service(self) -> dict[str, str]:
        """What its files say about its work."""
        return {
            str(path.relative_to(self.folder)): path.read_text(encoding="utf-8").strip()
            for part in IN_SERVICE
            for path in sorted((self.folder / part).rglob("*"))
            if path.is_file()
        }

    @property
    def _launcher(self) -> str:
        return str(self.folder / "usr/local/bin/gce-maintenance-handler")

    def _ask(self, *command: str) -> str:
        environment = processes.marked({"PATH": os.environ.get("PATH", os.defpath)}, self.folder)
        done = subprocess.run(
            [self._launcher, *command], env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return done.stdout
