# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipes systemd_unit and nginx on a real systemd, in a container of molecule's image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.emulator import eventually
from support.playbook import CHECKOUT
from support.recipes import RECIPES, ULIMITS

# The oldest systemd and the oldest Python.
IMAGE = "localhost/gce-guest-vm:bullseye"
RECORDS = "/var/lib/gce-maintenance-handler/recipes"


def _has_image() -> bool:
    if os.geteuid() or shutil.which("podman") is None:
        return False
    return subprocess.run(["podman", "image", "exists", IMAGE], check=False, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not _has_image(), reason=f"needs root, podman and {IMAGE} (tools/vm_image bullseye)")

NEEDS_WORKER = "[Unit]\nRequires=worker.service\nAfter=worker.service\n[Service]\nExecStart=/bin/sleep infinity\n"
UNITS = {
    "worker.service": "[Service]\nExecStart=/bin/sleep infinity\n",
    # Does not stop while there is a file.
    "slow.service": "[Service]\nExecStart=/bin/sleep infinity\n"
    "ExecStop=/bin/sh -c 'while [ -e /run/slow ]; do sleep 0.1; done'\n",
    "needy.service": NEEDS_WORKER,
    "idle.service": NEEDS_WORKER,
    "woken.socket": "[Socket]\nListenStream=/run/woken.sock\n",
    "woken.service": "[Service]\nExecStart=/bin/sleep infinity\n",
    "broken.service": "[Service]\nExecStartPre=/bin/test ! -e /run/broken\nExecStart=/bin/sleep infinity\n",
    "nobody.service": "[Unit]\nRefuseManualStop=yes\n[Service]\nExecStart=/bin/sleep infinity\n",
    "gce-maintenance-handler.service": "[Unit]\nRequires=vital.service\n[Service]\nExecStart=/bin/sleep infinity\n",
    "vital.service": "[Service]\nExecStart=/bin/sleep infinity\n",
    "again.service": "[Service]\nExecStart=/bin/sleep infinity\nRestart=always\n",
    # As nginx does, it ends at SIGQUIT.
    "web.service": "[Service]\nExecStart=/bin/sleep infinity\nSuccessExitStatus=SIGQUIT\n",
}
ACTIVE = ("worker", "slow", "needy", "broken", "vital", "gce-maintenance-handler", "web")


