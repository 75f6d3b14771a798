# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last check for a preemption."""

from __future__ import annotations

import queue
import threading
from typing import Any

from maintenance_handler._vm.maintenance import PREEMPTED_KEY
from maintenance_handler._vm.watch import Heard
from maintenance_handler.io.last_look import Looked, start_looking
from support.recipes import PATIENCE
from support.vm import Vm


def test_reports_a_preemption_and_never_its_absence(vm: Vm) -> None:
    """What it has read before a preemption may be reported after it, and would cancel it."""
    posted: queue.Queue[Any] = queue.Queue()
    is_over = threading.Event()

    def post(message: Any) -> None:
        if is_over.is_set():
            # Ends the thread.
            raise SystemExit
        posted.put(message)

    start_looking(vm.host, post)
    assert [posted.get(timeout=PATIENCE) for _message in range(3)] == [Looked()] * 3
    vm.announce("preempt")
    heard = next(message for message in iter(lambda: posted.get(timeout=PATIENCE), None) if message != Looked())
    is_over.set()
    assert isinstance(heard, Heard)
    assert (heard.key, heard.value) == (PREEMPTED_KEY, "TRUE")
