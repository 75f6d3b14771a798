# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words for progress: how long work takes, how much of it is done, and when to show that. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import json
import math

from ansible_collections.gce.guest.plugins.module_utils._compute.progress import Progress

# Seconds between two lines, unless the variable gce_progress says otherwise. Shorter work shows nothing.
DEFAULT_PAUSE = 10.0


def duration(seconds: float) -> str:
    """A time rounded up, such as "40 s", "4 min" or "1 h 20 min"."""
    if seconds <= 90:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def progress_text(done: int, total: int, left: float | None, what: str = "instances") -> str:
    """Such as "1,200 of 10,000 instances, about 15 min left"; without a time if `left` (seconds) is None."""
    text = f"{done:,} of {total:,} {what}"
    return text if left is None else f"{text}, about {duration(left)} left"


class ProgressLines:
    """Decides which lines are shown: one before long work, and one every `pause` seconds. Times are in seconds."""

    def __init__(self, pause: float, start: float) -> None:
        self._pause = pause
        self._shown = start
        self._total: int | None = None

    def next(self, progress: Progress, now: float) -> str | None:
        """The line that is due now, if one is."""
        is_new, self._total = progress.total != self._total, progress.total
        if is_new and progress.left > self._pause:
            self._shown = now
            return f"{progress.total:,} instances, at least {duration(progress.left)} at the limit of requests a minute"
        if now - self._shown < self._pause or progress.done >= progress.total:
            return None
        self._shown = now
        return progress_text(progress.done, progress.total, progress.left if progress.done else None)


def parse_progress(text: str) -> Progress | None:
    """The last whole line of a module's progress file. None if there is none, or if it is not a progress."""
    line = text.rpartition("\n")[0].rpartition("\n")[2]
    try:
        found = json.loads(line)
        progress = Progress(int(found["done"]), int(found["total"]), float(found["left"]))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    is_sound = 0 <= progress.done <= progress.total and 0 <= progress.left < math.inf
    return progress if is_sound else None
