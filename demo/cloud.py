# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulated project: the emulator process, and requests to its Compute API and control API."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from .cases import FLEET_FILE, FOLDER
from .errors import DemoError, end_of
from .processes import marked

PACKAGE_FOLDER = FOLDER.parent / "roles" / "metadata_emulator" / "files"


class Cloud:
    """An emulator that runs until `close`. `ready` has the addresses that it printed at its start."""

    def __init__(self, root: Path) -> None:
        self._log = root / "logs" / "emulator.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gce_emulator", "--config", str(FLEET_FILE)],
                cwd=PACKAGE_FOLDER,
                env=marked({**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, root),
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C must only reach the demo, which then stops the emulator.
                start_new_session=True,
            )
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise DemoError(f"The emulator did not start, exit status {self._process.wait()}:\n{end_of(self._log)}")
        self.ready: dict[str, Any] = json.loads(line)
        self._session = requests.Session()
        # Ignore proxy settings: the emulator is on the loopback interface.
        self._session.trust_env = False
        self.project: str = self._control("GET", "/")["project"]

    def preempt(self, host: str) -> None:
        """Preempt a Spot VM. Its managed instance group starts it again."""
        self._control("POST", f"/instances/{host}/scenarios", {"name": "preemption"})

    def instance(self, host: str) -> dict[str, Any]:
        """The current state of the instance."""
        return self._control("GET", f"/instances/{host}")

    def power_times(self, host: str) -> tuple[float | None, float]:
        """The times (seconds since 1970) of the last stop and the last start of the instance."""
        resource = self._request("GET", self._instance_url(host))
        stopped = resource.get("lastStopTimestamp")
        return stopped and _epoch(stopped), _epoch(resource["lastStartTimestamp"])

    def journal(self, host: str) -> list[dict[str, Any]]:
        """The requests of the instance to its metadata server, with the times of the answers."""
        entries: list[dict[str, Any]] = self._control("GET", f"/journal?face=metadata&instance={host}")["requests"]
        return entries

    def close(self) -> None:
        if self._process.stdout:
            self._process.stdout.close()
        self._session.close()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)

    def _instance_url(self, host: str) -> str:
        zone = self.instance(host)["zone"]
        return f"{self.ready['compute']}/compute/v1/projects/{self.project}/zones/{zone}/instances/{host}"

    def _control(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return self._request(method, self.ready["control"] + path, body)

    def _request(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        try:
            answer = self._session.request(method, url, json=body, timeout=10)
        except requests.RequestException as exc:
            raise DemoError(f"{method} {url}: no answer from the emulator: {exc}\n{end_of(self._log)}") from None
        if not answer.ok:
            raise DemoError(f"{method} {url} failed with status {answer.status_code}: {answer.text.strip()}")
        content: dict[str, Any] = answer.json()
        return content


def _epoch(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
