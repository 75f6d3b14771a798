# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stop or deletion that somebody requested, as the guest and the API see it until the VM is off."""

from __future__ import annotations

import dataclasses
import datetime


@dataclasses.dataclass(frozen=True)
class Shutdown:
    """`state` is PENDING_STOP or STOPPING, `target` STOPPED or DELETED.

    `seconds` is how long the guest may keep running from `requested_at` on, in real seconds.
    """

    state: str
    target: str
    requested_at: datetime.datetime
    seconds: float
