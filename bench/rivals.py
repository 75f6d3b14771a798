# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways to hear of maintenance that are measured against each other.

Each has an instance of its own in one emulator, so that none is woken by what another is told, and starts the same
task: a shell that writes a line into a FIFO.
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
from collections.abc import Iterator
from pathlib import Path

from support.emulator import EmulatorProcess

CHECKOUT = Path(__file__).resolve().parents[1]
EVENT_KEY = "instance/maintenance-event"
NOTHING = "NONE"
# Nothing here takes long; who has not reacted by then does not.
PATIENCE = 15.0
# Not /tmp, which may be memory: the handler's journal is to be written to a disk.
DISK = "/var/tmp"


class DidNotReact(Exception):
    """A rival did not do what it is measured at. As text, who and what."""


class Rival:
    """A program with an instance of its own. What differs from one to the next is in the classes below."""

    name: str
    title: str

    def __init__(self, emulator: EmulatorProcess, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder / self.name
        self.folder.mkdir()
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        # For both ways, so that it has a reader at any time, and no end between two tasks.
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.task = ["/bin/sh", "-c", f"echo > '{fifo}'"]
        self.address = emulator.metadata[self.name]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise DidNotReact(f"{self.title} does not run.")
        return self._process.pid

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start the program, and have it wait for the event."""
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
        """Take the event back, and have the program wait for the next."""
        self.emulator.control.set(self.name, EVENT_KEY, NOTHING)
        self.settle()
        # The sample starts its command when the event is over, too.
        with contextlib.suppress(BlockingIOError):
            os.read(self._fifo, 4096)

    def settle(self) -> None:
        """Return when the program waits for the event."""
        began = time.time()
        give_up_at = time.monotonic() + PATIENCE
        while not self.is_waiting(began):
            if time.monotonic() > give_up_at:
                raise DidNotReact(f"{self.title} did not come to wait for an event. {self._last_words()}")
            time.sleep(0.02)

    def is_waiting(self, since: float) -> bool:
        """Whether it waits for what comes next, knowing all that was before `since`."""
        asked = self.emulator.control.journal(instance=self.name, path=EVENT_KEY)
        return bool(asked) and asked[-1]["status"] is None

    def task_began(self) -> int:
        """The time on the monotonic clock, in nanoseconds, at which the task's line comes."""
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
    """The handler as the role installs it, with its defaults but for one."""

    name = "handler"
    title = "this handler"

    def command(self) -> list[str]:
        config = self.folder / "config.json"
        settings = {
            "state_dir": str(self.folder / "state"),
            "runtime_dir": str(self.folder / "run"),
            "metadata_host": self.address,
            "tasks": [{"name": "drain", "on": ["migrate"], "drain": self.task}],
            # Events follow each other here as they never do on a VM.
            "flap_limit": 1_000_000,
        }
        config.write_text(json.dumps(settings), encoding="utf-8")
        code = CHECKOUT / "roles" / "maintenance_handler" / "files"
        python = [sys.executable, "-I", "-X", f"pycache_prefix={self.folder / 'pycache'}", str(code)]
        # The role compiles what it installs. Here the first command does that, and not in the checkout.
        subprocess.run([*python, "check", "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
        return [*python, "run", "--config", str(config)]

    def is_waiting(self, since: float) -> bool:
        status = self.folder / "run" / "status.json"
        is_idle = status.exists() and json.loads(status.read_bytes())["state"] == "idle"
        return is_idle and super().is_waiting(since)


class Sample(Rival):
    """The loop of Google's documentation."""

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
    """A question every two seconds."""

    name = "poller"
    title = "a 2 s poller"

    def command(self) -> list[str]:
        return [sys.executable, str(CHECKOUT / "bench" / "poller.py"), self.address, *self.task]

    def is_waiting(self, since: float) -> bool:
        return bool(self.emulator.control.journal(instance=self.name, since=since))


class Curl(Rival):
    """The floor: one hanging GET, and the program becomes the task."""

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
def running() -> Iterator[tuple[EmulatorProcess, list[Rival]]]:
    """The emulator and all rivals that this machine can run, each waiting for an event."""
    kinds: list[type[Rival]] = [Handler, Sample, Poller]
    if shutil.which("curl"):
        kinds.append(Curl)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gce-guest-bench-", dir=DISK)))
        instances = [{"name": kind.name} for kind in kinds]
        emulator = stack.enter_context(EmulatorProcess({"instances": instances}))
        rivals = []
        for kind in kinds:
            rivals.append(kind(emulator, folder))
            stack.callback(rivals[-1].close)
            rivals[-1].start()
        yield emulator, rivals
