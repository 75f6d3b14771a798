# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in which a module tells its action plugin how far it is.

Private to the collection: it may change at any time. Standard library only.

The action plugin creates the file and names it in the environment, see plugin_utils/_progress_action.py. A module that
runs elsewhere, or after the file is gone, reports nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from .._compute.progress import Progress

VARIABLE = "GCE_GUEST_PROGRESS_FILE"


@contextmanager
def progress_reporter() -> Iterator[Callable[[Progress], None] | None]:
    """A function that appends a line of JSON to the file. None without a file."""
    file = _opened()
    try:
        yield None if file is None else partial(_report, file)
    finally:
        if file is not None:
            os.close(file)


def _opened() -> int | None:
    try:
        # Never created: on another host, the name means nothing.
        return os.open(os.environ.get(VARIABLE, ""), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None


def _report(file: int, progress: Progress) -> None:
    line = {"done": progress.done, "total": progress.total, "left": round(progress.left, 1)}
    # The work matters more than its display.
    with suppress(OSError):
        os.write(file, f"{json.dumps(line)}\n".encode())
