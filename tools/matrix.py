# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the integration targets with each ansible-core and Python: `python tools/matrix.py [--core CORE] [TARGET ...]`.

One play for each ansible-core runs all targets on one host for each target's Python, each with an emulated fleet of its
own. Pythons are searched on PATH and in pyenv. Missing ones are reported and skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))

from support.emulator import EmulatorProcess  # noqa: E402

# Requirements of the plugins, in addition to ansible-core.
LIBRARIES = (CHECKOUT / "meta" / "ee-requirements.txt").read_text(encoding="utf-8")
TARGETS = CHECKOUT / "tests" / "integration" / "targets"
VENVS = CHECKOUT / ".venv" / "matrix"

# The controller's Pythons for each ansible-core, in order of preference.
CORES = {
    "2.16": ("3.12", "3.11", "3.10"),
    "2.17": ("3.12", "3.11", "3.10"),
    "2.18": ("3.13", "3.12", "3.11"),
    "2.19": ("3.11", "3.12", "3.13"),
    "2.20": ("3.12", "3.13", "3.14"),
    "2.21": ("3.13", "3.12", "3.14"),
    "2.22": ("3.13", "3.14"),
}
TARGET_PYTHONS = ("3.9", "3.11", "3.13")
# The Pythons of targets that an ansible-core does not support officially. They are tested all the same.
NOT_SUPPORTED = {"2.16": ("3.13",), "2.17": ("3.13",)}

_RECAP = re.compile(r"^(\S+) +: ok=([0-9]+) .*unreachable=([0-9]+) +failed=([0-9]+)", re.MULTILINE)


def main(arguments: list[str]) -> int:
    given = parsed(arguments)
    targets = given.targets or sorted(folder.name for folder in TARGETS.iterdir() if folder.is_dir())
    pythons = {version: found for version in TARGET_PYTHONS if (found := find_python(version))}
    table = Table(title="ansible-core and the controller's Python, and the target's Python")
    for heading in ("", *TARGET_PYTHONS):
        table.add_column(heading)
    is_well = True
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gce-guest-matrix-")))
        fleet = yaml.safe_load((CHECKOUT / "tests" / "integration" / "fleet.yml").read_text(encoding="utf-8"))
        emulators = {version: stack.enter_context(EmulatorProcess(fleet)) for version in pythons}
        write_play(
            folder, targets, {version: python_for_target(pythons[version], version) for version in pythons}, emulators
        )
        for core in given.core or CORES:
            version = controller_python(core)
            if version is None:
                table.add_row(f"{core}, no Python {' or '.join(CORES[core])} here")
                continue
            for emulator in emulators.values():
                emulator.control.reset()
            verdicts = run_play(folder, controller(core, version))
            is_well = is_well and all(verdict.startswith("ok") for verdict in verdicts.values())
            table.add_row(f"{core}, Python {version}", *(cell(core, target, verdicts) for target in TARGET_PYTHONS))
    Console().print(table)
    return 0 if is_well else 1


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/matrix.py")
    parser.add_argument("--core", action="append", choices=CORES, help="only this ansible-core; may be repeated")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="only these integration targets")
    return parser.parse_args(arguments)


def cell(core: str, python: str, verdicts: Mapping[str, str]) -> str:
    """The verdict of a core on a target's Python, for the table."""
    note = " (not supported by this core)" if python in NOT_SUPPORTED.get(core, ()) else ""
    return verdicts.get(python, "not here") + note


def find_python(version: str) -> Path | None:
    """A working Python of this version. pyenv puts shims on PATH for inactive versions as well."""
    named = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in (*([Path(named)] if named else []), *sorted(pyenv.glob(f"{version}.*/bin/python"))):
        if subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0:
            return python
    return None


def controller_python(core: str) -> str | None:
    """The version of the Python for this ansible-core. None if there is none here."""
    return next((candidate for candidate in CORES[core] if find_python(candidate)), None)


def controller(core: str, python: str) -> Path:
    """The directory with the commands of this ansible-core."""
    found = find_python(python)
    if found is None:
        raise FileNotFoundError(f"Python {python}")
    # rc1: the newest core may have release candidates only.
    return venv(f"core-{core}", found, f"ansible-core~={core}.0rc1\n{LIBRARIES}")


def python_for_target(python: Path, version: str) -> Path:
    """An interpreter with only the documented requirements of the modules."""
    return venv(f"target-{version}", python, LIBRARIES) / "python"


def venv(name: str, python: Path, requirements: str) -> Path:
    """The bin directory of a virtual environment. It is created the first time, and when its packages change."""
    folder = VENVS / name
    ready = folder / ".ready"
    if not ready.exists() or ready.read_text(encoding="utf-8") != requirements:
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        wanted = folder / "requirements.txt"
        wanted.write_text(requirements, encoding="utf-8")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", wanted], check=True)
        ready.write_text(requirements, encoding="utf-8")
    return folder / "bin"


def write_play(
    folder: Path, targets: list[str], pythons: Mapping[str, Path], emulators: Mapping[str, EmulatorProcess]
) -> None:
    """A playbook of all targets, and an inventory with a host for each Python."""
    hosts: dict[str, dict[str, Any]] = {
        version: {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(python),
            "metadata_hosts": emulators[version].metadata,
            "emulator_control": emulators[version].control.url,
            "emulator_compute": emulators[version].compute,
            "emulator_python": sys.executable,
        }
        for version, python in pythons.items()
    }
    play = {"hosts": "all", "gather_facts": False, "roles": [str(TARGETS / target) for target in targets]}
    (folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    (folder / "play.yml").write_text(json.dumps([play]), encoding="utf-8")


def run_play(folder: Path, commands: Path) -> dict[str, str]:
    """The result of each host, by the version of its Python."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".venv" / "collections"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    command = [str(commands / "python"), "-m", "ansible", "playbook", "--inventory", "inventory.yml", "play.yml"]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        print(result.stdout, result.stderr, sep="\n", file=sys.stderr)
    return {
        host: f"ok, {ok} tasks" if unreachable == failed == "0" else f"failed after {ok} tasks"
        for host, ok, unreachable, failed in _RECAP.findall(result.stdout)
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
