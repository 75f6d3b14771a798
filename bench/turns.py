# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that are measured in turns against an emulator."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from support.emulator import EmulatorProcess


class BenchFailed(Exception):
    """A measured process failed. The message is its output."""


@dataclass(frozen=True)
class Turn:
    """Time, peak memory and requests of one process."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    requests: int


def one_turn(emulator: EmulatorProcess, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Turn:
    """Run a command. The environment is added to that of this process."""
    emulator.control.clear_journal()
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdout=output, stderr=subprocess.STDOUT
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            raise BenchFailed(f"{command[1]} ended with {process.returncode}: {output.read()[-2000:]!r}")
    requests = len(emulator.control.journal(face="compute"))
    return Turn(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, requests)


def median_ratio(turns: Sequence[Turn], others: Sequence[Turn]) -> float:
    """The median of the ratios of each turn, so that other load on the machine affects both values alike."""
    return statistics.median(own.seconds / other.seconds for own, other in zip(turns, others, strict=True))


def verdict(is_met: bool) -> str:
    return "[green]met[/]" if is_met else "[red]missed[/]"
