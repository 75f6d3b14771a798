# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Compute API takes as custom metadata, and how it refuses the rest. Pure."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from .compute_errors import ApiError, invalid

KEY = re.compile(r"[a-zA-Z0-9-_]{1,128}")
LARGEST_VALUE = 262_144
LARGEST_TOTAL = 524_288


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The body of setMetadata: the whole metadata to be, and the fingerprint of what it was made from."""

    fingerprint: str
    attributes: Mapping[str, str]


def parse_metadata(body: Mapping[str, Any]) -> Wanted:
    """Read a Metadata resource; raises ApiError. Without `items` it asks for none at all."""
    items = body.get("items") or []
    if not isinstance(items, list):
        raise invalid("metadata.items", str(items), "Must be a list.")
    attributes: dict[str, str] = {}
    for number, item in enumerate(items):
        key, value = _parse_item(item, f"metadata.items[{number}]")
        if key in attributes:
            raise invalid("metadata", "", f"Metadata has duplicate keys: {key}")
        attributes[key] = value
    total = sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())
    if total > LARGEST_TOTAL:
        raise _too_large("metadata.items", LARGEST_TOTAL, total)
    return Wanted(_parse_fingerprint(body.get("fingerprint", "")), attributes)


def _parse_item(item: Any, field: str) -> tuple[str, str]:
    if not isinstance(item, Mapping):
        raise invalid(field, str(item), "Must be an object with key and value.")
    key, value = item.get("key", ""), item.get("value", "")
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise invalid(f"{field}.key", str(key), f"Must be a match of regex '{KEY.pattern}'")
    if not isinstance(value, str):
        raise invalid(f"{field}.value", str(value), "Must be a string.")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        # JSON can hold half a surrogate pair.
        raise invalid(f"{field}.value", repr(value), "Must be valid UTF-8.") from None
    if size > LARGEST_VALUE:
        raise _too_large(f"{field}.value", LARGEST_VALUE, size)
    return key, value


def _parse_fingerprint(text: Any) -> str:
    try:
        # Both alphabets of base64 are taken, as everywhere in Google's JSON.
        base64.b64decode(str(text).replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("metadata.fingerprint", str(text), "Must be a base64 encoded string.") from None
    return str(text).replace("+", "-").replace("/", "_")


def _too_large(field: str, limit: int, size: int) -> ApiError:
    message = f"Value for field '{field}' is too large: maximum size {limit} character(s); actual size {size}."
    return ApiError(413, "fieldSizeTooLarge", message)
