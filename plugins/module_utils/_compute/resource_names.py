# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of projects, zones and instances in all their forms. Pure.

Private to the collection: it may change at any time. Standard library only.

The API returns URLs, the metadata server paths with the project's number, Cloud Asset Inventory
//compute.googleapis.com/..., and VMs have names in the internal DNS. The patterns are those of the API's discovery
document. https://cloud.google.com/compute/docs/internal-dns
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import ComputeBadRequest

_LABEL = r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"
_PROJECT = rf"(?:(?:[-a-z0-9]{{1,63}}\.)*{_LABEL}:)?(?:[0-9]{{1,19}}|[a-z0-9](?:[-a-z0-9]{{0,61}}[a-z0-9])?)"
_INSTANCE = rf"{_LABEL}|[1-9][0-9]{{0,19}}"
# An optional prefix: scheme and host, and the API with its version.
_BEFORE = r"(?:(?:https?:)?//[^/\s]+/(?:compute/)?(?:[a-z][a-z0-9]*/)?|/)?"

_PROJECT_FORM = re.compile(rf"(?:{_BEFORE}projects/)?(?P<project>{_PROJECT})")
_ZONE_FORM = re.compile(rf"(?:{_BEFORE}(?:projects/(?P<project>{_PROJECT})/)?zones/)?(?P<zone>{_LABEL})")
_INSTANCE_FORMS = (
    re.compile(
        rf"(?:{_BEFORE}(?:projects/(?P<project>{_PROJECT})/)?zones/(?P<zone>{_LABEL})/instances/)?(?P<name>{_INSTANCE})"
    ),
    re.compile(rf"(?P<zone>{_LABEL})/(?P<name>{_INSTANCE})"),
    re.compile(rf"(?P<name>{_LABEL})\.(?:(?P<zone>{_LABEL})\.)?c\.(?P<project>[-a-z0-9.]+)\.internal"),
)


@dataclass(frozen=True)
class ZoneName:
    zone: str
    # Its ID or number, if given.
    project: str | None = None


@dataclass(frozen=True)
class InstanceName:
    """An instance by name or ID, with its zone and project if given."""

    name: str
    zone: str | None = None
    project: str | None = None


def parse_project(written: str) -> str:
    """The project's ID or number. Like the other parsers, raises ComputeBadRequest for any other form."""
    match = _PROJECT_FORM.fullmatch(written.strip())
    if not match:
        raise ComputeBadRequest(f"The option project is {written!r}, which is not the ID or number of a project.")
    return match["project"]


def parse_zone(written: str) -> ZoneName:
    match = _ZONE_FORM.fullmatch(written.strip())
    if not match:
        raise ComputeBadRequest(
            f"{written!r} is not a zone: write its name, such as us-central1-a, or projects/PROJECT/zones/ZONE, or its "
            "URL."
        )
    return ZoneName(match["zone"], match["project"])


def parse_instance(written: str) -> InstanceName:
    for form in _INSTANCE_FORMS:
        match = form.fullmatch(written.strip())
        if match:
            found = match.groupdict()
            return InstanceName(found["name"], found["zone"], _project_of_domain(found.get("project")))
    raise ComputeBadRequest(
        f"{written!r} is not an instance: write its name or its ID, ZONE/NAME, "
        "projects/PROJECT/zones/ZONE/instances/NAME, or its URL."
    )


def checked_name(option: str, written: str) -> str:
    """The name or ID of another kind of resource. Raises ComputeBadRequest for anything else, such as a path."""
    name = written.strip()
    if not re.fullmatch(_INSTANCE, name):
        raise ComputeBadRequest(f"{option} is {written!r}, which is not the name or ID of a resource.")
    return name


def _project_of_domain(project: str | None) -> str | None:
    """In the internal DNS, the project example.com:web is web.example.com."""
    if project is None or "." not in project or ":" in project:
        return project
    name, _dot, domain = project.partition(".")
    return f"{domain}:{name}"
