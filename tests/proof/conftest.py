# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: faults that the handler must survive, as tests, and their table for the documentation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.handler import HandlerProcess
from support.proof import Table
from support.vm import Vm

VMS = 400
_numbers = itertools.count(1)

INTRODUCTION = Path(__file__).with_name("introduction.rst")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability-table", type=Path, metavar="FILE", help="write the table of survived faults")


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """Written at the end, if everything was tried and nothing failed. A skipped row would be missing from it."""
    made = Table()
    yield made
    path = request.config.getoption("--reliability-table")
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if (
        path is not None
        and reporter is not None
        and not any(reporter.stats.get(what) for what in ("failed", "error", "skipped", "deselected"))
    ):
        made.write(path, INTRODUCTION.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorProcess]:
    vms = [{"name": f"vm-{number}", "upcoming_maintenance_none": "NONE"} for number in range(1, VMS + 1)]
    with EmulatorProcess({"instances": vms}) as process:
        yield process


@pytest.fixture
def make_vm(emulator: EmulatorProcess) -> Callable[[], Vm]:
    """Returns a VM that no other test uses."""
    return lambda: Vm(emulator, f"vm-{next(_numbers)}")


@pytest.fixture
def vm(make_vm: Callable[[], Vm]) -> Vm:
    return make_vm()


@pytest.fixture
def make_handler(vm: Vm, tmp_path: Path) -> Iterator[Callable[..., HandlerProcess]]:
    """Makes handlers with these tasks and settings, on the test's VM or another `metadata_host`, and ends them."""
    made: list[HandlerProcess] = []

    def make(*tasks: Mapping[str, Any], **settings: Any) -> HandlerProcess:
        folder = tmp_path / f"handler-{len(made)}"
        folder.mkdir()
        given = {"metadata_host": vm.host, "metrics_textfile": str(folder / "metrics"), "poll_timeout": 1, **settings}
        made.append(HandlerProcess(folder, given.pop("metadata_host"), tasks, **given))
        return made[-1]

    yield make
    for handler in made:
        handler.close()
