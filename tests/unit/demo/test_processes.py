# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo finds and ends its processes by an inherited environment variable."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from demo import processes

# Starts a child that a signal to its parent does not reach. The child prints its PID, because it can only be found once
# it executes its program.
PARENT = """\
import subprocess, sys, time
code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
time.sleep(60)
"""


@pytest.fixture
def family(tmp_path):
    """A process of a VM with a child; the PIDs of both."""
    environment = processes.marked(dict(os.environ), tmp_path / "vm")
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE) as parent:
        yield parent.pid, int((parent.stdout or pytest.fail("has no output")).readline())
        processes.kill(tmp_path)


def test_finds_children_and_no_other_processes(tmp_path, family):
    assert {one.pid for one in processes.belonging_to(tmp_path / "vm")} == set(family)
    assert {one.pid for one in processes.belonging_to(tmp_path)} == set(family)
    assert processes.belonging_to(tmp_path / "v") == []
    assert processes.belonging_to(tmp_path / "vm" / "below") == []


def test_ends_all_processes(tmp_path, family):
    processes.end(tmp_path)
    assert processes.belonging_to(tmp_path) == []


def test_kill_returns_the_killed_processes(tmp_path, family):
    killed = processes.kill(tmp_path / "vm")
    assert {one.pid for one in killed} == set(family)
    assert any("time.sleep(60)" in one.command for one in killed)
