# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has changed between two announcements of a maintenance window. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from ...module_utils._vm.maintenance import Window
from ...module_utils._vm.signal_values import STAYS_AFTER_END

ANNOUNCED = "announced"
MOVED = "moved"
CHANGED = "changed"
BEGUN = "begun"
CANCELLED = "cancelled"
OVER = "over"


def current(window: Window | None, now: float) -> Window | None:
    """The window at `now` (epoch seconds), None if it has ended: some are announced for weeks after their end."""
    return None if window is None or window.has_ended(now - STAYS_AFTER_END) else window


def window_changes(
    before: Window | None, after: Window | None, was_begun: bool, now: float
) -> list[tuple[str, Window]]:
    """The changes from one window to another, each with the window that it is about, in their order.

    `was_begun`: whether BEGUN was among the changes to `before`, or would have been.
    """
    begins = after is not None and after.has_begun(now)
    changes: list[tuple[str, Window]] = []
    if before is not None and (after is None or (was_begun and not begins)):
        # One that has begun and now lies ahead is another one.
        changes.append((OVER if was_begun else CANCELLED, before))
        before, was_begun = None, False
    if after is None:
        return changes
    if before is None:
        changes.append((ANNOUNCED, after))
    elif _times(before) != _times(after):
        changes.append((MOVED, after))
    elif _details(before) != _details(after):
        changes.append((CHANGED, after))
    if begins and not was_begun:
        changes.append((BEGUN, after))
    return changes


def next_change(window: Window | None, is_begun: bool) -> float | None:
    """When a window that is announced begins or ends by its times alone (epoch seconds)."""
    if window is None:
        return None
    if not is_begun and window.start is not None:
        return window.start
    return None if window.end is None or window.status == "ONGOING" else window.end + STAYS_AFTER_END


def _times(window: Window) -> tuple[float | None, float | None]:
    return window.start, window.end


def _details(window: Window) -> tuple[object, ...]:
    return window.latest_start, window.type, window.can_reschedule, window.reasons
