# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The threads of the notifier's loop."""

from __future__ import annotations

import io
import threading
from pathlib import Path

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


def test_a_notice_that_is_read_while_its_target_becomes_idle_is_sent(tmp_path: Path) -> None:
    queue = NoticeQueue(tmp_path)
    queue.make()
    service = Service({}, queue, io.FileIO("/dev/null"), io.StringIO())
    watched = Watched(service)
    threading.Thread(target=service._deliver, args=(watched,), daemon=True).start()
    assert watched.looked_again.wait(10)
