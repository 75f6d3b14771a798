# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulated project without any face, in time that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gce_emulator.state.clock import Clock
from gce_emulator.state.fleet_file import parse
from gce_emulator.state.project import Project
from support.manual_time import ManualTime


@pytest.fixture
def manual_time() -> ManualTime:
    return ManualTime()


@pytest.fixture
def make_project(manual_time: ManualTime) -> Callable[..., Project]:
    """`make_project({"name": "web-1"}, speed=10)`: a project of these instances, with other keys of the fleet file."""

    def make(*instances: dict[str, Any], **fleet: Any) -> Project:
        parsed = parse({"instances": list(instances) or [{"name": "web-1"}], **fleet})
        return Project(parsed, Clock(parsed.speed, loop=manual_time.loop, wall=manual_time.time))

    return make
