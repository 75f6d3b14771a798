# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step's process: started in its own session, and ended with its process group when its time is over."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from .._vm.records import dataclass
from ..core.incident import FAILED, OK, TIMEOUT
from ..core.tasks import GRACE, without_grace
from .account import Account

# Seconds after SIGKILL until a process that does not end, for example in uninterruptible sleep, is given up.
UNKILLABLE_AFTER = 1.0

# Limits of a step's output in the log. The rest is read, so that the task does not block, and dropped.
LOGGED_LINES = 200
LOGGED_LINE = 1000
_READ_AT_ONCE = 65536
# Enough for the content of a pipe, unless a process keeps writing.
_LAST_READS = 4

# For the handler only: a task could notify systemd on its behalf.
_NOT_FOR_TASKS = (b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID", b"JOURNAL_STREAM", b"PYTHONPATH")


class CannotStart(Exception):
    """A command could not be started. The text is the reason; `passes` means that a retry may help."""

    def __init__(self, message: str, passes: bool = False) -> None:
        super().__init__(message)
        self.passes = passes


# No memory, process or descriptor is available at the moment.
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True)
class Command:
    """What to execute: `words` are its arguments, the first included; `program` is the path of the file."""

    words: Sequence[str]
    program: str
    environment: Mapping[bytes, bytes]
    # The user to run as; None for the handler's own.
    account: Account | None = None


class Prepared:
    """A command whose standard streams are open, so that little is left to do when it may start."""

    def __init__(self, command: Command, *, input_name: str, document: Mapping[str, Any]) -> None:
        """With the document on its standard input, a file of that name. Raises `CannotStart`."""
        self.command = command
        self._output, self._output_end, self._input = _streams(command, input_name, document)
        # Those that are open, and not handed over.
        self._own = [self._output, self._output_end, self._input]

    def start(self) -> tuple[subprocess.Popen[bytes], int]:
        """The process, and the descriptor to read its output from. Raises `CannotStart`."""
        command, account = self.command, self.command.account
        changes: dict[str, Any] = {}
        if account is not None and account.groups is not None:
            changes = {"user": account.uid, "group": account.gid, "extra_groups": account.groups}
        try:
            popen = subprocess.Popen(
                [_encoded(word) for word in command.words],
                executable=_encoded(command.program),
                stdin=self._input,
                stdout=self._output_end,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
                env=command.environment,
                **changes,
            )
        except OSError as exc:
            raise cannot_start(command.words[0], exc) from None
        except (ValueError, subprocess.SubprocessError) as exc:
            raise CannotStart(f"{command.words[0]} cannot be started: {exc}") from None
        self._own.remove(self._output)
        return popen, self._output

    def close(self) -> None:
        """Close the streams, apart from the output of a command that was started."""
        while self._own:
            os.close(self._own.pop())


