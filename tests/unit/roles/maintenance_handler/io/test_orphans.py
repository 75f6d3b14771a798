# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaping of ended child processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from maintenance_handler.io.orphans import PATIENCE, Orphans


@pytest.fixture
def child() -> Iterator[int]:
    """A child of ours that has ended."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield pid
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_orphan_is_reaped_after_a_while(child: int) -> None:
    orphans = Orphans()
    orphans.reap((), 100.0)
    orphans.reap((), 100.0 + PATIENCE / 2)
    assert is_there(child)
    orphans.reap((), 100.0 + PATIENCE)
    assert not is_there(child)
    orphans.reap((), 200.0)


def test_process_of_a_step_is_not_reaped(child: int) -> None:
    orphans = Orphans()
    for now in (100.0, 200.0):
        orphans.reap((child,), now)
    assert is_there(child)
