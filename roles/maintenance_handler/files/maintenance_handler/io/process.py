# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step's process: started in a session of its own, listened to, and ended by its group before its time is up."""

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

# Seconds after SIGKILL until a process (asleep in the kernel, say) is given up.
UNKILLABLE_AFTER = 1.0

# Of one step: what goes to the log. The rest is read, so that the task does not block, and dropped.
LOGGED_LINES = 200
LOGGED_LINE = 1000
_READ_AT_ONCE = 65536
# A pipe holds no more than that, unless somebody goes on writing.
_LAST_READS = 4

# systemd's, for the handler alone: a task that notified would speak for it.
_NOT_FOR_TASKS = (b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID", b"JOURNAL_STREAM", b"PYTHONPATH")


class CannotStart(Exception):
    """A command could not be started. The text says why; `passes` if it may be possible in a moment."""

    def __init__(self, message: str, passes: bool = False) -> None:
        super().__init__(message)
        self.passes = passes


# The system has no memory, no process or no descriptor left for us now.
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True)
class Command:
    """What to execute: `words` are its arguments, the first included; `program` is the path of the file."""

    words: Sequence[str]
    program: str
    environment: Mapping[bytes, bytes]
    # The user to run as; None for the handler's own.
    account: Account | None = None


class TaskProcess:
    """A running step. All times are on the monotonic clock, which the caller reads."""

    def __init__(
        self,
        command: Command,
        *,
        input_name: str,
        document: Mapping[str, Any],
        now: float,
        until: float,
    ) -> None:
        """Start it, with the document on its standard input, a file of that name. Raises `CannotStart`."""
        self.last_line = ""
        self._kill_at = until
        self._terminate_at = _terminate_at(now, until)
        self._terminated = False
        self._killed_at: float | None = None
        self._ended_early = False
        self._pending = b""
        self._lines_logged = 0
        try:
            self._popen, self._output = _started(command, input_name, document)
        except OSError as exc:
            raise cannot_start(command.words[0], exc) from None
        except (ValueError, subprocess.SubprocessError) as exc:
            raise CannotStart(f"{command.words[0]} cannot be started: {exc}") from None

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def output(self) -> str:
        """How the output reads among the descriptors of whoever has it open (proc_pid_fd(5))."""
        return f"pipe:[{os.fstat(self._output).st_ino}]"

    def fileno(self) -> int:
        """For a selector: readable when there is output."""
        return self._output

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

    def kill(self) -> None:
        """Kill it, and wait for that: it should not have been started."""
        self._signal_group(signal.SIGKILL)
        self._popen.wait()
        os.close(self._output)

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

    def last_lines(self) -> tuple[list[str], bool]:
        """What is left of the output once it is over, and whether more may come, of what it left behind."""
        lines: list[str] = []
        for _unused in range(_LAST_READS):
            new, more = self.read_lines()
            lines += new
            if not (more and new):
                break
        pending, self._pending = self._pending, b""
        return (lines + self._loggable([pending]) if pending else lines), more

    def give_away(self) -> int:
        """The output, for a process that waits for it."""
        os.set_blocking(self._output, True)
        return self._output

    def close(self) -> None:
        """Let go of the output."""
        os.close(self._output)

    @property
    def was_ended(self) -> bool:
        """It did not end by itself."""
        return self._terminated

    def _has_exited(self) -> bool:
        # Without reaping it: as long as the leader is there, its process group's number is nobody else's.
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
            # Gone already, or (a set-uid program) not ours to signal.
            return

    def _read(self) -> bytes | None:
        """What is there to read; empty at the end of the output, None when nothing is there now."""
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
    """The exception for what the system said."""
    return CannotStart(f"{program} cannot be started: {error}", passes=error.errno in _PASSING)


def environment_for(account: Account | None, variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """What we inherited, what belongs to the account, and these variables: in UTF-8, whatever the locale says."""
    inherited = {name: value for name, value in os.environb.items() if name not in _NOT_FOR_TASKS}
    if account is not None:
        own = {"HOME": account.home, "USER": account.name, "LOGNAME": account.name, "SHELL": account.shell}
        variables = {**own, **variables}
    return {**inherited, **{_encoded(name): _encoded(value) for name, value in variables.items()}}


def _started(command: Command, input_name: str, document: Mapping[str, Any]) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and the end of a pipe to read its output from."""
    account = command.account
    changes: dict[str, Any] = {}
    if account is not None and account.groups is not None:
        changes = {"user": account.uid, "group": account.gid, "extra_groups": account.groups}
    output, output_end = os.pipe2(os.O_CLOEXEC)
    try:
        os.set_blocking(output, False)
        if account is not None and changes:
            # So that the task can open /dev/stdout and /dev/stderr.
            os.fchown(output_end, account.uid, account.gid)
        standard_input = _as_file(input_name, json.dumps(document).encode())
        try:
            popen = subprocess.Popen(
                [_encoded(word) for word in command.words],
                executable=_encoded(command.program),
                stdin=standard_input,
                stdout=output_end,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
                env=command.environment,
                **changes,
            )
        finally:
            os.close(standard_input)
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(output_end)
    return popen, output


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _as_file(name: str, data: bytes) -> int:
    """A descriptor to read the data from: whoever does not read it blocks nobody, as a pipe would."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
