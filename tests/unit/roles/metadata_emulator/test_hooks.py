# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hooks of the fleet file: real commands, run by a real emulator as its scenarios are played."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gce_emulator.scenarios.hooks import Hooks
from gce_emulator.state.clock import Clock
from gce_emulator.state.fleet_file import parse
from gce_emulator.state.fleet_section import FleetError
from gce_emulator.state.project import Project
from support.emulator import EmulatorProcess, eventually
from support.processes import has_ended

HOOKS = ("on_blackout", "on_shutdown", "on_power_off", "on_boot")
NOTE = 'echo "$GCE_EMULATOR_INSTANCE $GCE_EMULATOR_ZONE $GCE_EMULATOR_HOOK$GCE_EMULATOR_PHASE" >> "$0"'

Start = Callable[..., EmulatorProcess]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.fixture
def start(trace: Path) -> Iterator[Start]:
    """`start(on_boot=[…])`: an emulator in which every hook of web-1 writes to the trace, or what is given."""
    started: list[EmulatorProcess] = []

    def make(**hooks: list[str]) -> EmulatorProcess:
        default = {hook: ["sh", "-c", NOTE, str(trace)] for hook in HOOKS}
        instances = [{"name": "web-1", **default, **hooks}, {"name": "web-2"}]
        started.append(EmulatorProcess({"speed": 100, "durations": {"blackout": 20}, "instances": instances}))
        return started[-1]

    yield make
    for each in started:
        if each.process.poll() is None:
            each.close()


def runs(emulator: EmulatorProcess, count: int) -> list[dict[str, Any]]:
    """The hooks once so many have ended."""

    def ended() -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = emulator.control.request("GET", "hooks?instance=web-1")["runs"]
        return [run for run in seen if run["ended_at"] is not None]

    found: list[dict[str, Any]] = eventually(lambda: one if len(one := ended()) >= count else None)
    return found


def kinds(emulator: EmulatorProcess, count: int) -> list[str]:
    return [run["hook"] + run["phase"] for run in runs(emulator, count)]


def lines(trace: Path) -> list[str]:
    return [line.rpartition(" ")[2] for line in trace.read_text(encoding="utf-8").splitlines()]


def test_a_migration_freezes_and_thaws(start: Start, trace: Path) -> None:
    emulator = start()
    before = time.time()
    emulator.control.scenario("web-1", "live-migration")
    first, second = runs(emulator, 2)
    assert (first["phase"], second["phase"]) == ("begin", "end")
    # 20 seconds of the platform at speed 100. The first hook may start late, the second one no earlier.
    assert second["started_at"] - before >= 0.19
    assert trace.read_text(encoding="utf-8") == (
        "web-1 us-central1-a on_blackoutbegin\nweb-1 us-central1-a on_blackoutend\n"
    )


def test_an_outage_cuts_the_power_and_boots(start: Start, trace: Path) -> None:
    emulator = start()
    emulator.control.scenario("web-1", "host-termination", notice=1, down=10)
    assert kinds(emulator, 2) == ["on_power_off", "on_boot"]
    assert lines(trace) == ["on_power_off", "on_boot"]
    assert all(run["status"] == 0 and run["problem"] == "" for run in runs(emulator, 2))


@pytest.mark.parametrize(
    "request_, expected",
    [
        (("POST", "instances/web-1/stop"), ["on_power_off"]),
        (("POST", "instances/web-1/guest-shutdown"), ["on_power_off"]),
        (
            ("POST", "instances/web-1/scenarios", {"name": "graceful-stop", "graceful": 1}),
            ["on_shutdown", "on_power_off"],
        ),
        (
            ("POST", "instances/web-1/scenarios", {"name": "graceful-delete", "graceful": 1}),
            ["on_shutdown", "on_power_off"],
        ),
        (("POST", "instances/web-1/scenarios", {"name": "preemption"}), ["on_shutdown", "on_power_off", "on_boot"]),
        (("POST", "instances/web-1/scenarios", {"name": "preemption", "notice": 0}), ["on_power_off", "on_boot"]),
        (("POST", "instances/web-1/scenarios", {"name": "stop", "shutdown": 0}), ["on_power_off"]),
        (("POST", "instances/web-1/scenarios", {"name": "host-error"}), ["on_power_off", "on_boot"]),
    ],
)
def test_every_start_and_stop_of_the_vm_runs_its_hook(
    start: Start, request_: tuple[Any, ...], expected: list[str]
) -> None:
    emulator = start()
    emulator.control.request(*request_)
    assert kinds(emulator, len(expected)) == expected


def test_a_withdrawn_migration_thaws_at_once(start: Start, trace: Path) -> None:
    emulator = start()
    emulator.control.scenario("web-1", "live-migration", notice=0, migration=1e6, blackout=1e6)
    assert kinds(emulator, 1) == ["on_blackoutbegin"]
    emulator.control.request("DELETE", "instances/web-1/scenarios")
    assert kinds(emulator, 2) == ["on_blackoutbegin", "on_blackoutend"]
    assert emulator.control.request("GET", "faults")["faults"] == []


