# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest attributes through the Compute API, and why an instance may have none.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._vm.guest_attributes import GuestAttributeError, attribute_path, namespace_path
from .api import ComputeApi
from .errors import ComputeBadRequest, ComputeNotFound
from .instances import path_of

# Whether they are enabled, by Google's own evaluation of the metadata of instance, zone and project.
FIELDS = "resourceStatus(effectiveInstanceMetadata(enableGuestAttributesMetadataValue))"

Attributes = dict[str, dict[str, str]]


def query_path(namespace: str | None, key: str | None = None) -> str:
    """The queryPath of a key, of a namespace, or of everything. Raises ComputeBadRequest for invalid names."""
    if namespace is None:
        return ""
    try:
        if key is None:
            namespace_path(namespace)
        else:
            attribute_path(namespace, key)
    except GuestAttributeError as error:
        raise ComputeBadRequest(str(error)) from None
    return f"{namespace}/{key or ''}"


def is_enabled(instance: Mapping[str, Any]) -> bool | None:
    """Whether guest attributes are enabled; None if unknown."""
    effective = instance.get("resourceStatus", {}).get("effectiveInstanceMetadata")
    # They are disabled by default.
    return None if effective is None else bool(effective.get("enableGuestAttributesMetadataValue", False))


def read(api: ComputeApi, instance: Mapping[str, Any], path: str = "") -> Attributes:
    """Values by namespace and key; empty if there are none. Raises ComputeError."""
    query = {"queryPath": path} if path else {}
    try:
        answer = api.get(
            f"{path_of(instance)}/getGuestAttributes",
            "read the guest attributes of",
            resource=path_of(instance),
            **query,
        )
    except ComputeNotFound as error:
        # The API answers 404 for an empty namespace, and for a deleted instance.
        if "Guest Attribute" not in error.message:
            raise
        return {}
    attributes: Attributes = {}
    for entry in answer.get("queryValue", {}).get("items", []):
        attributes.setdefault(entry["namespace"], {})[entry["key"]] = entry.get("value", "")
    return attributes
