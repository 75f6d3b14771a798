# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM as a directory, with its services and the handler that the role has installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import processes
from .cases import FOLDER
from .errors import DemoError, end_of
from .server import PORT_FILE

# The initial files of a VM.
IMAGE = FOLDER / "vm"
# Files that show whether it is in service.
IN_SERVICE = ("service", "memory", "disk")
# Files that are lost in a power cut.
VOLATILE = ("memory", "run")

# Seconds for a handler to reach the metadata server, and to stop.
PATIENCE = 15.0


class Host:
    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.folder = root / "vms" / name
        self.log = root / "logs" / f"{name}.log"
        # Commands, other than the handler, that were running at a power cut.
        self.cut_off: list[str] = []
        # Of handlers that were stopped.
        self.exit_statuses: list[int | None] = []
        self._handler: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        shutil.copytree(IMAGE, self.folder)

    @property
    def is_on(self) -> bool:
        return self._handler is not None

    def boot(self, boot_id: str) -> None:
        """Boot with a boot ID, and start the HTTP server and the handler."""
        self._server = start_server(self.folder, self.log)
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
        """Wait until the handler has reached the metadata server."""
        give_up_at = time.monotonic() + PATIENCE
        while not json.loads(self._ask("status", "--json") or "{}").get("healthy"):
            if time.monotonic() > give_up_at or self._handler is None or self._handler.poll() is not None:
                raise DemoError(f"The handler of {self.name} is not well after {PATIENCE:g} s:\n{end_of(self.log)}")
            time.sleep(0.1)

    def lose_power(self) -> None:
        """Kill all processes, and delete what is in memory."""
        own = [process for process in (self._handler, self._server) if process is not None]
        pids = {process.pid for process in own}
        self.cut_off += [one.command for one in processes.kill(self.folder) if one.pid not in pids]
        for process in own:
            process.wait()
        self._handler = self._server = None
        for name in VOLATILE:
            shutil.rmtree(self.folder / name)
            (self.folder / name).mkdir()

    def shut_down(self) -> None:
        """Stop the server and the handler, and record the handler's exit status."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
        if self._handler is None:
            return
        self._handler.send_signal(signal.SIGTERM)
        try:
            self.exit_statuses.append(self._handler.wait(timeout=PATIENCE))
        except subprocess.TimeoutExpired:
            self.exit_statuses.append(None)

    def status(self) -> dict[str, Any]:
        """The last status of the handler; empty if there is none yet."""
        try:
            text = (self.folder / "run/gce-maintenance-handler/status.json").read_bytes()
        except FileNotFoundError:
            return {}
        status: dict[str, Any] = json.loads(text)
        return status

    def history(self) -> list[dict[str, Any]]:
        """The incidents in the handler's history."""
        incidents: list[dict[str, Any]] = json.loads(self._ask("history", "--json") or "[]")
        return incidents

    def tasks(self) -> list[dict[str, Any]]:
        """The tasks in the configuration that the role has written."""
        text = (self.folder / "etc/gce-maintenance-handler/config.json").read_bytes()
        tasks: list[dict[str, Any]] = json.loads(text)["tasks"]
        return tasks

    def notes(self) -> str:
        """The notes of the tasks, see vm/usr/local/bin/note."""
        path = self.folder / "var/log/tasks.tsv"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def in_service(self) -> dict[str, str]:
        """The files that show whether the VM is in service."""
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


def start_server(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the HTTP server of a VM."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "demo.server", str(folder)],
            cwd=FOLDER.parent,
            env=processes.marked({**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def wait_for_server(folder: Path) -> None:
    """Wait until the HTTP server of a VM listens."""
    give_up_at = time.monotonic() + PATIENCE
    while not (folder / PORT_FILE).exists():
        if time.monotonic() > give_up_at:
            raise DemoError(f"The HTTP server of {folder.name} does not listen after {PATIENCE:g} s.")
        time.sleep(0.05)
