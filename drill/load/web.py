# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP clients with keep-alive and without retries. A request takes 1 to 2 seconds."""

from __future__ import annotations

import http.client
import threading
import time

from .tally import Tally

_TIMEOUT = 10.0


class WebLoad:
    """`workers` clients, each with a connection of its own."""

    def __init__(self, address: str, workers: int = 24) -> None:
        self.workers = workers
        self._address = address

    def work(self, number: int, tally: Tally, stop: threading.Event) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT)
        # Spread over the second.
        stop.wait(number / self.workers)
        while not stop.is_set():
            began = time.monotonic()
            try:
                connection.request("GET", f"/?client={number}")
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or not body.endswith(b"done\n"):
                    raise ValueError(f"status {answer.status}")
            except (OSError, http.client.HTTPException, ValueError) as exc:
                connection.close()
                tally.failure(began, f"{type(exc).__name__}: {exc}")
                # As a client that is not told to repeat it; a refused connection must not become a busy loop.
                stop.wait(1.0)
            else:
                tally.success(began)
        connection.close()

    def lost(self, tally: Tally) -> int | None:
        return None
