# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A slot of the fleet limit as text, for the status, and for commands that wait. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._vm.maintenance import format_time

GIVEN_UP = "gives up, without a slot"


def slot_lines(status: Mapping[str, Any]) -> list[str]:
    """The limit, what the VM waits for, and who holds the slots, according to a status."""
    limit = status.get("fleet_limit")
    if not limit:
        return []
    name = f"{limit['backend']}, group {limit['group']}"
    slot = (status["incident"] or {}).get("slot")
    if not slot or not slot["wanted"]:
        returns = ": a slot is being given back" if limit["may_hold"] else ""
        return [f"  fleet limit ({name}){returns}"]
    lines = []
    if slot["waiting"]:
        until = "" if slot["until"] is None else f", goes ahead without one or gives up at {format_time(slot['until'])}"
        since = format_time(slot["since"])
        lines.append(
            f"  {', '.join(slot['waiting'])} waits for a slot of the fleet limit ({name}) since {since}{until}"
        )
    elif slot["held"]:
        lines.append(f"  holds a slot of the fleet limit ({name})")
    elif slot["exceeded"]:
        lines.append(f"  drained WITHOUT a slot of the fleet limit ({name})")
    lines += [f"    held by {_holder(one)}" for one in slot["holders"]]
    if slot["outcome"] in ("unreachable", "invalid"):
        lines.append(f"    the store does not answer: {slot['detail']}")
    return lines


def given_up(incident: Mapping[str, Any] | None, since: float = 0.0) -> str:
    """Why the last drain by hand that gave up since then (epoch seconds) got no slot; empty if none did."""
    entries = ((incident or {}).get("slot") or {}).get("entries", ())
    found = (str(one["detail"]) for one in reversed(entries) if one["what"] == GIVEN_UP and one["at"] >= since)
    return next(found, "")


def _holder(holder: Mapping[str, str]) -> str:
    facts = [holder["reason"], f"since {holder['since']}" if holder["since"] else ""]
    known = ", ".join(filter(None, facts))
    return f"{holder['id']} ({known})" if known else holder["id"]
