# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Polls of the event source fleet beside polls that only send its requests, of a fleet with windows."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.emulator import EmulatorProcess

from .turns import Turn, one_turn

CHECKOUT = Path(__file__).resolve().parents[1]
# In each turn. The memory counts from the third one: the first polls fill caches and the allocator's free lists.
POLLS, SETTLED = 8, 3
# One of so many instances has a window.
WITH_WINDOW = 10


@dataclass(frozen=True)
class Polls:
    """Turns of POLLS polls each, and the KiB of the source after each poll of each turn."""

    own: Sequence[Turn]
    bare: Sequence[Turn]
    memory: Sequence[Sequence[float]]

    @property
    def seconds(self) -> float:
        """The time of a poll, with its share of the start of the process."""
        return statistics.median(turn.seconds for turn in self.own) / POLLS

    @property
    def peak_mib(self) -> float:
        return statistics.median(turn.peak_mib for turn in self.own)

    @property
    def growth_kib(self) -> float:
        """By how much memory grew from the third poll to the last one."""
        return statistics.median(each[-1] - each[SETTLED - 1] for each in self.memory)


def measure_polls(emulator: EmulatorProcess, project: str, turns: int, collections: Path) -> Polls:
    """`collections` is the folder that contains ansible_collections."""
    emulator.control.reset()
    for name in list(emulator.metadata)[::WITH_WINDOW]:
        emulator.control.scenario(name, "window-announced", starts_in=7 * 86400)
    own, bare, memory = [], [], []
    environment = {"PYTHONPATH": f"{CHECKOUT}:{collections}"}
    with tempfile.TemporaryDirectory(prefix="gce-guest-bench-") as folder:
        file = Path(folder) / "memory.json"
        arguments = [emulator.compute, project, str(POLLS)]
        for _turn in range(turns):
            command = [sys.executable, "-m", "bench.source_polls", *arguments, str(file)]
            own.append(one_turn(emulator, command, environment))
            memory.append([float(kib) for kib in json.loads(file.read_text(encoding="ascii"))])
            bare.append(one_turn(emulator, [sys.executable, "-m", "bench.bare_polls", *arguments], environment))
    return Polls(own, bare, memory)
