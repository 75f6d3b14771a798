# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe slurm_node, with a real slurmctld and slurmd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.emulator import eventually
from support.ports import free_port
from support.recipes import PATIENCE, Recipe

SEARCHED = f"/usr/sbin:/usr/bin:{os.environ.get('PATH', '')}"
MISSING = [
    name
    for name in ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
    if shutil.which(name, path=SEARCHED) is None
]

pytestmark = pytest.mark.skipif(
    bool(MISSING) or os.geteuid() != 0, reason=f"needs root, and {', '.join(MISSING) or 'all is installed'}"
)


class Slurm:
    """A cluster of one node, `n1`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": SEARCHED}
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        host = socket.gethostname().partition(".")[0]
        (folder / "slurm.conf").write_text(
            f"ClusterName=test\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={free_port()}\nSlurmdPort={free_port()}\n"
            f"SlurmUser=root\nAuthType=auth/munge\nAuthInfo=socket={folder}/munge.sock\nCredType=cred/munge\n"
            f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\nSlurmctldPidFile={folder}/slurmctld.pid\n"
            f"SlurmdPidFile={folder}/slurmd.pid\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"
            "SwitchType=switch/none\nMpiDefault=none\nReturnToService=0\nSlurmdTimeout=3\nSlurmctldTimeout=10\n"
            f"NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN\n"
            "PartitionName=all Nodes=n1 Default=YES MaxTime=INFINITE State=UP\n",
            encoding="utf-8",
        )
        files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self._munged = self._spawn("munged", "--foreground", "--force", f"--socket={folder}/munge.sock", *files)
        eventually((folder / "munge.sock").exists, within=30)
        self._controller = self._spawn("slurmctld", "-D")
        self.start_node()

    def start_node(self) -> None:
        self._node = self._spawn("slurmd", "-D", "-N", "n1")
        eventually(lambda: not {"UNKNOWN", "NOT_RESPONDING"} & self.states(), within=60, what="that slurmd registers")

    def stop_node(self) -> None:
        self._node.terminate()
        self._node.wait(30)

    def stop(self) -> None:
        self.ask("scancel", "--user=root")
        for process in (self._node, self._controller, self._munged):
            process.terminate()
            process.wait(30)

    def ask(self, *command: str) -> str:
        environment = {**os.environ, **self.environ}
        return subprocess.run(command, env=environment, check=False, capture_output=True, text=True).stdout

    def states(self) -> set[str]:
        words = self.ask("scontrol", "-o", "show", "node", "n1").split()
        states = next((word.partition("=")[2] for word in words if word.startswith("State=")), "UNKNOWN")
        return {*states.rstrip("*").split("+")}

    def submit(self) -> None:
        self.ask("sbatch", "--output=/dev/null", "--chdir=/", "--wrap=sleep 300")
        eventually(lambda: self.ask("squeue", "-h", "-t", "R").strip(), within=30, what="that the job runs")

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        path = shutil.which(program, path=SEARCHED)
        assert path is not None
        with (self.folder / f"{program}.out").open("ab") as log:
            environment = {**os.environ, **self.environ}
            return subprocess.Popen([path, *arguments], env=environment, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    # munged requires a path that other users cannot write to.
    folder = Path(tempfile.mkdtemp(prefix="gce-guest-slurm-", dir="/run"))
    folder.chmod(0o755)
    started = Slurm(folder)
    yield started
    started.stop()
    shutil.rmtree(folder)


@pytest.fixture
def slurm(cluster: Slurm) -> Slurm:
    """With no job, and its node idle."""
    cluster.ask("scancel", "--user=root")
    if {"DRAIN", "DOWN"} & cluster.states():
        cluster.ask("scontrol", "update", "nodename=n1", "state=resume")
    eventually(lambda: cluster.states() == {"IDLE"}, within=60)
    return cluster


@pytest.fixture
def make(slurm: Slurm, tmp_path: Path) -> Callable[..., Recipe]:
    return lambda **parameters: Recipe(
        "slurm_node", tmp_path / "records", environ=slurm.environ, **{"node": "n1", **parameters}
    )


def test_drains_and_restores_twice_each(make: Callable[..., Recipe], slurm: Slurm) -> None:
    recipe = make(reason="moved away")
    recipe.does("check")
    for _time in range(2):
        recipe.does("drain")
        assert slurm.states() == {"IDLE", "DRAIN"}
    assert "moved away (gce-maintenance-handler)" in recipe.does("state")
    for _time in range(2):
        recipe.does("restore", timeout=30)
        assert slurm.states() == {"IDLE"}
    assert recipe.record == {}


def test_waits_for_jobs_and_reports_those_left(make: Callable[..., Recipe], slurm: Slurm) -> None:
    slurm.submit()
    recipe = make()
    done = recipe.run("drain", timeout=3)
    assert (done.returncode, "1 job on n1" in done.stdout) == (3, True)
    with recipe.start("drain", timeout=60) as drain:
        slurm.ask("scancel", "--user=root")
        said, _none = drain.communicate(timeout=90)
    assert drain.returncode == 0, said
    recipe.does("restore", timeout=30)


def test_keeps_an_operator_s_change(make: Callable[..., Recipe], slurm: Slurm) -> None:
    recipe = make()
    slurm.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=broken disk")
    for verb in ("drain", "restore"):
        recipe.does(verb)
        assert "DRAIN" in slurm.states()
    slurm.ask("scontrol", "update", "nodename=n1", "state=resume")
    recipe.does("drain")
    slurm.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=broken disk")
    assert "for another reason (broken disk); left as is" in recipe.does("restore")
    assert "DRAIN" in slurm.states()


def test_restores_after_a_cut_off_drain_of_a_node_that_was_down(make: Callable[..., Recipe], slurm: Slurm) -> None:
    recipe = make()
    slurm.submit()
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: "DRAIN" in slurm.states(), within=30)
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    slurm.stop_node()
    eventually(lambda: "DOWN" in slurm.states(), within=60, what="that Slurm misses the node")
    with recipe.start("restore", timeout=90) as restore:
        slurm.start_node()
        said, _none = restore.communicate(timeout=120)
    assert restore.returncode == 0, said
    assert not {"DRAIN", "DOWN"} & slurm.states()


def test_check_reports_invalid_parameters(make: Callable[..., Recipe], tmp_path: Path) -> None:
    line = make(node="n9").refuses()
    assert "n9" in line
    assert "not found" in line
    assert not (tmp_path / "records").exists()
