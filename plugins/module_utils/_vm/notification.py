# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's notifications, between the handler that sends them and a rulebook that receives them. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

# Before the kind, in the type of a CloudEvent.
TYPE_PREFIX = "gce.guest.maintenance."
# As in the table of the guide to notifications.
FIELDS = (
    "id",
    "kind",
    "severity",
    "summary",
    "text",
    "at",
    "opened_at",
    "resolves",
    "rehearsal",
    "event",
    "incident",
    "tasks",
    "deadline",
    "instance",
    "instance_id",
    "zone",
    "project",
)
