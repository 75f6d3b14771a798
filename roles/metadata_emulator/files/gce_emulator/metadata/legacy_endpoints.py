# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The legacy endpoints /0.1/ and /computeMetadata/v1beta1/, mapped to v1. Pure."""

from __future__ import annotations

# Keys of /0.1/meta-data/ and their paths in v1.
_OLDEST = {
    "attributes": "instance/attributes",
    "description": "instance/description",
    "hostname": "instance/hostname",
    "image": "instance/image",
    "instance-id": "instance/id",
    "machine-type": "instance/machine-type",
    "numeric-project-id": "project/numeric-project-id",
    "project-id": "project/project-id",
    "service-accounts": "instance/service-accounts",
    "tags": "instance/tags",
    "zone": "instance/zone",
}

LISTINGS = {
    "0.1": "meta-data/\n",
    "0.1/meta-data": "".join(f"{name}\n" for name in sorted(_OLDEST)),
}


def path_today(names: list[str]) -> str | None:
    """The path in v1 of a legacy path, given by its names, or None."""
    if names[:2] == ["computeMetadata", "v1beta1"]:
        return "/".join(names[2:])
    if names[:2] == ["0.1", "meta-data"] and len(names) > 2 and names[2] in _OLDEST:
        return "/".join([_OLDEST[names[2]], *names[3:]])
    return None
