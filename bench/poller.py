# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A loop without hanging GETs: poll every two seconds, and run a command when an event begins.

`python poller.py HOST:PORT COMMAND…`
"""

from __future__ import annotations

import subprocess
import sys
import time

import requests

PERIOD = 2.0


def main() -> None:
    host, command = sys.argv[1], sys.argv[2:]
    session = requests.Session()
    session.headers["Metadata-Flavor"] = "Google"
    last_event = "NONE"
    while True:
        answer = session.get(f"http://{host}/computeMetadata/v1/instance/maintenance-event")
        if answer.ok:
            if answer.text not in ("NONE", last_event):
                subprocess.run(command, check=True)
            last_event = answer.text
        time.sleep(PERIOD)


if __name__ == "__main__":
    main()
