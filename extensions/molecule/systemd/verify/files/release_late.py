# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until at most 30 s of notice are left, and then until 5 s before the failover times out. Then end its hold.

usage: release_late.py HANDLER HOLD
"""

import json
import os
import subprocess
import sys
import time

handler, hold = sys.argv[1:]
give_up = time.monotonic() + 60
while True:
    status = json.loads(subprocess.run([handler, "status", "--json"], stdout=subprocess.PIPE, check=False).stdout)
    left = status["incident"]["signals"][0]["seconds_left"]
    if left <= 30:
        break
    if time.monotonic() > give_up:
        sys.exit(f"The notice is not cut short: {left} s are left, and the handler is {status['state']}.")
    time.sleep(0.2)
drain = status["incident"]["steps"][-1]
time.sleep(max(0, drain["started_at"] + drain["limit"] - 5 - time.time()))
os.remove(hold)
