# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The launcher and the unit's command as the role writes them, in locales that lack some characters."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.emulator import eventually
from support.handler import PACKAGE_FOLDER
from support.templating import TemplateProcess
from support.vm import Vm
from support.vm_python import VM_PYTHON

TEMPLATES = PACKAGE_FOLDER.parent / "templates"
LOCALES = ("ISO-8859-1", "C", "none")


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The variables of each locale, besides which there are none of its kind."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef") is None:
        pytest.skip("localedef, of the package locales, is needed to make a locale of ISO-8859-1")
    made = folder / "en_US.ISO-8859-1"
    # Status 1 is for warnings.
    subprocess.run(["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(made)], check=False, capture_output=True)
    assert made.is_dir()
    return {
        "ISO-8859-1": {"LOCPATH": str(folder), "LANG": "en_US.ISO-8859-1"},
        "C": {"LC_ALL": "C"},
        "none": {},
    }


@pytest.fixture(scope="module")
def template(collections_path: Path) -> Iterator[TemplateProcess]:
    with TemplateProcess(collections_path) as process:
        yield process


@dataclass(frozen=True)
class Installed:
    """The files that the role installs on a VM, and how they are run."""

    folder: Path
    launcher: Path
    service: list[str]
    environment: Mapping[str, str]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.launcher), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    @property
    def trace(self) -> str:
        path = self.folder / "trace"
        return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.fixture(params=LOCALES)
def installed(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    vm: Vm,
    template: TemplateProcess,
    environments: Mapping[str, Mapping[str, str]],
) -> Installed:
    folder = tmp_path / "Wärme → kalt"
    folder.mkdir()
    (folder / "boot_id").write_text("boot-1\n", encoding="ascii")
    program = folder / "db→standby"
    program.write_text('#!/bin/sh\necho "$1 $GCE_EVENT_TASK" >> "$2"; echo "said →"\n', encoding="utf-8")
    program.chmod(0o755)
    phases = {phase: [str(program), phase, str(folder / "trace")] for phase in ("drain", "restore")}
    config = folder / "config.json"
    settings = {
        "tasks": [{"name": "db → standby", "on": ["migrate"], **phases}],
        "state_dir": str(folder / "state"),
        "runtime_dir": str(folder / "run"),
        "boot_id_file": str(folder / "boot_id"),
        "metadata_host": vm.host,
        "metrics_textfile": str(folder / "metrics.prom"),
        "guest_attributes": False,
    }
    config.write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    variables = {
        "ansible_managed": "Ansible managed",
        "maintenance_handler_python": VM_PYTHON,
        "__maintenance_handler_lib": str(PACKAGE_FOLDER),
        "__maintenance_handler_config_file": str(config),
    }
    launcher = folder / "gce-maintenance-handler"
    text = template(f"lookup('ansible.builtin.template', '{TEMPLATES / 'gce-maintenance-handler.j2'}')", **variables)
    launcher.write_text(text, encoding="utf-8")
    launcher.chmod(0o755)
    unit = (TEMPLATES / "gce-maintenance-handler.service.j2").read_text(encoding="utf-8")
    (start,) = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart=")]
    # A path of the role's has no space in it, and the one of a test's has.
    service = [variables.get(word[2:-2].strip(), word) for word in _words(start)]
    usual = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**usual, "PYTHONDONTWRITEBYTECODE": "1", **environments[request.param]}
    return Installed(folder, launcher, service, environment)


def _watches_all(installed: Installed, vm: Vm) -> bool:
    """Whether the handler waits for a change of each key that its status names."""
    status = installed.folder / "run" / "status.json"
    return status.exists() and vm.hanging_gets() == len(json.loads(status.read_bytes())["last_good_answer"])


def _words(line: str) -> list[str]:
    return line.replace("{{ ", "{{").replace(" }}", "}}").split()


def test_names_that_the_locale_cannot_encode_are_drained_and_shown(installed: Installed, vm: Vm) -> None:
    """freeipa#5334: a locale such as ISO-8859-1 has no arrow, and Python cannot open a file with it in its name."""
    checked = installed.command("check", "--here")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "db → standby" in installed.command("plan").stdout
    log = installed.folder / "log"
    with log.open("wb") as output:
        handler = subprocess.Popen(
            installed.service, env=installed.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        eventually(lambda: _watches_all(installed, vm) or handler.poll() is not None, within=30, what="all watches")
        vm.announce("migrate")
        eventually(lambda: "drain db → standby" in installed.trace, within=30, what=f"a drain\n{log.read_bytes()!r}")
        # The task may write before the handler does.
        eventually(lambda: "db → standby" in installed.command("status").stdout, within=30, what="the status")
        assert installed.command("status").stderr == ""
        vm.withdraw("migrate")
        eventually(lambda: "restore db → standby" in installed.trace, within=30, what="the restore")
        eventually(lambda: "db → standby" in installed.command("history").stdout, within=30, what="the history")
    finally:
        handler.terminate()
        assert handler.wait(30) == 0
    assert "said →" in log.read_text(encoding="utf-8")
    assert (installed.folder / "metrics.prom").exists()
