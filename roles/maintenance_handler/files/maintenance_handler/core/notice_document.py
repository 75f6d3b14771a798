# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A notice as receivers get it: a flat object, with the names of the VM and times as text. And its templates. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .._vm.maintenance import format_time
from .._vm.notification import FIELDS
from .likeness import did_you_mean
from .notices import (
    BLIND,
    DRAINED,
    DRAINING,
    FAILED,
    LIMIT_EXCEEDED,
    NOTICED,
    OVERDUE,
    RESTORE_FAILED,
    RESTORED,
)

SEVERITIES = {
    NOTICED: "info",
    DRAINING: "info",
    DRAINED: "info",
    FAILED: "error",
    OVERDUE: "error",
    RESTORED: "info",
    RESTORE_FAILED: "critical",
    LIMIT_EXCEEDED: "warning",
    BLIND: "warning",
}
# The kind of a notification that somebody sends to try a target.
TEST = "test"

_PLACEHOLDER = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>\w+)\}|(?P<plain>[A-Za-z_]\w*))?")


def document(notice: Mapping[str, Any], vm: Mapping[str, str]) -> dict[str, Any]:
    """What receivers get of a notice (`Notice.to_dict`). `vm` has `instance`, `instance_id`, `zone` and `project`."""
    rehearsed = "rehearsal: " if notice["rehearsal"] else ""
    where = f"{vm['instance']} ({vm['zone']})" if vm["zone"] else vm["instance"]
    return {
        # Two VMs may have an incident in the same millisecond.
        "id": f"{vm['instance_id'] or vm['instance']}-{notice['id']}",
        "kind": notice["kind"],
        "severity": "info" if notice["resolves"] else SEVERITIES.get(notice["kind"], "info"),
        "summary": f"{where}: {rehearsed}{notice['text']}",
        "text": notice["text"],
        "at": format_time(notice["at"]),
        "opened_at": format_time(notice["opened_at"]),
        "resolves": notice["resolves"],
        "rehearsal": notice["rehearsal"],
        "event": notice["event"],
        "incident": notice["incident"],
        "tasks": list(notice["tasks"]),
        "deadline": None if notice["deadline"] is None else format_time(notice["deadline"]),
        **vm,
    }


def rendered(template: Any, fields: Mapping[str, Any]) -> Any:
    """A template with the fields in it. A string that is nothing but one field takes the field's type."""
    if isinstance(template, Mapping):
        return {name: rendered(value, fields) for name, value in template.items()}
    if isinstance(template, list):
        return [rendered(value, fields) for value in template]
    if not isinstance(template, str):
        return template
    whole = _PLACEHOLDER.fullmatch(template)
    if whole is not None and _name(whole):
        return fields[_name(whole)]
    # A value is never a template, whatever it contains.
    return _PLACEHOLDER.sub(lambda match: "$" if match["dollar"] else _as_text(fields[_name(match)]), template)


def template_problems(template: Any) -> Iterator[str]:
    """Why a template cannot be used, the rest of a sentence about it each."""
    if isinstance(template, Mapping):
        for value in template.values():
            yield from template_problems(value)
    elif isinstance(template, list):
        for value in template:
            yield from template_problems(value)
    elif isinstance(template, str):
        for match in _PLACEHOLDER.finditer(template):
            name = _name(match)
            if not name and not match["dollar"]:
                yield "has a $ that begins no field: write $$ for a dollar sign"
            elif name and name not in FIELDS:
                yield f"has ${name}, which is no field; the fields are {', '.join(FIELDS)}{did_you_mean(name, FIELDS)}"


def _name(match: re.Match[str]) -> str:
    return match["braced"] or match["plain"] or ""


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