class Machine:
    """A container that systemd runs."""

    def __init__(self, folder: Path, units: Mapping[str, str]) -> None:
        self.name = f"gce-guest-recipes-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        for unit, text in units.items():
            (folder / unit).write_text(text, encoding="utf-8")
        volumes = [f"--volume={CHECKOUT}:/code:ro", f"--volume={folder}:/shared"]
        options = ["--systemd=always", "--network=none", *ULIMITS]
        self._podman("run", "--detach", f"--name={self.name}", *options, *volumes, IMAGE, "/lib/systemd/systemd")
        eventually(lambda: self.sh("systemctl is-system-running").strip() in ("running", "degraded"), within=60)
        self.sh("cp /shared/*.service /shared/*.socket /run/systemd/system/ 2>/dev/null; systemctl daemon-reload")

    def sh(self, script: str) -> str:
        return self._podman("exec", self.name, "sh", "-c", script, check=False)

    def active(self, unit: str) -> str:
        return self.sh(f"systemctl is-active {unit}").strip()

    def recipe(self, name: str, verb: str, timeout: float = 60.0, **parameters: str) -> tuple[int, str]:
        command = ["env", f"GCE_TASK_TIMEOUT_SECONDS={timeout}", *self.command(name, verb, **parameters)]
        done = subprocess.run(["podman", "exec", self.name, *command], check=False, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    @staticmethod
    def command(name: str, verb: str, **parameters: str) -> list[str]:
        return [
            "python3",
            "-I",
            "-B",
            "-X",
            "utf8",
            f"/code/{RECIPES.relative_to(CHECKOUT)}",
            name,
            verb,
            json.dumps(parameters),
        ]

    def has_ended(self) -> bool:
        return self._podman("inspect", "--format={{.State.Running}}", self.name).strip() == "false"

    def remove(self) -> None:
        self._podman("rm", "--force", "--time=0", self.name, check=False)

    def _podman(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(["podman", *arguments], check=check, capture_output=True, text=True)
        return done.stdout


@pytest.fixture(scope="module")
def shared_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    started = Machine(tmp_path_factory.mktemp("units"), UNITS)
    yield started
    started.remove()


@pytest.fixture
def machine(shared_machine: Machine) -> Machine:
    """With nothing drained, and the same units running at each test's start."""
    everything = " ".join(UNITS)
    shared_machine.sh(f"rm -rf {RECORDS} /run/broken /run/slow; systemctl stop {everything}; systemctl reset-failed")
    shared_machine.sh(f"systemctl start {' '.join(ACTIVE)} woken.socket")
    return shared_machine


def test_stops_and_starts_a_unit_and_its_dependents(machine: Machine) -> None:
    assert machine.recipe("systemd_unit", "check", unit="worker")[0] == 0
    for _time in range(2):
        assert machine.recipe("systemd_unit", "drain", unit="worker")[0] == 0
        assert [machine.active(unit) for unit in ("worker", "needy", "idle")] == ["inactive"] * 3
        assert machine.recipe("systemd_unit", "check", unit="worker")[0] == 0
    assert "stopped by this recipe" in machine.recipe("systemd_unit", "state", unit="worker")[1]
    for _time in range(2):
        assert machine.recipe("systemd_unit", "restore", unit="worker")[0] == 0
        assert [machine.active(unit) for unit in ("worker", "needy", "idle")] == ["active", "active", "inactive"]


def test_stops_units_that_would_start_it_again(machine: Machine) -> None:
    machine.sh("systemctl start woken.service")
    assert machine.recipe("systemd_unit", "drain", unit="woken.service")[0] == 0
    assert [machine.active(unit) for unit in ("woken.socket", "woken.service")] == ["inactive"] * 2
    assert machine.recipe("systemd_unit", "restore", unit="woken.service")[0] == 0
    assert [machine.active(unit) for unit in ("woken.socket", "woken.service")] == ["active"] * 2


def test_keeps_units_stopped_that_were_not_running(machine: Machine) -> None:
    machine.sh("systemctl stop worker")
    for verb in ("drain", "restore"):
        assert machine.recipe("systemd_unit", verb, unit="worker")[0] == 0
        assert machine.active("worker") == "inactive"


def test_reports_running_processes_at_its_timeout_and_restores(machine: Machine) -> None:
    machine.sh("touch /run/slow")
    status, said = machine.recipe("systemd_unit", "drain", timeout=4, unit="slow.service")
    assert (status, "slow.service is deactivating" in said) == (3, True)
    machine.sh("rm /run/slow")
    assert machine.recipe("systemd_unit", "restore", unit="slow.service")[0] == 0
    assert machine.active("slow") == "active"


def test_reports_the_unit_that_does_not_start(machine: Machine) -> None:
    assert machine.recipe("systemd_unit", "drain", unit="broken.service")[0] == 0
    machine.sh("touch /run/broken")
    status, said = machine.recipe("systemd_unit", "restore", unit="broken.service")
    assert (status, "broken.service does not start (exit-code)" in said) == (1, True), said
    assert machine.active("broken") == "failed"
    machine.sh("rm /run/broken")
    assert machine.recipe("systemd_unit", "restore", unit="broken.service")[0] == 0
    assert machine.active("broken") == "active"


@pytest.mark.parametrize(
    "unit, words",
    [
        ("no-such.service", "systemd cannot use the unit no-such.service: it is not-found"),
        ("nobody.service", "nobody.service refuses to be started or stopped by hand"),
        ("gce-maintenance-handler", "gce-maintenance-handler.service is the maintenance handler itself"),
        ("vital.service", "vital.service stops gce-maintenance-handler.service, which is the maintenance handler"),
        ("systemd-journald.service", "what the maintenance handler needs"),
    ],
)
def test_check_reports_units_that_cannot_be_stopped(unit: str, words: str, machine: Machine) -> None:
    for verb in ("check", "drain"):
        status, said = machine.recipe("systemd_unit", verb, unit=unit)
        if verb == "check" or "nobody" not in unit:
            assert (status, words in said) == (1, True), said
    assert machine.active("vital") == "active"


def test_nginx_quits_by_its_unit(machine: Machine) -> None:
    assert machine.recipe("nginx", "check", unit="web.service")[0] == 0
    for _time in range(2):
        assert machine.recipe("nginx", "drain", unit="web.service")[0] == 0
        assert machine.active("web") == "inactive"
    for _time in range(2):
        assert machine.recipe("nginx", "restore", unit="web.service")[0] == 0
        assert machine.active("web") == "active"
    status, said = machine.recipe("nginx", "check", unit="again.service")
    assert (status, "Restart=always" in said) == (1, True)


def test_stops_a_unit_during_a_shutdown_that_waits_for_the_handler(tmp_path: Path) -> None:
    """The unit is ordered before the handler, so that systemd stops it last: after the handler, which drains it."""
    drain = " ".join(f"'{word}'" for word in Machine.command("systemd_unit", "drain", unit="worker.service"))
    handler = (
        "[Unit]\nAfter=worker.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
        "Environment=GCE_TASK_TIMEOUT_SECONDS=40\nExecStop=/bin/sh /shared/stop.sh\nTimeoutStopSec=60\n"
    )
    (tmp_path / "stop.sh").write_text(f"{drain} > /shared/said 2>&1; echo $? >> /shared/said\n", encoding="utf-8")
    units = {"worker.service": UNITS["worker.service"], "gce-maintenance-handler.service": handler}
    machine = Machine(tmp_path, units)
    try:
        machine.sh("systemctl start worker gce-maintenance-handler")
        machine.sh("systemctl --no-block poweroff")
        eventually(machine.has_ended, within=150)
        said = (tmp_path / "said").read_text(encoding="utf-8")
        assert said.splitlines()[-1] == "0", said
    finally:
        machine.remove()
