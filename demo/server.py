# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m demo.server VM`: the HTTP server of a VM, a directory. An answer takes a third of a second."""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SECONDS = 0.3
# In the VM: the port that it listens on.
PORT_FILE = "run/server-port"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(SECONDS)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"done\n")

    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = Path(sys.argv[1]) / PORT_FILE
    port.parent.mkdir(exist_ok=True)
    new = port.with_suffix(".new")
    new.write_text(f"{server.server_address[1]}\n", encoding="ascii")
    # Whoever reads it finds the whole number.
    new.replace(port)
    server.serve_forever()


if __name__ == "__main__":
    main()
