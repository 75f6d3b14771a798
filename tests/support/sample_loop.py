# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop of Google's documentation on host maintenance notices, rewritten: the usual starting point.

It asks for instance/maintenance-event with wait_for_change and last_etag, a new connection for each request, sleeps a
second on 503, and runs a command whenever the value is another one, with the value in GCE_MAINTENANCE_EVENT. It has the
weaknesses that such loops have, on purpose (no timeout, any other status ends it): the handler is compared with it.

    python sample_loop.py --host 127.0.0.1:8080 --exec touch /tmp/drained
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Callable, Iterator

import requests

HEADERS = {"Metadata-Flavor": "Google"}


def watch(host: str, callback: Callable[[str | None], None]) -> None:
    """Call `callback` with each new event, None when there is none. Never returns."""
    for event in events(host):
        callback(event)


def events(host: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[str | None]:
    url = f"http://{host}/computeMetadata/v1/instance/maintenance-event"
    last_etag = "0"
    last_event: str | None = None
    while True:
        answer = requests.get(
            url, params={"last_etag": last_etag, "wait_for_change": str(True)}, headers=HEADERS, timeout=None
        )
        if answer.status_code == 503:
            # According to the documentation, the server may be unavailable during the maintenance.
            sleep(1)
            continue
        answer.raise_for_status()
        last_etag = answer.headers["etag"]
        event = None if answer.text == "NONE" else answer.text
        if event != last_event:
            last_event = event
            yield event


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a command whenever the maintenance event changes.")
    parser.add_argument("--host", default=os.environ.get("GCE_METADATA_HOST", "metadata.google.internal"))
    parser.add_argument("--exec", nargs=argparse.REMAINDER, required=True, metavar="COMMAND", dest="command")
    options = parser.parse_args()

    def run(event: str | None) -> None:
        environment = {**os.environ, "GCE_MAINTENANCE_EVENT": event or "NONE"}
        subprocess.run(options.command, check=False, env=environment)

    watch(options.host, run)


if __name__ == "__main__":
    main()
