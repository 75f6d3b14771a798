# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes' programs as separate processes, and substitutes for the services that they drain."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .emulator import eventually
from .handler import PACKAGE_FOLDER
from .ports import free_port
from .vm_python import VM_PYTHON

RECIPES = PACKAGE_FOLDER / "recipes"
# For conditions that become true at once: a hundred times longer than needed.
PATIENCE = 20.0

# Podman raises these limits as far as root may, which is not allowed where root itself is limited.
ULIMITS = ("--ulimit=nofile=16384:16384", "--ulimit=nproc=16384:16384")


class Recipe:
    """A recipe with its parameters and its own directory of records."""

    def __init__(
        self, name: str, records: Path, *, environ: Mapping[str, str] | None = None, **parameters: Any
    ) -> None:
        self.name = name
        self.records = records
        self.parameters = parameters
        self._environ = {**os.environ, "GCE_RECIPE_RECORDS": str(records), **(environ or {})}

    def start(self, verb: str, timeout: float = 10.0, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [VM_PYTHON, "-I", "-X", "utf8", str(RECIPES), self.name, verb, json.dumps(self.parameters)],
            env={**self._environ, "GCE_TASK_TIMEOUT_SECONDS": str(timeout), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, verb: str, timeout: float = 10.0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end. `stdout` has its whole output."""
        with self.start(verb, timeout, **environ) as process:
            try:
                said, _none = process.communicate(timeout=timeout + PATIENCE)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, said)

    def does(self, verb: str, timeout: float = 10.0, **environ: str) -> str:
        """Run a verb that has to succeed. Returns its output."""
        done = self.run(verb, timeout, **environ)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def refuses(self, verb: str = "check", timeout: float = 10.0, **environ: str) -> str:
        """Run a verb that has to fail with one sentence. Returns the sentence."""
        done = self.run(verb, timeout, **environ)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stdout
        [line] = done.stdout.splitlines()[-1:]
        return line

    def reports(self, verb: str, looks_again: Callable[[], Any]) -> str:
        """Run a verb that has to wait, and end it as the handler does when its time is over. Returns its output.

        `looks_again` returns whether it has looked a second time at what it waits for: then it knows what is open.
        """
        with self.start(verb, timeout=6 * PATIENCE) as process:
            try:
                eventually(
                    lambda: looks_again() or process.poll() is not None, within=2 * PATIENCE, what="a second look"
                )
                process.terminate()
                said, _none = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        assert process.returncode == 3, said
        return said

    @property
    def record(self) -> dict[str, Any]:
        """The changes in the recipe's record."""
        [path] = self.records.glob("*.json")
        changed: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["changed"]
        return changed


class Service:
    """A local HTTP service. A request for `/slow` is answered once `release` is called.

    By default, its port is one that stays free when it is closed.
    """

    def __init__(self, port: int | None = None) -> None:
        released = self._released = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.seen.append(self.path)
                if self.path == "/slow":
                    service.slow.set()
                    released.wait(PATIENCE)
                self.send_response(service.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.status = 200
        self.seen: list[str] = []
        # A slow request has arrived.
        self.slow = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port() if port is None else port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def looks_again(self) -> Callable[[], bool]:
        """Returns a function that returns whether two more requests have come since."""
        enough = len(self.seen) + 2
        return lambda: len(self.seen) >= enough

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def service(port: int | None = None) -> Iterator[Service]:
    one = Service(port)
    try:
        yield one
    finally:
        one.close()
