# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A closed incident in a few words, for the guest attribute. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._vm.maintenance import format_time
from .incident import FAILURES, OK
from .tasks import DRAIN
from .timeline import ended_at

# How an incident ended.
NOTHING_RUN = "nothing run"
DRAIN_FAILED = "drain failed"
# Someone has acknowledged that a task is not restored.
NOT_RESTORED = "not restored"


def last_incident(document: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a closed incident (of `public.recorded`, or of the history). Times are RFC 3339."""
    past = document["past"]
    return {
        "id": document["id"],
        "event": past[0]["event"] if past else None,
        "rehearsal": bool(past) and all(one["rehearsal"] for one in past),
        "opened_at": format_time(document["opened_at"]),
        "ended_at": format_time(ended_at(document)),
        "outcome": _outcome(document),
    }


def _outcome(document: Mapping[str, Any]) -> str:
    if document.get("acknowledged"):
        return NOT_RESTORED
    if not document["steps"]:
        return NOTHING_RUN
    # A later attempt replaces an earlier one.
    drains = {(step["task"], step["event"]): step["outcome"] for step in document["steps"] if step["phase"] == DRAIN}
    return DRAIN_FAILED if any(outcome in FAILURES for outcome in drains.values()) else OK
