# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The threads of the notifier's loop."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from maintenance_handler.io.notice_queue import NoticeQueue
from notifier.delivery import Delivery
from notifier.service import Service


class Watched(Delivery):
    """A delivery while whose first look at the backlog a notice is read."""

    def __init__(self, service: Service) -> None:
        self.name = "chat"
        self.looked_again = threading.Event()
        self._service = service
        self._looks = 0

    def step(self, hurry: bool = False) -> float | None:
        self._looks += 1
        if self._looks == 1:
            self._service._refresh()
        else:
            self.looked_again.set()
        return None


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Its handler has closed the pipe."""
    queue = NoticeQueue(tmp_path)
    queue.make()
    with io.FileIO("/dev/null") as commands:
        yield Service({}, queue, commands, io.StringIO())


def test_a_notice_that_is_read_while_its_target_becomes_idle_is_sent(service: Service) -> None:
    watched = Watched(service)
    threading.Thread(target=service._deliver, args=(watched,), daemon=True).start()
    assert watched.looked_again.wait(10)


class Counted(Delivery):
    """A delivery that has nothing to send."""

    def __init__(self) -> None:
        self.name = "chat"
        self.looked = threading.Event()
        self.looked_again = threading.Event()

    def step(self, hurry: bool = False) -> float | None:
        (self.looked_again if self.looked.is_set() else self.looked).set()
        return None


def test_a_notice_that_the_handler_queues_last_is_sent(service: Service) -> None:
    """The handler has closed its pipe, but what it had queued is not read yet."""
    service._listen()
    counted = Counted()
    threading.Thread(target=service._deliver, args=(counted,), daemon=True).start()
    assert counted.looked.wait(10)
    service._refresh()
    assert counted.looked_again.wait(10)
