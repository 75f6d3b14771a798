# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load on the VMs: clients of the balancer, which count the requests that fail on each VM."""

from __future__ import annotations

import collections
import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from .balancer import SERVER, WITH, WITHOUT
from .cases import FOLDER
from .hosts import start_server, wait_for_server
from .processes import marked

# Clients of each kind.
COUNT = 3
PAUSE = 0.1
TIMEOUT = 15.0


# A VM without an event, so that the service goes on while the others are away.
SPARE = "web-2"


class Clients:
    """Clients that send requests until `finish`; half of them by a balancer that no handler tells to spare a VM."""

    def __init__(self, vms: Mapping[str, Path], root: Path) -> None:
        spare = root / "vms" / SPARE
        (spare / "service").mkdir(parents=True)
        (spare / "service" / "load-balancer").write_text("in service\n", encoding="utf-8")
        self._spare = start_server(spare, root / "logs" / f"{SPARE}.log")
        for vm in (*vms.values(), spare):
            wait_for_server(vm)
        with (root / "logs" / "balancer.log").open("wb") as log:
            self._balancer = subprocess.Popen(
                [sys.executable, "-m", "demo.balancer", *map(str, [*vms.values(), spare])],
                cwd=FOLDER.parent,
                env=marked(dict(os.environ), root),
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._port = int(self._balancer.stdout.readline()) if self._balancer.stdout else 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        # By kind and VM. An empty name is that of no VM.
        self._sent: collections.Counter[tuple[str, str]] = collections.Counter()
        self._lost: collections.Counter[tuple[str, str]] = collections.Counter()
        kinds = [WITH, WITHOUT] * COUNT
        # The requests of each client.
        self._rounds = [0] * len(kinds)
        self._threads = [
            threading.Thread(target=self._work, args=(number, kind), daemon=True) for number, kind in enumerate(kinds)
        ]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Stop sending, and end the balancer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT)
        if self._balancer.stdout:
            self._balancer.stdout.close()
        for process in (self._balancer, self._spare):
            process.terminate()
            process.wait()

    def lost(self, host: str) -> tuple[int, int]:
        """Requests to a VM that failed: with the handler, and without."""
        return self._lost[WITH, host], self._lost[WITHOUT, host]

    def lost_elsewhere(self) -> int:
        """Requests that failed with the handler, but not on a VM with an event."""
        return self._lost[WITH, SPARE] + self._lost[WITH, ""]

    def sent(self) -> int:
        """All requests that were answered or failed."""
        return sum(self._sent.values())

    def rounds(self) -> list[int]:
        """The same, of each client."""
        with self._lock:
            return list(self._rounds)

    def _work(self, number: int, kind: str) -> None:
        while not self._stop.wait(PAUSE):
            host, is_lost = self._request(kind)
            with self._lock:
                self._sent[kind, host] += 1
                self._lost[kind, host] += is_lost
                self._rounds[number] += 1

    def _request(self, kind: str) -> tuple[str, bool]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            connection.request("GET", kind)
            answer = connection.getresponse()
            return answer.headers[SERVER], answer.status != 200
        except (OSError, http.client.HTTPException):
            return "", True
        finally:
            connection.close()
