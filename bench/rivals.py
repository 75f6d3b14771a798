# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that react to maintenance events, to compare with each other.

Each has its own instance in one emulator, so that events of one do not wake another, and starts the same task: a shell
that writes a line to a FIFO.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support.emulator import Control, EmulatorProcess

CHECKOUT = Path(__file__).resolve().parents[1]
EVENT_KEY = "instance/maintenance-event"
NOTHING = "NONE"
# Seconds after which a program counts as not reacting.
PATIENCE = 15.0
# Not /tmp, which may be in memory: the handler's journal must be written to a disk.
DISK = "/var/tmp"


class DidNotReact(Exception):
    """A program did not react. The message says which, and to what."""


class ThreadedServer:
    """The server of bench.threaded_server, in a process of its own."""

    def __init__(self, names: Sequence[str]) -> None:
        command = [sys.executable, "-m", "bench.threaded_server", *names]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe)
        ready = json.loads(self._process.stdout.readline() if self._process.stdout else b"")
        self.metadata: dict[str, str] = ready["metadata"]
        self.control = Control(ready["control"])

    def __enter__(self) -> ThreadedServer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate()


# What a program waits for an event of.
Server = EmulatorProcess | ThreadedServer


class Rival:
    """A program with its own instance. Subclasses define what differs."""

    name: str
    title: str

    def __init__(self, emulator: Server, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder / self.name
        self.folder.mkdir()
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        # Read and write, so that it always has a reader, and no end of file between two tasks.
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.task = ["/bin/sh", "-c", f"echo > '{fifo}'"]
        self.address = emulator.metadata[self.name]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise DidNotReact(f"{self.title} is not running.")
        return self._process.pid

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start the program, and wait until it waits for an event."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.settle()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)

    def close(self) -> None:
        self.stop()
        os.close(self._fifo)

    def rearm(self) -> None:
        """Withdraw the event, and wait until the program waits for the next."""
        self.emulator.control.set(self.name, EVENT_KEY, NOTHING)
        self.settle()
        # The sample also starts its command at the end of an event.
        with contextlib.suppress(BlockingIOError):
            os.read(self._fifo, 4096)

    def settle(self) -> None:
        """Wait until the program waits for an event."""
        began = time.time()
        give_up_at = time.monotonic() + PATIENCE
        while not self.is_waiting(began):
            if time.monotonic() > give_up_at:
                raise DidNotReact(
                    f"{self.title} did not start to wait for an event within {PATIENCE:g} s. {self._last_words()}"
                )
            time.sleep(0.02)

    def is_waiting(self, since: float) -> bool:
        """Whether the program waits for the next event, after it has read a value since `since`."""
        asked = self.emulator.control.journal(instance=self.name, path=EVENT_KEY)
        return bool(asked) and asked[-1]["status"] is None

    def task_began(self) -> int:
        """Wait for the line of the task. Return the monotonic time in nanoseconds."""
        ready, _unused, _unused = select.select([self._fifo], [], [], PATIENCE)
        now = time.monotonic_ns()
        if not ready:
            raise DidNotReact(f"{self.title} did not start its task within {PATIENCE:g} s. {self._last_words()}")
        os.read(self._fifo, 4096)
        return now

    def _last_words(self) -> str:
        log = (self.folder / "log").read_text(encoding="utf-8", errors="replace").strip()
        return f"Its log ends with: {log[-500:]}" if log else "Its log is empty."


class Handler(Rival):
    """The handler as installed by the role, with its defaults except for one."""

    name = "handler"
    title = "this handler"

    def command(self) -> list[str]:
        config = self.folder / "config.json"
        config.write_text(json.dumps(self.settings()), encoding="utf-8")
        code = CHECKOUT / "roles" / "maintenance_handler" / "files"
        python = [sys.executable, "-I", "-X", f"pycache_prefix={self.folder / 'pycache'}", str(code)]
        # The role compiles the code. Here that is done outside of the checkout, with the standard library.
        imports = f"import sys; sys.path.insert(0, {str(code)!r}); import maintenance_handler.app.cli_run"
        subprocess.run([*python[:-1], "-c", imports], check=True)
        return [*python, "run", "--config", str(config)]

    def settings(self) -> dict[str, Any]:
        """The handler's configuration."""
        return {
            "state_dir": str(self.folder / "state"),
            "runtime_dir": str(self.folder / "run"),
            "metadata_host": self.address,
            "tasks": [{"name": "drain", "on": ["migrate"], "drain": self.task}],
            # The benchmark sends many more events than a VM gets.
            "flap_limit": 1_000_000,
        }

    def is_waiting(self, since: float) -> bool:
        status = self.folder / "run" / "status.json"
        is_idle = status.exists() and json.loads(status.read_bytes())["state"] == "idle"
        return is_idle and super().is_waiting(since)


class Sample(Rival):
    """The sample loop of Google's documentation."""

    name = "sample"
    title = "the sample loop"

    def command(self) -> list[str]:
        return [
            sys.executable,
            str(CHECKOUT / "tests" / "support" / "sample_loop.py"),
            "--host",
            self.address,
            "--exec",
            *self.task,
        ]


class Poller(Rival):
    """A request every two seconds."""

    name = "poller"
    title = "a 2 s poller"

    def command(self) -> list[str]:
        return [sys.executable, str(CHECKOUT / "bench" / "poller.py"), self.address, *self.task]

    def is_waiting(self, since: float) -> bool:
        return bool(self.emulator.control.journal(instance=self.name, since=since))


class Curl(Rival):
    """The lower bound: one hanging GET, then exec of the task."""

    name = "curl"
    title = "curl, then exec"

    def command(self) -> list[str]:
        url = f"http://{self.address}/computeMetadata/v1/{EVENT_KEY}?wait_for_change=true"
        get = f"curl --silent --fail --output /dev/null --header 'Metadata-Flavor: Google' '{url}'"
        return ["/bin/sh", "-c", f'{get} && exec "$@"', "sh", *self.task]

    def rearm(self) -> None:
        self.stop()
        self.emulator.control.set(self.name, EVENT_KEY, NOTHING)
        self.start()


@contextlib.contextmanager
def running(*, threaded: bool = False, more: Sequence[type[Rival]] = ()) -> Iterator[tuple[Server, list[Rival]]]:
    """Start a server, all programs available on this machine, and `more`, each waiting for an event.

    The server is the emulator or, with `threaded`, that of bench.threaded_server.
    """
    kinds: list[type[Rival]] = [Handler, Sample, Poller, *more]
    if shutil.which("curl"):
        kinds.append(Curl)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gce-guest-bench-", dir=DISK)))
        instances = [{"name": kind.name} for kind in kinds]
        emulator: Server
        if threaded:
            emulator = stack.enter_context(ThreadedServer([kind.name for kind in kinds]))
        else:
            emulator = stack.enter_context(EmulatorProcess({"instances": instances}))
        rivals = []
        for kind in kinds:
            rivals.append(kind(emulator, folder))
            stack.callback(rivals[-1].close)
            rivals[-1].start()
        yield emulator, rivals
