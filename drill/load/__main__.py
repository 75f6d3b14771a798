# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -m load http|sql|redis JSON`: load until standard input ends, then the counts as a line of JSON."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any, Protocol

from .tally import Tally


class Load(Protocol):
    """Clients of one service."""

    workers: int

    def work(self, number: int, tally: Tally, stop: threading.Event) -> None:
        """One client, until `stop`."""

    def lost(self, tally: Tally) -> int | None:
        """How many acknowledged writes cannot be found; None for reads."""


def main() -> int:
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    load = _made(kind, settings)
    tally, stop = Tally(), threading.Event()
    threads = [threading.Thread(target=load.work, args=(number, tally, stop)) for number in range(load.workers)]
    for thread in threads:
        thread.start()
    # The drill closes it.
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps({**tally.to_json(), "lost": load.lost(tally)}))
    return 0


def _made(kind: str, settings: dict[str, Any]) -> Load:
    # Each needs libraries of its own.
    if kind == "http":
        from .web import WebLoad

        return WebLoad(**settings)
    if kind == "sql":
        from .sql import SqlLoad

        return SqlLoad(**settings)
    from .cache import CacheLoad

    return CacheLoad(**settings)


if __name__ == "__main__":
    sys.exit(main())
