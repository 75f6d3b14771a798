# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last check for a preemption."""

from __future__ import annotations

from typing import Any

import pytest

from maintenance_handler._vm.maintenance import PREEMPTED_KEY
from maintenance_handler._vm.watch import Heard
from maintenance_handler.io.last_look import Looked, look
from support.vm import Vm


class Seen(Exception):
    """The test has what it waited for."""


def test_reports_a_preemption_and_never_its_absence(vm: Vm) -> None:
    """What it has read before a preemption may be reported after it, and would cancel it."""
    posted: list[Any] = []

    def post(message: Any) -> None:
        posted.append(message)
        if len(posted) == 3:
            vm.announce("preempt")
        if isinstance(message, Heard):
            raise Seen

    with pytest.raises(Seen):
        look(vm.host, post)
    *before, heard = posted
    assert len(before) >= 3
    assert before == [Looked()] * len(before)
    assert (heard.key, heard.value) == (PREEMPTED_KEY, "TRUE")
