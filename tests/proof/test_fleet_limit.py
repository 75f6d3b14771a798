# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twenty VMs that are terminated at once, of which two may be drained at one time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.etcd import MISSING, Etcd
from support.limited_group import Group, MakeHandler
from support.vm import Vm

pytestmark = [pytest.mark.proof, pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")]


def test_twenty_handlers_race_for_two_slots(
    make_vm: Callable[[], Vm], make_handler: MakeHandler, tmp_path: Path
) -> None:
    with Etcd(tmp_path / "etcd") as etcd:
        Group(etcd, make_vm, make_handler, tmp_path).take_turns(20)
