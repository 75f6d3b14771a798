# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command in the environment of a service: as its user, with its PATH, in its sandbox.

The service itself is not touched: systemd-run creates a transient unit with the properties of the
service in a unit file.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

UNIT_FILE = Path("/etc/systemd/system/gce-maintenance-handler.service")

# Seconds until the command is stopped.
PATIENCE = 60.0

# Properties that do not affect what the command sees of the machine. A transient unit with the directories of the
# service would delete those of /run at its end.
_NOT_ITS_WORLD = re.compile(
    r"Type|Exec\w*|Restart\w*|RemainAfterExit|Timeout\w*|RuntimeMaxSec|Watchdog\w*|NotifyAccess|PIDFile|BusName|Sockets|"
    r"KillMode|KillSignal|SendSIG\w*|FinalKillSignal|GuessMainPID|SuccessExitStatus|FileDescriptorStore\w*|OOMPolicy|"
    r"Standard\w+|TTY\w*|SyslogIdentifier|Log\w+|ReloadSignal|OpenFile|"
    r"(Runtime|State|Cache|Logs|Configuration)Directory\w*"
)
_UNKNOWN = re.compile(r"Unknown assignment: (.+)")

# The steps that failed before the command was executed (systemd.exec(5), "Process Exit Codes").
_SETUP_FAILED = {
    200: "CHDIR",
    203: "EXEC",
    209: "STDOUT",
    216: "GROUP",
    217: "USER",
    218: "CAPABILITIES",
    219: "CGROUP",
    226: "NAMESPACE, of the paths in ReadWritePaths= and the like one may not exist",
    228: "SECCOMP",
    233: "RUNTIME_DIRECTORY",
    238: "STATE_DIRECTORY",
}


class CannotRun(Exception):
    """The command could not be run in the environment of the service. The text is the reason."""


def is_possible() -> bool:
    """Whether the caller is root and systemd runs on this machine."""
    return os.geteuid() == 0 and os.path.isdir("/run/systemd/system")


def run(unit: str, command: Sequence[str], data: bytes | None = None) -> tuple[int, str]:
    """Run a command in the environment of the service in a unit file's text. Returns exit status and standard output.

    `data` is its standard input; None leaves it without one. Its standard error is ours. Raises `CannotRun`.
    """
    done = _run_with_known([*service_properties(unit), f"RuntimeMaxSec={PATIENCE:g}"], command, data)
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode in _SETUP_FAILED:
        raise CannotRun(
            f"systemd could not set up the environment of the service (exit status {done.returncode}, "
            f"{_SETUP_FAILED[done.returncode]}): check the settings of its unit{_also(said)}"
        )
    if said:
        raise CannotRun(f"systemd-run failed with exit status {done.returncode}: {said}")
    return done.returncode, done.stdout.decode("utf-8", "replace")


def call(unit: str, command: Sequence[str], further: Sequence[str] = ()) -> int:
    """Run a command in the environment of the service with our standard output and error. Returns its exit status.

    `further` are properties besides the unit's. Raises `CannotRun`.
    """
    properties = [*service_properties(unit), *further]
    # Which properties a transient unit takes.
    _run_with_known(properties, ["true"], None)
    try:
        return subprocess.call(_systemd_run(properties, command), stdin=subprocess.DEVNULL, env=_plain())
    except OSError as exc:
        raise CannotRun(f"systemd-run cannot be run: {exc}") from None


def service_properties(unit: str) -> list[str]:
    """The properties in a unit file's text that affect its service's environment, as `Name=value`, in order."""
    properties = []
    section = ""
    for line in re.sub(r"\\\n", " ", unit).splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and line[0] not in "#;":
            name, _equals, value = line.partition("=")
            if not _NOT_ITS_WORLD.fullmatch(name.strip()):
                # A unit file's specifiers start with %; a transient unit has none.
                properties.append(f"{name.strip()}={value.strip().replace('%%', '%')}")
    return properties


def _run_with_known(
    properties: list[str], command: Sequence[str], data: bytes | None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with those of the properties that a transient unit takes; the others are removed."""
    while True:
        done = _run(properties, command, data)
        unknown = _UNKNOWN.search(done.stderr.decode("utf-8", "replace"))
        if done.returncode == 0 or unknown is None or unknown.group(1) not in properties:
            return done
        properties.remove(unknown.group(1))


def _systemd_run(properties: Sequence[str], command: Sequence[str]) -> list[str]:
    options = [word for one in properties for word in ("--property", one)]
    return ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", *options, "--", *command]


def _plain() -> dict[str, str]:
    # Some versions colour and translate their output even if it is not shown.
    return {**os.environ, "SYSTEMD_COLORS": "0", "LC_ALL": "C"}


def _run(properties: Sequence[str], command: Sequence[str], data: bytes | None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            _systemd_run(properties, command),
            input=data or b"",
            capture_output=True,
            env=_plain(),
            # systemd ends the command by itself before that.
            timeout=PATIENCE + 10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise CannotRun(f"systemd-run cannot be run: {exc}") from None


def _also(said: str) -> str:
    return f"; its output: {said}" if said else ""
