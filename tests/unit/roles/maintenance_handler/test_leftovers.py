# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a step that outlived the handler that started it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from maintenance_handler.leftovers import VARIABLE, end_leftovers

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process of a step that waits, and kills it in the end."""
    started: list[subprocess.Popen[bytes]] = []

    def popen(step: str | None, *, session: bool = False) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **({} if step is None else {VARIABLE: step})}
        started.append(subprocess.Popen(["sleep", "60"], env=environment, start_new_session=session))
        return started[-1]

    yield popen
    for process in started:
        process.kill()
        process.wait()


def test_all_processes_of_the_step_are_killed_whatever_their_session(start: Start) -> None:
    step = f"incident-{os.getpid()}/1"
    mine = [start(step), start(step, session=True)]
    assert end_leftovers(step) == 2
    assert [process.wait() for process in mine] == [-signal.SIGKILL, -signal.SIGKILL]


def test_others_are_left_alone(start: Start) -> None:
    step = f"incident-{os.getpid()}/1"
    others = [start(None), start(f"{step}0"), start(f"incident-{os.getpid()}/2"), start(f"x{step}")]
    assert end_leftovers(step) == 0
    assert [process.poll() for process in others] == [None] * 4


def test_whoever_looks_does_not_kill_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"incident-{os.getpid()}/3")
    assert end_leftovers(f"incident-{os.getpid()}/3") == 0
