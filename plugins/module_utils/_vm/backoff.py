# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pauses between tries, for both clients. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator


def backoff(first: float, longest: float, random: Callable[[], float], *, spread: float = 0.5) -> Iterator[float]:
    """Pauses in seconds that double from ``first`` to ``longest``, each shortened at random by up to ``spread`` of it.

    A wide spread, below 1, separates clients that collided; a narrow one leaves the server a rest.
    """
    pause = first
    while True:
        yield pause * (1 - spread * random())
        pause = min(2 * pause, longest)
