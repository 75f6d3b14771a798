# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo leaves nothing running: its processes are found by what they have inherited."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from demo import processes

# Says that it is there, and starts a child that a signal to its parent does not reach.
PARENT = """\
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def family(tmp_path):
    """A process of a VM, with a child; gives both pids."""
    environment = processes.marked(dict(os.environ), tmp_path / "vm")
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE) as parent:
        yield parent.pid, int((parent.stdout or pytest.fail("has no output")).readline())
        processes.kill(tmp_path)


def test_children_are_found_and_strangers_are_not(tmp_path, family):
    assert {one.pid for one in processes.belonging_to(tmp_path / "vm")} == set(family)
    assert {one.pid for one in processes.belonging_to(tmp_path)} == set(family)
    assert processes.belonging_to(tmp_path / "v") == []
    assert processes.belonging_to(tmp_path / "vm" / "below") == []


def test_whoever_is_found_is_ended(tmp_path, family):
    processes.end(tmp_path)
    assert processes.belonging_to(tmp_path) == []


def test_a_power_cut_tells_what_it_has_ended(tmp_path, family):
    killed = processes.kill(tmp_path / "vm")
    assert {one.pid for one in killed} == set(family)
    assert any("time.sleep(60)" in one.command for one in killed)
