# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes left over from a step."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from maintenance_handler.io.leftovers import VARIABLE, end_leftovers, input_name
from maintenance_handler.io.process import environment_for
from support.emulator import eventually

Start = Callable[..., "subprocess.Popen[bytes]"]

INCIDENT = f"incident-{os.getpid()}"
WAIT = ("sleep", "60")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process of a step that waits, with the step's variable or input, and kills it in the end."""
    started: list[subprocess.Popen[bytes]] = []

    def popen(
        step: str | None = None,
        *,
        reads: int | None = None,
        command: Sequence[str] = WAIT,
        start_new_session: bool = False,
    ) -> subprocess.Popen[bytes]:
        environment = environment_for(None, {} if step is None else {VARIABLE: step})
        given = subprocess.DEVNULL if reads is None else os.memfd_create(input_name(INCIDENT, reads))
        try:
            process = subprocess.Popen(command, stdin=given, env=environment, start_new_session=start_new_session)
            started.append(process)
        finally:
            if reads is not None:
                os.close(given)
        if step is not None:
            # It has an environment once it executes its program, which a busy machine may delay until after Popen.
            eventually(Path(f"/proc/{process.pid}/environ").read_bytes, what="its environment")
        return process

    yield popen
    for process in started:
        process.kill()
        process.wait()


def test_kills_all_processes_of_a_step_in_any_session(start: Start) -> None:
    mine = [start(f"{INCIDENT}/1"), start(f"{INCIDENT}/1", start_new_session=True)]
    assert end_leftovers([(INCIDENT, 1)]) == 2
    assert [process.wait() for process in mine] == [-signal.SIGKILL, -signal.SIGKILL]


def test_kills_processes_of_several_steps(start: Start) -> None:
    mine = [start(f"{INCIDENT}/1"), start(f"{INCIDENT}/2")]
    assert end_leftovers([(INCIDENT, 1), (INCIDENT, 2)]) == 2
    assert [process.wait() for process in mine] == [-signal.SIGKILL, -signal.SIGKILL]


def test_finds_a_process_without_its_environment_by_its_input(start: Start) -> None:
    """As after `su` and `env -i`."""
    mine = start(reads=3, command=("setsid", "env", "-i", "/bin/sleep", "60"))
    assert end_leftovers([(INCIDENT, 3)]) == 1
    assert mine.wait() == -signal.SIGKILL


def test_finds_a_process_with_its_input_on_another_descriptor(start: Start) -> None:
    mine = start(reads=3, command=("sh", "-c", "exec 7<&0 </dev/null; echo; exec sleep 60"))
    fd = f"/proc/{mine.pid}/fd"
    eventually(lambda: os.path.exists(f"{fd}/7") and os.readlink(f"{fd}/0") == "/dev/null", what="the move")
    assert end_leftovers([(INCIDENT, 3)]) == 1
    assert mine.wait() == -signal.SIGKILL


def test_kills_processes_started_in_the_meantime(start: Start) -> None:
    mine = start(f"{INCIDENT}/1", command=("sh", "-c", "while :; do sleep 60 & sleep 0.01; done"))
    assert end_leftovers([(INCIDENT, 1)]) >= 1
    mine.wait()
    assert end_leftovers([(INCIDENT, 1)]) == 0


def test_other_processes_are_not_killed(start: Start) -> None:
    step = f"{INCIDENT}/1"
    others = [start(), start(f"{step}0"), start(f"{INCIDENT}/2"), start(f"x{step}"), start(reads=10), start(reads=2)]
    assert end_leftovers([(INCIDENT, 1)]) == 0
    assert [process.poll() for process in others] == [None] * len(others)


def test_does_not_kill_itself() -> None:
    given = os.memfd_create(input_name(INCIDENT, 3))
    try:
        assert end_leftovers([(INCIDENT, 3)]) == 0
    finally:
        os.close(given)
