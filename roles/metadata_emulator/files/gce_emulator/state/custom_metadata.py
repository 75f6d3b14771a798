# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom metadata as the Compute API accepts and refuses it. Pure."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from .errors import ApiError, invalid

KEY = re.compile(r"[a-zA-Z0-9-_]{1,128}")
LARGEST_VALUE = 262_144
LARGEST_TOTAL = 524_288

_ITEM = "metadata.items."


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The body of setMetadata: all new metadata, and the fingerprint of the version that it is based on."""

    fingerprint: str
    attributes: Mapping[str, str]


def parse_metadata(body: Mapping[str, Any]) -> Wanted:
    """Read a Metadata resource. Without `items` it removes all. Raises ApiError."""
    items = body.get("items") or []
    if not isinstance(items, list):
        raise invalid("metadata.items", str(items), "Must be a list.")
    attributes: dict[str, str] = {}
    for number, item in enumerate(items):
        key, value = _parse_item(item, f"metadata.items[{number}]")
        if key in attributes:
            raise invalid("metadata", "", f"Metadata has duplicate keys: {key}")
        attributes[key] = value
    refuse_oversize(attributes)
    return Wanted(_parse_fingerprint(body.get("fingerprint", "")), attributes)


def key_problem(key: str) -> str | None:
    """What is wrong with a key, or None."""
    return None if KEY.fullmatch(key) else f"{key!r} does not match {KEY.pattern}, as the keys of metadata do"


def refuse_oversize(attributes: Mapping[str, str]) -> None:
    """Raise ApiError if the total is too large."""
    total = sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())
    if total > LARGEST_TOTAL:
        raise _too_large("metadata.items", LARGEST_TOTAL, total)


@dataclasses.dataclass(frozen=True)
class Patch:
    """The body of instanceSettings.patch. `deleted` has the keys to delete; None deletes all that `values` lacks."""

    fingerprint: str | None
    values: Mapping[str, str]
    deleted: frozenset[str] | None

    def applied_to(self, attributes: Mapping[str, str]) -> dict[str, str]:
        kept = {} if self.deleted is None else {k: v for k, v in attributes.items() if k not in self.deleted}
        return {**kept, **self.values}


def parse_patch(body: Mapping[str, Any], mask: str | None) -> Patch:
    """Read an InstanceSettings resource and its updateMask. Raises ApiError.

    Keys of the mask are set to their values in the body, or deleted if the body lacks them. Without a mask, all keys of
    the body are set.
    """
    metadata = body.get("metadata") or {}
    items = (metadata.get("items") if isinstance(metadata, Mapping) else metadata) or {}
    if not isinstance(items, Mapping):
        raise invalid("instanceSettings.metadata.items", str(items), "Must be a map.")
    given = dict(_parse_item({"key": key, "value": value}, "metadata.items") for key, value in items.items())
    fingerprint = _parse_fingerprint(body["fingerprint"]) if body.get("fingerprint") else None
    if not mask:
        return Patch(fingerprint, given, frozenset())
    paths = [path.strip() for path in mask.split(",")]
    if "metadata" in paths or "metadata.items" in paths:
        return Patch(fingerprint, given, None)
    keys = [path[len(_ITEM) :] for path in paths if path.startswith(_ITEM)]
    if len(keys) < len(paths) or not all(KEY.fullmatch(key) for key in keys):
        raise invalid("updateMask", mask, "Must name metadata.items, or keys as metadata.items.KEY.")
    return Patch(fingerprint, {key: given[key] for key in keys if key in given}, frozenset(keys) - given.keys())


def _parse_item(item: Any, field: str) -> tuple[str, str]:
    if not isinstance(item, Mapping):
        raise invalid(field, str(item), "Must be an object with key and value.")
    key, value = item.get("key", ""), item.get("value", "")
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise invalid(f"{field}.key", str(key), f"Must be a match of regex '{KEY.pattern}'")
    if not isinstance(value, str):
        raise invalid(f"{field}.value", str(value), "Must be a string.")
    size = len(value.encode())
    if size > LARGEST_VALUE:
        raise _too_large(f"{field}.value", LARGEST_VALUE, size)
    return key, value


def _parse_fingerprint(text: Any) -> str:
    try:
        # As everywhere in Google's JSON, both alphabets of base64 are accepted.
        base64.b64decode(str(text).replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("metadata.fingerprint", str(text), "Must be a base64 encoded string.") from None
    return str(text).replace("+", "-").replace("/", "_")


def _too_large(field: str, limit: int, size: int) -> ApiError:
    message = f"Value for field '{field}' is too large: maximum size {limit} character(s); actual size {size}."
    return ApiError(413, "fieldSizeTooLarge", message)
