# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver of notifications that is down until a minute after the first of them.

usage: receiver.py QUEUE RECEIVED

It appends each body to the file RECEIVED, as a line of JSON. QUEUE is the directory in which the handler keeps notices.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

DOWN_FOR = 60.0

queue, received = map(Path, sys.argv[1:])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with received.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**body, "received_at": time.time()}) + "\n")
        self.send_response(200)
        self.end_headers()


def first_notice() -> float:
    """The time of the oldest notice in the queue; waits for it."""
    while not received.exists():
        times = [path.stat().st_mtime for path in queue.glob("[0-9]*.json")]
        if times:
            return min(times)
        time.sleep(0.2)
    return 0.0


time.sleep(max(0.0, first_notice() + DOWN_FOR - time.time()))
HTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
