# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m demo.balancer VM …`: a tiny load balancer in front of the servers of VMs. It does not repeat requests.

Requests of `/with-handler` go to VMs that have not left, those of `/without-handler` to all. A server that fails gets
none for a second.
"""

from __future__ import annotations

import http.client
import itertools
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .server import PORT_FILE

WITH, WITHOUT = "/with-handler", "/without-handler"
# Names the VM in an answer.
SERVER = "X-Server"
_PAUSE = 1.0
_TIMEOUT = 10.0


class Balancer:
    """Chooses a VM for each request."""

    def __init__(self, vms: list[Path]) -> None:
        self._vms = vms
        self._turns = {kind: itertools.cycle(vms) for kind in (WITH, WITHOUT)}
        self._failed_at: dict[tuple[str, Path], float] = {}
        self._lock = threading.Lock()

    def choose(self, kind: str) -> Path | None:
        with self._lock:
            turn = [next(self._turns[kind]) for _vm in self._vms]
            next(self._turns[kind])
        now = time.monotonic()
        able = [vm for vm in turn if now - self._failed_at.get((kind, vm), -_PAUSE) >= _PAUSE]
        return next((vm for vm in able if kind == WITHOUT or _is_in_service(vm)), None)

    def forward(self, kind: str, vm: Path) -> bool:
        """Send a request to the server of a VM. Return whether it was answered."""
        try:
            port = int((vm / PORT_FILE).read_text(encoding="ascii"))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
            try:
                connection.request("GET", "/")
                return connection.getresponse().read() == b"done\n"
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException):
            self._failed_at[kind, vm] = time.monotonic()
            return False


def _is_in_service(vm: Path) -> bool:
    return (vm / "service" / "load-balancer").read_text(encoding="utf-8").strip() == "in service"


class Handler(BaseHTTPRequestHandler):
    balancer: Balancer

    def do_GET(self) -> None:
        vm = self.balancer.choose(self.path)
        is_answered = vm is not None and self.balancer.forward(self.path, vm)
        self.send_response(200 if is_answered else 502)
        self.send_header(SERVER, "" if vm is None else vm.name)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> None:
    Handler.balancer = Balancer([Path(name) for name in sys.argv[1:]])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