class TaskProcess:
    """A running step. All times are monotonic, and passed by the caller."""

    def __init__(self, prepared: Prepared, *, now: float, until: float) -> None:
        """Start it, and close what it does not need. Raises `CannotStart`."""
        self.last_line = ""
        self._kill_at = until
        self._terminate_at = _terminate_at(now, until)
        self._terminated = False
        self._killed_at: float | None = None
        self._ended_early = False
        self._pending = b""
        self._lines_logged = 0
        try:
            self._popen, self._output = prepared.start()
        finally:
            prepared.close()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def output(self) -> str:
        """The target of the link of a descriptor for the output (proc_pid_fd(5))."""
        return f"pipe:[{os.fstat(self._output).st_ino}]"

    def fileno(self) -> int:
        """For a selector: readable if there is output."""
        return self._output

    def limit(self, now: float, until: float) -> None:
        """End it by `until` at the latest."""
        if until < self._kill_at:
            self._kill_at = until
            self._terminate_at = min(self._terminate_at, _terminate_at(now, until))

    def end(self, now: float) -> None:
        """End it now: SIGTERM, then SIGKILL after GRACE seconds."""
        self._ended_early = True
        self._terminate_at = min(self._terminate_at, now)
        self._kill_at = min(self._kill_at, now + GRACE)

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        self._signal_group(signal.SIGKILL)
        self._popen.wait()
        os.close(self._output)

    def next_time(self) -> float:
        """When to call `poll` again, unless something happens before."""
        if not self._terminated:
            return self._terminate_at
        return self._kill_at if self._killed_at is None else self._killed_at + UNKILLABLE_AFTER

    def poll(self, now: float) -> tuple[str, str] | None:
        """Do what is due. Returns outcome and detail when the process has ended, None before."""
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
        """The new lines for the log, and whether more may follow. Never blocks."""
        data = self._read()
        new = data or b""
        if self._lines_logged > LOGGED_LINES:
            # Only the last line matters from now on, and a flood must not keep the loop busy.
            new = new[-2 * LOGGED_LINE :]
        *complete, self._pending = (self._pending + new).split(b"\n")
        self._pending = self._pending[:LOGGED_LINE]
        return self._loggable(complete), data != b""

    def last_lines(self) -> tuple[list[str], bool]:
        """The rest of the output at the end, and whether more may follow from processes left behind."""
        lines: list[str] = []
        for _unused in range(_LAST_READS):
            new, more = self.read_lines()
            lines += new
            if not (more and new):
                break
        pending, self._pending = self._pending, b""
        return (lines + self._loggable([pending]) if pending else lines), more

    def give_away(self) -> int:
        """The descriptor of the output, for another process to read."""
        os.set_blocking(self._output, True)
        return self._output

    def close(self) -> None:
        """Close the output."""
        os.close(self._output)

    @property
    def was_ended(self) -> bool:
        """Whether it was asked to end."""
        return self._terminated

    def _has_exited(self) -> bool:
        # Without reaping it, so that the number of its process group is not reused.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._popen.pid, options) is not None

    def _over(self) -> tuple[str, str]:
        if self._terminated:
            self._signal_group(signal.SIGKILL)
        status = self._popen.wait()
        if self._terminated and not self._ended_early:
            return TIMEOUT, "timed out"
        if status == 0:
            return OK, ""
        if status < 0:
            return FAILED, f"ended by {signal.Signals(-status).name}"
        return FAILED, f"exit status {status}"

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self._popen.pid, number)
        except (ProcessLookupError, PermissionError):
            # It has ended, or, as a set-uid program, cannot be signalled.
            return

    def _read(self) -> bytes | None:
        """The available output; empty at its end, None if there is none at the moment."""
        try:
            return os.read(self._output, _READ_AT_ONCE)
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


def cannot_start(program: str, error: OSError) -> CannotStart:
    """The exception for an OSError."""
    return CannotStart(f"{program} cannot be started: {error}", passes=error.errno in _PASSING)


def environment_for(account: Account | None, variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """The inherited environment with the account's variables and these, in UTF-8 whatever the locale is."""
    inherited = {name: value for name, value in os.environb.items() if name not in _NOT_FOR_TASKS}
    if account is not None:
        own = {"HOME": account.home, "USER": account.name, "LOGNAME": account.name, "SHELL": account.shell}
        variables = {**own, **variables}
    return {**inherited, **{_encoded(name): _encoded(value) for name, value in variables.items()}}


def _streams(command: Command, input_name: str, document: Mapping[str, Any]) -> tuple[int, int, int]:
    """Descriptors: to read the output from, for the output, and for the input. Raises `CannotStart`."""
    account = command.account
    opened: list[int] = []
    try:
        opened += os.pipe2(os.O_CLOEXEC)
        output, output_end = opened
        os.set_blocking(output, False)
        if account is not None and account.groups is not None:
            # So that the task can open /dev/stdout and /dev/stderr.
            os.fchown(output_end, account.uid, account.gid)
        return output, output_end, _as_file(input_name, json.dumps(document).encode())
    except OSError as exc:
        for descriptor in opened:
            os.close(descriptor)
        raise cannot_start(command.words[0], exc) from None


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _as_file(name: str, data: bytes) -> int:
    """A descriptor of a file with the data. Unlike a pipe, it does not block the writer if there is no reader."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
