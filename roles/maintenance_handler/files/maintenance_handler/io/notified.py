# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages for the loop about notices, apart from the code that posts them, which is loaded only if it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._vm.records import dataclass


@dataclass(frozen=True)
class QueueRead:
    """The ids of the notices that were queued when the handler started, oldest first."""

    known: list[str]


@dataclass(frozen=True)
class Notified:
    """A report of the notifier.

    `queued` has the number of notices that wait, `sent` and `failed` how many were sent or given up since the last
    report, and `problems` the current problem, each by target; `log` has levels and texts; `seen` is the number of the
    newest notice that it knows.
    """

    report: Mapping[str, Any]
