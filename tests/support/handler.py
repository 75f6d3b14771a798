# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance handler as a separate process, and tasks for it."""

from __future__ import annotations

import atexit
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .emulator import eventually
from .vm_python import VM_PYTHON

PACKAGE_FOLDER = Path(__file__).resolve().parents[2] / "roles" / "maintenance_handler" / "files"
EVENTS = ("migrate", "terminate", "preempt", "window")

# Shell text for a task: waits until the test calls `HandlerProcess.release()`.
UNTIL_RELEASED = 'until [ -e "$FOLDER/released" ]; do sleep 0.02; done'
# Seconds of a task that waits for the test: with two others, as much as the notice of a preemption leaves.
_PATIENCE = 20

_BYTECODE = tempfile.mkdtemp(prefix="gce-handler-bytecode-")
atexit.register(shutil.rmtree, _BYTECODE, ignore_errors=True)


def task(name: str, *on: str, drain: str = ":", restore: str | None = ":", **fields: Any) -> dict[str, Any]:
    """A task for these events (all, if none is named) that notes `drain NAME` in the trace, then runs shell text.

    It restores likewise, or not at all if `restore` is None. It drains as soon as an event is announced.
    """
    if {"terminate", "window"}.intersection(on or EVENTS):
        fields = {"lead": "at_once", **fields}
    entry: dict[str, Any] = {
        "name": name,
        "on": list(on or EVENTS),
        "timeout": _PATIENCE if UNTIL_RELEASED in f"{drain}{restore}" else 5,
        "drain": _noting("drain", name, drain),
    }
    if restore is not None:
        entry["restore"] = _noting("restore", name, restore)
    return {**entry, **fields}


def _noting(phase: str, name: str, then: str) -> list[str]:
    return ["sh", "-c", f'echo "{phase} {name}" >> "$FOLDER/trace"; {then}']


