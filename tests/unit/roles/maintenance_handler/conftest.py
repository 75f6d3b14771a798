# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One emulator for all tests of the handler; each test has a VM of its own in it, and handlers on that."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.handler import HandlerProcess
from support.vm import Vm

# Enough for all tests in a single process.
VMS = 500
NONE_ANSWERS = ("503", "404", "{}", "NONE")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorProcess]:
    """The fleet. Most VMs have `NONE` without an announced window: its change is noticed at once."""
    vms = [{"name": f"vm-{number}", "upcoming_maintenance_none": "NONE"} for number in range(1, VMS + 1)]
    vms += [{"name": f"none-{index}", "upcoming_maintenance_none": answer} for index, answer in enumerate(NONE_ANSWERS)]
    with EmulatorProcess({"instances": vms}) as process:
        yield process


@pytest.fixture
def make_vm(emulator: EmulatorProcess) -> Callable[[], Vm]:
    """Finds a VM that no other test uses."""
    return lambda: Vm(emulator, f"vm-{next(_numbers)}")


@pytest.fixture
def vm(make_vm: Callable[[], Vm]) -> Vm:
    return make_vm()


@pytest.fixture
def vms_without_window(emulator: EmulatorProcess) -> dict[str, Vm]:
    """A VM for each of the answers that the platform has for "no window is announced"."""
    return {answer: Vm(emulator, f"none-{index}") for index, answer in enumerate(NONE_ANSWERS)}


@pytest.fixture
def make_handler(vm: Vm, tmp_path: Path) -> Iterator[Callable[..., HandlerProcess]]:
    """Makes handlers with these tasks and settings, on the test's VM or another `metadata_host`, and ends them."""
    made: list[HandlerProcess] = []

    def make(*tasks: Mapping[str, Any], **settings: Any) -> HandlerProcess:
        folder = tmp_path / f"handler-{len(made)}"
        folder.mkdir()
        made.append(HandlerProcess(folder, settings.pop("metadata_host", vm.host), tasks, **settings))
        return made[-1]

    yield make
    for handler in made:
        handler.close()


@pytest.fixture
def no_descriptors() -> Callable[[], AbstractContextManager[None]]:
    """Has this process open no file any more while the context lasts."""

    @contextmanager
    def used_up() -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    return used_up
