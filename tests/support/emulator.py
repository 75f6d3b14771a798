# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator as a separate process, and a client of its control face."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from .vm_python import VM_PYTHON

PACKAGE_FOLDER = Path(__file__).resolve().parents[2] / "roles" / "metadata_emulator" / "files"


class ControlError(Exception):
    """An error of the control face; `status` is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Control:
    """The control face. Each method sends one request and returns its decoded answer."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        # Proxies of the environment must not be used for the loopback interface.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/{path.lstrip('/')}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=self._headers,
        )
        try:
            with self._opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise ControlError(error.code, json.load(error)["error"]) from None

    def instance(self, name: str) -> dict[str, Any]:
        summary: dict[str, Any] = self.request("GET", f"instances/{name}")
        return summary

    def get(self, name: str, path: str) -> Any:
        return self.request("GET", f"instances/{name}/values/{path}")["value"]

    def set(self, name: str, path: str, value: Any) -> None:
        self.request("PUT", f"instances/{name}/values/{path}", {"value": value})

    def remove(self, name: str, path: str) -> None:
        self.request("DELETE", f"instances/{name}/values/{path}")

    def scenario(self, instance: str, scenario: str, **options: float | bool) -> dict[str, Any]:
        started: dict[str, Any] = self.request("POST", f"instances/{instance}/scenarios", {"name": scenario, **options})
        return started

    def fault(self, kind: str, **options: Any) -> str:
        fault_id: str = self.request("POST", "faults", {"kind": kind, **options})["id"]
        return fault_id

    def clear_faults(self) -> None:
        self.request("DELETE", "faults")

    def reset(self) -> None:
        """Reset everything to the fleet file."""
        self.request("POST", "reset")

    def speed(self, speed: float) -> None:
        self.request("PUT", "clock", {"speed": speed})

    def journal(self, **selection: str | float) -> list[dict[str, Any]]:
        query = "&".join(f"{key}={value}" for key, value in selection.items())
        requests: list[dict[str, Any]] = self.request("GET", f"journal?{query}")["requests"]
        return requests

    def clear_journal(self) -> None:
        self.request("DELETE", "journal")


class EmulatorProcess:
    """`EmulatorProcess({"instances": [{"name": "web-1"}]})`; a context manager, or call `close`.

    `metadata` is `HOST:PORT` of each instance's metadata server, `compute` the URL of the Compute API.
    """

    def __init__(self, fleet: Mapping[str, Any], *, python: str = VM_PYTHON) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gce-emulator-")
        config = Path(self._folder.name) / "fleet.yml"
        # JSON is YAML, except for characters with two escapes.
        config.write_text(json.dumps(fleet, ensure_ascii=False), encoding="utf-8")
        self._stderr = Path(self._folder.name) / "stderr"
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [python, "-m", "gce_emulator", "--config", str(config)],
                cwd=PACKAGE_FOLDER,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        if self.process.stdout is None:
            raise AssertionError("the emulator's standard output is not a pipe")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            problem = self._stderr.read_text(encoding="utf-8")
            self._cleanup()
            raise AssertionError(f"the emulator did not start, exit status {self.process.returncode}: {problem}")
        self.ready: dict[str, Any] = json.loads(line)
        self.metadata: dict[str, str] = self.ready["metadata"]
        self.compute: str = self.ready["compute"]
        self.control = Control(self.ready["control"])

    def close(self) -> None:
        """End it; a wrong exit status or any text on standard error is an error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        said = self._stderr.read_text(encoding="utf-8")
        self._cleanup()
        if status != 0 or said:
            raise AssertionError(f"the emulator ended with exit status {status} and said: {said}")

    def _cleanup(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._folder.cleanup()

    def __enter__(self) -> EmulatorProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def eventually(condition: Callable[[], Any], *, within: float = 10.0, what: str = "the condition") -> Any:
    """Call `condition` until its result is true, and return the result. Fails after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        time.sleep(0.005)
