# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show at regular intervals that long work goes on, and since when.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ._progress import duration


@contextmanager
def heartbeat(say: Callable[[str], None], what: Callable[[], str], pause: float) -> Iterator[None]:
    """Say `what()` and since when it goes on, every `pause` seconds while in it. A pause of 0 says nothing."""
    stop = threading.Event()
    clock, began = time.monotonic(), time.strftime("%H:%M:%S")

    def beat() -> None:
        while not stop.wait(pause):
            say(f"{what()}, since {began}, {duration(time.monotonic() - clock)}")

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    if pause > 0:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if pause > 0:
            thread.join()
