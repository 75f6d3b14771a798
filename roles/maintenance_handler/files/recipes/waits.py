# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until others have noticed a change, which an interrupted run may have made."""

from __future__ import annotations

import time

from recipes.run import Run


def wait_since(run: Run, changed_at: float, seconds: float, purpose: str) -> None:
    """Wait until this many seconds have passed since a change, whose time is that of `time.time`."""
    # The clock may have jumped.
    waited = min(max(0.0, time.time() - changed_at), seconds)
    over_at = run.clock() + seconds - waited
    run.wait_until(lambda: _still_waits(over_at - run.clock(), purpose))


def _still_waits(seconds: float, purpose: str) -> str:
    return f"waiting {seconds:.0f} s more for {purpose}" if seconds > 0 else ""
