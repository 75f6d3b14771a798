# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it takes from a notice to the start of its drain while the machine is busy: `busy.py CONTROL STEPS`.

Runs on a VM where the handler is a service whose steps are drain-step's, which write into the directory STEPS.
Meanwhile every core has two processes that never rest, and writers to the same disk keep a queue there. Prints JSON:
the seconds from each notice to its drain, and those that a small write took to reach the disk, meanwhile and before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROUNDS = 10
SPINNERS_PER_CORE = 2
WRITERS = 16
# Ends also when this process is killed, and nobody ends them.
SPINNER = "import time\nend = time.monotonic() + 300\nwhile time.monotonic() < end: pass"
WRITER = """
import os, sys, time
end = time.monotonic() + 300
with open(sys.argv[1], "wb", buffering=0) as file:
    while time.monotonic() < end:
        file.seek(0)
        for _ in range(16):
            file.write(bytes(1 << 20))
        os.fsync(file.fileno())
"""
GIVE_UP_AFTER = 60.0


def main(control: str, steps: Path) -> None:
    before = [_write_time(steps) for _unused in range(ROUNDS)]
    drains, writes = [], []
    with _busy(steps):
        for _unused in range(ROUNDS):
            drains.append(_drain_time(control, steps))
            writes.append(_write_time(steps))
    print(json.dumps({"drains": drains, "writes": writes, "writes_before": before}))


def _drain_time(control: str, steps: Path) -> float:
    """Announce a migration, and call it off when it is drained for. Answers the seconds until the drain began."""
    announced_at = time.time()
    _say(control, "MIGRATE_ON_HOST_MAINTENANCE")
    _wait_for(steps / "trace", "drain workers done")
    began_at = float((steps / "drain-balancer").read_text())
    _say(control, "NONE")
    _wait_for(steps / "trace", "restore balancer done")
    (steps / "trace").unlink()
    return round(began_at - announced_at, 3)


def _write_time(directory: Path) -> float:
    """The seconds that it takes to have a block on the disk."""
    path = directory / "probe"
    began = time.monotonic()
    with path.open("wb") as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    return round(time.monotonic() - began, 3)


@contextmanager
def _busy(directory: Path) -> Iterator[None]:
    spinners = [(SPINNER,)] * (SPINNERS_PER_CORE * (os.cpu_count() or 1))
    writers = [(WRITER, str(directory / f"load-{number}")) for number in range(WRITERS)]
    load = [subprocess.Popen([sys.executable, "-c", *arguments]) for arguments in (*spinners, *writers)]
    try:
        # The page cache swallows the first writes.
        time.sleep(5)
        yield
    finally:
        for process in load:
            process.kill()
            process.wait()
        for _unused, path in writers:
            Path(path).unlink(missing_ok=True)


def _say(control: str, value: str) -> None:
    request = urllib.request.Request(
        f"{control}/instances/vm/values/instance/maintenance-event",
        json.dumps({"value": value}).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request):
        return


def _wait_for(trace: Path, line: str) -> None:
    give_up_at = time.monotonic() + GIVE_UP_AFTER
    while not trace.exists() or line not in trace.read_text():
        if time.monotonic() > give_up_at:
            sys.exit(f"{trace} has no line {line!r} after {GIVE_UP_AFTER:.0f} s")
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
