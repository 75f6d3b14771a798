# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on systems with SELinux, and with a Python that is too old."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.old_python import OLD_PYTHONS, pretended_python
from support.playbook import changed_tasks, run_play
from support.selinux import selinux_programs
from support.vm_python import VM_PYTHON


def apply_role(prefix: Path, *arguments: str, environment: dict[str, str], **variables: Any) -> tuple[int, str]:
    settings = {
        "maintenance_handler_service": False,
        "maintenance_handler_start": False,
        "maintenance_handler_prefix": str(prefix),
        "maintenance_handler_python": VM_PYTHON,
        "maintenance_handler_allow_no_tasks": True,
        **variables,
    }
    tasks = [{"ansible.builtin.include_role": {"name": "gce.guest.maintenance_handler"}, "vars": settings}]
    return run_play(tasks, *arguments, environment=environment)


def test_labels_are_set_once(tmp_path: Path) -> None:
    environment = selinux_programs(tmp_path / "bin", enabled=True)
    prefix = tmp_path / "root"
    status, output = apply_role(prefix, environment=environment)
    assert status == 0, output
    labeled = (tmp_path / "bin" / "labels").read_text(encoding="utf-8")
    for part in ("usr/local/lib/gce-maintenance-handler/__main__.py", "usr/local/bin/gce-maintenance-handler"):
        assert f"{prefix}/{part}\n" in labeled
    assert f"{prefix}/etc/gce-maintenance-handler/config.json\n" in labeled

    status, output = apply_role(prefix, environment=environment)
    assert (status, changed_tasks(output)) == (0, 0), output


def test_labels_are_left_alone_without_selinux(tmp_path: Path) -> None:
    environment = selinux_programs(tmp_path / "bin", enabled=False)
    status, output = apply_role(tmp_path / "root", environment=environment)
    assert status == 0, output
    assert not (tmp_path / "bin" / "labels").exists()


def refusal(folder: Path, python: Path) -> str:
    prefix = folder / "root"
    status, output = apply_role(prefix, environment={}, maintenance_handler_python=str(python))
    assert status != 0
    assert not prefix.exists()
    return " ".join(output.split())


def test_old_python_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    output = refusal(tmp_path, pretended_python(tmp_path, "3.6.8"))
    assert f"needs Python 3.9 or newer; {tmp_path}/python3 on localhost is 3.6.8" in output
    assert "python3.12 on RHEL 8" in output
    assert "set maintenance_handler_python to it" in output


def test_missing_python_is_refused_as_well(tmp_path: Path) -> None:
    output = refusal(tmp_path, tmp_path / "python3.12")
    assert "does not run" in output
    assert "maintenance_handler_python" in output


@pytest.mark.skipif(not OLD_PYTHONS, reason="no Python older than 3.9 in pyenv")
def test_real_old_python_is_refused(tmp_path: Path) -> None:
    for python in (OLD_PYTHONS[0], OLD_PYTHONS[-1]):
        version = python.parents[1].name
        assert f"is {version}." in refusal(tmp_path, python)