class HandlerProcess:
    """A handler in a folder: its configuration, its process (once `start` is called), and all that it writes.

    What tasks find in the variable FOLDER is `folder`. `close` ends the process and whatever it has started.
    """

    def __init__(
        self,
        folder: Path,
        metadata_host: str,
        tasks: Sequence[Mapping[str, Any]],
        *,
        environ: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.folder = folder
        self._launcher = launcher
        self.state_dir = folder / "state"
        self.config_path = folder / "config.json"
        self.process: subprocess.Popen[bytes] | None = None
        self._environ = {
            **{name: value for name, value in os.environ.items() if name not in ("JOURNAL_STREAM", "NOTIFY_SOCKET")},
            "PYTHONPYCACHEPREFIX": _BYTECODE,
            # For `module`, not for tasks.
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            "FOLDER": str(folder),
            **(environ or {}),
        }
        self.boot("boot-1")
        self.config: dict[str, Any] = {
            "tasks": list(tasks),
            "state_dir": str(self.state_dir),
            "runtime_dir": str(folder / "run"),
            "metadata_host": metadata_host,
            "boot_id_file": str(folder / "boot_id"),
            "guest_attributes": False,
            # However busy the machine is, its disk does not count as stalled.
            "journal_wait": 30,
            **settings,
        }
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the configuration, with changes."""
        self.config.update(changes)
        self.config_path.write_text(json.dumps(self.config), encoding="utf-8")

    def write_program(self) -> Path:
        """A program like the installed gce-maintenance-handler, with this configuration."""
        program = self.folder / "gce-maintenance-handler"
        command = shlex.join([VM_PYTHON, "-I", str(PACKAGE_FOLDER)])
        folder, config = shlex.quote(str(self.folder)), shlex.quote(str(self.config_path))
        program.write_text(
            f'#!/bin/sh\nexport FOLDER={folder}\nexec {command} "$@" --config {config}\n', encoding="utf-8"
        )
        program.chmod(0o755)
        return program

    def launch_by(self, launcher: Sequence[str]) -> None:
        """Start it by another command, which its own follows."""
        self._launcher = launcher

    def boot(self, boot_id: str) -> None:
        """Change the boot id of the machine."""
        (self.folder / "boot_id").write_text(f"{boot_id}\n", encoding="ascii")

    def start(self, *, ready: bool = True, module: str = "maintenance_handler") -> HandlerProcess:
        """Start it, and wait until it has an answer for every key. `module` is a module of `support` that wraps it."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._launcher, VM_PYTHON, "-m", module, "run", "--config", str(self.config_path)],
                cwd=PACKAGE_FOLDER,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready:
            self.until(lambda: self.has_heard_all() or self.process_ended(), "an answer for each key")
        return self

    def process_ended(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the handler ended with status {self.process.returncode}; its log:\n{self.log()}")
        return False

    def has_heard_all(self) -> bool:
        now = self.status()
        answers = now.get("last_good_answer", {})
        return now.get("pid") == self.running.pid and bool(answers) and None not in answers.values()

    @property
    def running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise AssertionError("the handler was not started")
        return self.process

    def send(self, number: signal.Signals) -> None:
        self.running.send_signal(number)

    def request(self, data: bytes) -> None:
        """Send this to the socket on which it takes requests of commands."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # Not by its path, which may be longer than an address can be.
            directory = os.open(self.config["runtime_dir"], os.O_PATH)
            try:
                sender.sendto(data, f"/proc/self/fd/{directory}/requests")
            finally:
                os.close(directory)

    def wait(self) -> int:
        """Its exit status, once it has ended by itself."""
        # Not with the process's wait(timeout), which polls every 50 ms.
        self.until(lambda: self.running.poll() is not None, "the end of the handler")
        return self.running.wait()

    def stop(self) -> int:
        """Ask it to stop. Returns its exit status."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.send(signal.SIGKILL)
        self.running.wait()

    def close(self) -> None:
        """End it and all processes that it has started; an uncaught exception is an error."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for pid in self.descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if "Traceback" in self.log():
            raise AssertionError(f"an exception was not caught; the handler's log:\n{self.log()}")

    def descendants(self) -> list[int]:
        """Processes that the handler's tasks started, also detached ones, but not those that check the tasks."""
        mark = f"FOLDER={self.folder}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or (self.process is not None and int(entry.name) == self.process.pid):
                continue
            try:
                is_check = b"--here" in (entry / "cmdline").read_bytes().split(b"\0")
                if mark in (entry / "environ").read_bytes().split(b"\0") and not is_check:
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    # Its files

    @property
    def log_path(self) -> Path:
        return self.folder / "log"

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8") if self.log_path.exists() else ""

    def status(self) -> dict[str, Any]:
        """The status file as it is, {} before there is one."""
        try:
            return dict(json.loads((Path(self.config["runtime_dir"]) / "status.json").read_bytes()))
        except FileNotFoundError:
            return {}

    def watched_keys(self) -> list[str]:
        return list(self.status().get("last_good_answer", {}))

    def state(self) -> str:
        return str(self.status().get("state", ""))

    def signals(self) -> list[dict[str, Any]]:
        """The announced events in the status."""
        return list((self.status().get("incident") or {}).get("signals", []))

    def journal(self) -> dict[str, Any]:
        """The newest entry; empty while there is none."""
        try:
            return newest_entry(self.state_dir / "journal.json")
        except FileNotFoundError:
            # The handler may move it away at any time.
            return {}

    def history(self) -> list[dict[str, Any]]:
        try:
            text = (Path(self.config["state_dir"]) / "history.jsonl").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines()]

    def trace(self) -> list[str]:
        """The lines that tasks have written."""
        path = self.folder / "trace"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def release(self) -> None:
        """Release tasks that wait with UNTIL_RELEASED."""
        (self.folder / "released").touch()

    # Waiting for it

    def until(self, condition: Callable[[], Any], what: str, within: float = 60.0) -> Any:
        """The result of the condition once it is true. Shows the log if it never is."""
        try:
            return eventually(condition, within=within, what=what)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\nstatus: {json.dumps(self.status())}\ntrace: {self.trace()}\nlog:\n{self.log()}"
            ) from None

    def until_traced(self, *lines: str) -> None:
        """Wait until the trace begins with exactly these lines."""
        self.until(lambda: self.trace()[: len(lines)] == list(lines), f"the trace {list(lines)}")

    def until_state(self, state: str) -> None:
        self.until(lambda: self.state() == state, f"the state {state}")

    def until_logged(self, text: str) -> None:
        self.until(lambda: text in self.log(), f"{text!r} in the log")

    def until_blind(self) -> None:
        """Wait until no key is answered."""

        def is_blind() -> bool:
            now = self.status()
            return bool(now) and set(now["last_good_answer"]) <= set(now["outages"])

        self.until(is_blind, "the outage of all keys", within=30)

    def until_over(self, incidents: int = 1) -> dict[str, Any]:
        """Wait until this many incidents are closed. Returns the last of them."""
        self.until(lambda: len(self.history()) >= incidents and self.state() == "idle", f"{incidents} closed incidents")
        return self.history()[-1]

    # Its command line

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line on the same configuration, and wait for it."""
        return subprocess.run(self._command_line(arguments), **self._command_options(), timeout=60, check=False)

    def start_command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command. The caller has to wait for it."""
        return subprocess.Popen(self._command_line(arguments), **self._command_options())

    def _command_line(self, arguments: Sequence[str]) -> list[str]:
        return [VM_PYTHON, "-m", "maintenance_handler", *arguments, "--config", str(self.config_path)]

    def _command_options(self) -> dict[str, Any]:
        return {
            "cwd": PACKAGE_FOLDER,
            "env": self._environ,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }


def newest_entry(journal: Path) -> dict[str, Any]:
    """The last complete line of a journal; the rest is allocated room."""
    *earlier, last = journal.read_bytes().rstrip().splitlines()
    while True:
        try:
            return dict(json.loads(last))
        except ValueError:
            # It is being written.
            if not earlier:
                raise
            last = earlier.pop()


def steps(incident: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The steps of an incident, in the order of their start, as (phase, task, outcome)."""
    return [(step["phase"], step["task"], step["outcome"]) for step in incident["steps"]]