def test_a_power_cut_in_the_blackout_thaws_first(start: Start) -> None:
    emulator = start()
    emulator.control.scenario("web-1", "live-migration", notice=0, migration=1e6, blackout=1e6)
    emulator.control.request("POST", "instances/web-1/stop")
    assert kinds(emulator, 3) == ["on_blackoutbegin", "on_blackoutend", "on_power_off"]


def test_a_reset_brings_the_machine_back_and_forgets_earlier_runs(start: Start) -> None:
    emulator = start()
    emulator.control.request("POST", "instances/web-1/stop")
    assert kinds(emulator, 1) == ["on_power_off"]
    emulator.control.reset()
    assert kinds(emulator, 1) == ["on_boot"]


def test_emulator_thaws_vms_when_it_ends(start: Start, trace: Path) -> None:
    emulator = start()
    emulator.control.scenario("web-1", "live-migration", notice=0, migration=1e6, blackout=1e6)
    emulator.close()
    assert lines(trace) == ["on_blackoutbegin", "on_blackoutend"]


def test_hooks_of_one_vm_wait_for_each_other(start: Start, trace: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    slow = ["sh", "-c", f'while ! [ -e "$1" ]; do sleep 0.02; done; {NOTE}', str(trace), str(go)]
    emulator = start(on_power_off=slow)
    emulator.control.scenario("web-1", "host-error", down=1)
    # The platform does not wait.
    eventually(lambda: emulator.control.instance("web-1")["boot_count"] == 2)
    assert not trace.exists()
    go.touch()
    assert kinds(emulator, 2) == ["on_power_off", "on_boot"]
    assert lines(trace) == ["on_power_off", "on_boot"]


@pytest.mark.parametrize(
    "command, problem, said",
    [
        (["/no/such/program"], "could not be started: No such file or directory", ""),
        (["sh", "-c", "echo no power >&2; exit 3"], "ended with exit status 3", "no power"),
        (["sh", "-c", "kill -9 $$"], "died of signal 9", ""),
        # Not a shell's line: the semicolon is an argument.
        (["test", "1", "=", "1;", "true"], "ended with exit status 2", ""),
    ],
)
def test_failed_hook_is_reported_and_ignored(start: Start, command: list[str], problem: str, said: str) -> None:
    emulator = start(on_power_off=command)
    emulator.control.scenario("web-1", "host-error", down=1)
    failed, booted = runs(emulator, 2)
    assert problem in failed["problem"]
    assert said in failed["output"]
    assert booted["status"] == 0
    assert emulator.control.instance("web-1")["status"] == "RUNNING"
    with pytest.raises(AssertionError) as log:
        emulator.close()
    assert f"web-1: the hook on_power_off {problem}" in str(log.value)
    assert said in str(log.value)


def test_a_command_that_leaves_a_process_running_ends(start: Start, tmp_path: Path) -> None:
    """As podman does, whose monitor keeps the standard output open."""
    stop = tmp_path / "stop"
    left = f"sh -c 'while ! [ -e \"{stop}\" ]; do sleep 0.05; done' & exit 0"
    emulator = start(on_boot=["sh", "-c", left])
    emulator.control.scenario("web-1", "host-error", down=1)
    assert kinds(emulator, 2) == ["on_power_off", "on_boot"]
    stop.touch()


async def test_a_command_that_hangs_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = tmp_path / "alive"
    hang = ["sh", "-c", 'sh -c \'echo $$ > "$0"; exec sleep 600\' "$0" & wait', str(alive)]
    project = Project(parse({"instances": [{"name": "web-1", "on_power_off": hang}]}), Clock())
    hooks = Hooks(project, timeout=60)
    project.instances["web-1"].stop()
    async with asyncio.timeout(20):
        while not alive.exists() or not alive.read_text(encoding="utf-8").endswith("\n"):
            await asyncio.sleep(0.005)
    loop = asyncio.get_running_loop()
    now = loop.time
    # The timeout is over once there is a child.
    monkeypatch.setattr(loop, "time", lambda: now() + 60)
    await hooks.close()
    [run] = hooks.runs()
    assert (run.problem, run.status) == ("was killed after 60 s", -9)
    pid = int(alive.read_text(encoding="utf-8"))
    eventually(lambda: has_ended(pid), what="the end of the child")


@pytest.mark.parametrize(
    "given, reason",
    [
        ("podman kill web-1", r"instances\[0\]\.on_boot: is 'podman kill web-1'; it must be a list"),
        ([], r"instances\[0\]\.on_boot: has no program"),
        ([""], r"instances\[0\]\.on_boot: has no program"),
        (["x", 1], r"instances\[0\]\.on_boot\[1\]: is 1; it must be a string"),
        (["x\0y"], r"instances\[0\]\.on_boot: has a null character"),
    ],
)
def test_a_wrong_command_is_refused(given: Any, reason: str) -> None:
    with pytest.raises(FleetError, match=reason):
        parse({"instances": [{"name": "web-1", "on_boot": given}]})
