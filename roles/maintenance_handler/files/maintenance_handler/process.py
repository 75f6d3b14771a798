# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step's process: started in a session of its own, listened to, and ended by its group before its time is up."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence

from .incident import FAILED, OK, TIMEOUT
from .tasks import GRACE, without_grace

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any

# Seconds after SIGKILL until a process (asleep in the kernel, say) is given up.
UNKILLABLE_AFTER = 1.0

# Of one step: what goes to the log. The rest is read, so that the task does not block, and dropped.
LOGGED_LINES = 200
LOGGED_LINE = 1000
_READ_AT_ONCE = 65536

# systemd's, for the handler alone: a task that notified would speak for it.
_NOT_FOR_TASKS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "PYTHONPATH")


class CannotStart(Exception):
    """A command could not be started. The text says why."""


class TaskProcess:
    """A running step. All times are on the monotonic clock, which the caller reads."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        user: str | None,
        document: Mapping[str, Any],
        now: float,
        until: float,
    ) -> None:
        """Start it, with the document on its standard input. Raises `CannotStart`."""
        self.last_line = ""
        self._kill_at = until
        self._terminate_at = _terminate_at(now, until)
        self._terminated = False
        self._killed_at: float | None = None
        self._ended_early = False
        self._pending = b""
        self._lines_logged = 0
        try:
            standard_input = _as_file(json.dumps(document).encode())
        except OSError as exc:
            raise CannotStart(f"{command[0]} cannot be started: no file for its standard input: {exc}") from None
        try:
            self._popen = subprocess.Popen(
                list(command),
                stdin=standard_input,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
                **_identity(user, environment),
            )
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as exc:
            raise CannotStart(f"{command[0]} cannot be started: {exc}") from None
        finally:
            os.close(standard_input)
        output = self._popen.stdout
        if output is None:
            raise CannotStart(f"{command[0]} has no output to read")
        self._output = output
        os.set_blocking(output.fileno(), False)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def fileno(self) -> int:
        """For a selector: readable when there is output."""
        return self._output.fileno()

    def limit(self, now: float, until: float) -> None:
        """Have it ended by `until` at the latest."""
        if until < self._kill_at:
            self._kill_at = until
            self._terminate_at = min(self._terminate_at, _terminate_at(now, until))

    def end(self, now: float) -> None:
        """Have it ended as soon as it can be."""
        self._ended_early = True
        self._terminate_at = min(self._terminate_at, now)
        self._kill_at = min(self._kill_at, now + GRACE)

    def next_time(self) -> float:
        """When on the clock to call `poll` although nothing happened."""
        if not self._terminated:
            return self._terminate_at
        return self._kill_at if self._killed_at is None else self._killed_at + UNKILLABLE_AFTER

    def poll(self, now: float) -> tuple[str, str] | None:
        """Do what is due. Answers outcome and detail once it is over, None before."""
        if self._has_exited():
            return self._over()
        if not self._terminated and now >= self._terminate_at:
            self._terminated = True
            self._signal_group(signal.SIGTERM)
        if self._terminated and self._killed_at is None and now >= self._kill_at:
            self._killed_at = now
            self._signal_group(signal.SIGKILL)
        if self._killed_at is not None and now >= self._killed_at + UNKILLABLE_AFTER:
            return TIMEOUT, "could not be killed"
        return None

    def read_lines(self) -> tuple[list[str], bool]:
        """The lines that came since the last call, for the log, and whether more may come. Never blocks."""
        data = self._read()
        new = data or b""
        if self._lines_logged > LOGGED_LINES:
            # Only the last line is of interest any more, and a flood must not keep the loop busy.
            new = new[-2 * LOGGED_LINE :]
        *complete, self._pending = (self._pending + new).split(b"\n")
        self._pending = self._pending[:LOGGED_LINE]
        return self._loggable(complete), data != b""

    def close(self) -> list[str]:
        """Let go of the output. Answers the last lines."""
        lines, _unused = self.read_lines()
        if self._pending:
            lines += self._loggable([self._pending])
        self._output.close()
        return lines

    def _has_exited(self) -> bool:
        # Without reaping it: as long as the leader is there, its process group's number is nobody else's.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._popen.pid, options) is not None

    def _over(self) -> tuple[str, str]:
        if self._terminated:
            self._signal_group(signal.SIGKILL)
        status = self._popen.wait()
        if self._terminated and not self._ended_early:
            return TIMEOUT, "did not end in time"
        if status == 0:
            return OK, ""
        if status < 0:
            return FAILED, f"ended by {signal.Signals(-status).name}"
        return FAILED, f"exit status {status}"

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self._popen.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone already, or (a set-uid program) not ours to signal.
            return

    def _read(self) -> bytes | None:
        """What is there to read; empty at the end of the output, None when nothing is there now."""
        try:
            return os.read(self._output.fileno(), _READ_AT_ONCE)
        except BlockingIOError:
            return None

    def _loggable(self, lines: list[bytes]) -> list[str]:
        texts = [line[:LOGGED_LINE].decode("utf-8", "replace").rstrip() for line in lines]
        texts = [text for text in texts if text]
        if texts:
            self.last_line = texts[-1]
        room = LOGGED_LINES - self._lines_logged
        self._lines_logged += len(texts)
        if 0 <= room < len(texts):
            return [*texts[:room], "(more output is not logged)"]
        return texts if room > 0 else []


def _terminate_at(now: float, until: float) -> float:
    return now + without_grace(until - now)


def _as_file(data: bytes) -> int:
    """A descriptor to read the data from: whoever does not read it blocks nobody, as a pipe would."""
    descriptor = os.memfd_create("event", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_FOR_TASKS}


def _identity(user: str | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """Popen's arguments for running as a user. Raises KeyError when there is none of that name."""
    if user is None:
        return {"env": {**_inherited(), **environment}}
    entry = pwd.getpwnam(user)
    account = {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user, "SHELL": entry.pw_shell}
    merged = {**_inherited(), **account, **environment}
    if os.geteuid() == entry.pw_uid:
        return {"env": merged}
    return {
        "env": merged,
        "user": entry.pw_uid,
        "group": entry.pw_gid,
        "extra_groups": os.getgrouplist(user, entry.pw_gid),
    }
