# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test new code, a new configuration and a new unit before they replace anything. `python3 -I -c trial.py`.

In (JSON on standard input): `python`, `code` (texts by path), `launcher`, `config` (texts), `user`, `group`,
`task_checks` (whether to run the tasks' own checks); where systemd runs also `unit`, `plain_unit` (the unit without the
user's own lines) and `probe` (seconds to wait for the metadata server).
Out: a line for each problem, and exit status 1 if there is any. Leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

UNIT = "gce-maintenance-handler.service"
TRIAL_UNIT = "gce-maintenance-handler-trial.service"
TRIAL_UNIT_FILE = Path("/run/systemd/system", TRIAL_UNIT)
# Seconds. The check queries user databases and the like, which may be slow.
PATIENCE = 120

# Appended to the section, so that these lines override those before. The service's other commands are not run: running
# them twice may not be safe. Its directories belong to the running handler.
_TRIAL_LINES = """
Type=oneshot
Restart=no
RemainAfterExit=no
WatchdogSec=0
TimeoutStartSec={patience}
ExecCondition=
ExecStartPre=
ExecStartPost=
ExecReload=
ExecStop=
ExecStopPost=
ExecStart=
ExecStart={command}
RuntimeDirectory=
StateDirectory=
StandardInput=null
StandardOutput=file:{output}
StandardError=inherit
"""


def main(wanted: dict[str, Any]) -> list[str]:
    with_systemd = wanted.get("unit") is not None
    # The service may have a private /tmp.
    folder = Path(tempfile.mkdtemp(prefix="gce-maintenance-handler-", dir="/run" if with_systemd else None))
    try:
        folder.chmod(0o755)
        return _launcher_problems(wanted["launcher"]) or _problems(wanted, folder, with_systemd)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _problems(wanted: dict[str, Any], folder: Path, with_systemd: bool) -> list[str]:
    for name, text in wanted["code"].items():
        path = folder / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    config = folder / "config.json"
    descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(wanted["config"])
    command = [wanted["python"], "-I", "-X", "utf8", str(folder / "lib"), "check", "--here", "--config", str(config)]
    if not wanted.get("task_checks", True):
        command.append("--without-task-checks")
    if not with_systemd:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        return _messages(done.stderr, config) if done.returncode else []
    shutil.chown(config, _number_or_name(wanted["user"]), _number_or_name(wanted["group"]))
    if wanted.get("probe"):
        command += ["--probe", str(wanted["probe"])]
    return [
        *_unit_problems(wanted["unit"], wanted["plain_unit"], folder),
        *_run_problems(wanted["unit"], command, folder),
    ]


def _number_or_name(name: str) -> int | str:
    return int(name) if name.isdigit() else name


def _launcher_problems(launcher: str) -> list[str]:
    done = subprocess.run(["sh", "-n"], input=launcher, check=False, stderr=subprocess.PIPE, text=True)
    return [f"launcher: {line}" for line in done.stderr.splitlines()] if done.returncode else []


def _unit_problems(unit: str, plain_unit: str, folder: Path) -> list[str]:
    """systemd's messages about the user's lines. An older systemd does not know all of the role's own lines."""
    usual = [_without_place(line) for line in _verdict(plain_unit, folder / "plain")]
    return [f"unit: {line}" for line in _verdict(unit, folder / "units") if _without_place(line) not in usual]


def _verdict(unit: str, folder: Path) -> list[str]:
    folder.mkdir()
    path = folder / UNIT
    path.write_text(unit, encoding="utf-8")
    try:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(path)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    # It reports on other units as well.
    return [line.replace(f"{folder}/", "") for line in done.stdout.splitlines() if UNIT in line]


def _without_place(line: str) -> str:
    return re.sub(rf"{re.escape(UNIT)}:\d+:", f"{UNIT}:", line)


def _run_problems(unit: str, command: list[str], folder: Path) -> list[str]:
    """Run the command with the user, the environment and the limits of the service."""
    output = folder / "output"
    service = unit.partition("\n[Service]\n")[2].partition("\n[Install]\n")[0]
    lines = _TRIAL_LINES.format(command=" ".join(command), output=output, patience=PATIENCE)
    TRIAL_UNIT_FILE.parent.mkdir(parents=True, exist_ok=True)
    TRIAL_UNIT_FILE.write_text(
        f"[Unit]\nDescription=Test a new maintenance handler\nDefaultDependencies=no\n\n[Service]\n{service}\n{lines}",
        encoding="utf-8",
    )
    try:
        _systemctl("daemon-reload")
        if _systemctl("start", TRIAL_UNIT).returncode == 0:
            return []
        text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
        shown = _systemctl("show", "--property=Result,ExecMainStatus", TRIAL_UNIT).stdout
        state = dict(line.partition("=")[::2] for line in shown.splitlines())
        if text.strip():
            return _messages(text, folder / "config.json")
        return [
            f"systemd cannot start the service with this unit ({state.get('Result')}, status"
            f" {state.get('ExecMainStatus')}): {line}"
            for line in _log() or ["its log is empty"]
        ]
    finally:
        _systemctl("stop", TRIAL_UNIT)
        _systemctl("reset-failed", TRIAL_UNIT)
        TRIAL_UNIT_FILE.unlink()
        _systemctl("daemon-reload")


def _log() -> list[str]:
    # Not --unit: that needs the unit of the process, which the journal no longer finds if the process has ended.
    invocation = _systemctl("show", "--property=InvocationID", "--value", TRIAL_UNIT).stdout.strip()
    subprocess.run(["journalctl", "--sync"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done = subprocess.run(
        ["journalctl", f"INVOCATION_ID={invocation}", "--output=cat", "--no-pager", "--quiet"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
    )
    return [line for line in done.stdout.splitlines() if "Failed" in line][:3]


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemctl", *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


def _messages(text: str, config: Path) -> list[str]:
    lines = [line.replace(f"{config}: ", "") for line in text.splitlines() if line.strip()]
    return lines or ["the check failed without a message"]


if __name__ == "__main__":
    found = main(json.load(sys.stdin))
    if found:
        print(*found, sep="\n")
        sys.exit(1)
