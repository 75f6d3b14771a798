# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulated fleet for the tests of a file, as the file's FLEET describes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.emulator import EmulatorProcess


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.module.FLEET)


@pytest.fixture(scope="module")
def running_emulator(fleet: dict[str, Any]) -> Iterator[EmulatorProcess]:
    """One process for the whole file; tests use `emulator`."""
    with EmulatorProcess(fleet) as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: EmulatorProcess) -> EmulatorProcess:
    """The fleet as it is described, without faults, and with nothing in the journal."""
    running_emulator.control.reset()
    running_emulator.control.clear_faults()
    running_emulator.control.clear_journal()
    return running_emulator
