# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python that VM_PYTHON names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.handler import HandlerProcess
from support.vm_python import VM_PYTHON, find_vm_python


@pytest.mark.parametrize("named", [None, ""])
def test_by_default_that_of_the_tests(named: str | None) -> None:
    assert find_vm_python(named) == sys.executable


def test_a_relative_path_counts_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    # A virtual environment is found by the link, not by what it points to.
    assert find_vm_python("./python") == str(tmp_path / "python")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_vm_python("python") == str(tmp_path / "python")


def test_a_missing_one_is_refused() -> None:
    with pytest.raises(ValueError, match="VM_PYTHON is 'no-such-python'"):
        find_vm_python("no-such-python")


def test_the_handler_runs_with_it(tmp_path: Path) -> None:
    handler = HandlerProcess(tmp_path, "127.0.0.1:1", [])
    try:
        handler.start(ready=False)
        assert Path(f"/proc/{handler.running.pid}/exe").samefile(os.path.realpath(VM_PYTHON))
    finally:
        handler.kill()
        handler.close()
