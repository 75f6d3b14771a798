# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server's legacy endpoints: whether custom metadata disables them, and what in it still calls them. Pure.

Private to the collection: it may change at any time. Standard library only.

https://cloud.google.com/compute/docs/metadata/transition-to-v1
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ._custom_metadata import as_bool

KEY = "disable-legacy-endpoints"

ENABLED, DISABLED, UNCLEAR = "enabled", "disabled", "unclear"

# In JSON, a slash may be written as two characters.
_SLASH = r"(?:\\?/)+"
_SERVER = r"(?:metadata(?:\.google\.internal)?|169\.254\.169\.254|\[fd20:ce::254\])(?::\d+)?"
_CALLS = {
    # A script may have /computeMetadata in a variable. Others' APIs have a v1beta1, too, with projects and instances.
    "/computeMetadata/v1beta1/": re.compile(
        rf"computeMetadata{_SLASH}v1beta1(?![\w.])|(?<![\w.])v1beta1{_SLASH}(?:instance|project)(?![\w-])"
    ),
    "/0.1/": re.compile(rf"(?<![\d.])0\.1{_SLASH}meta-data(?![\w-])|{_SERVER}{_SLASH}0\.1(?![\d.])"),
}
_SCRIPT_ELSEWHERE = re.compile(r"(?:\A|-)script-url\Z")

# gzip, told from zlib's own format.
_GZIP = 16 + zlib.MAX_WBITS
_LARGEST_DOCUMENT = 16 * 1024 * 1024


@dataclass(frozen=True, order=True)
class Call:
    """Where a value of custom metadata calls a legacy endpoint. The text of the line is not in it: it may be secret."""

    key: str
    line: int
    endpoint: str


def state_of(value: str | None) -> str:
    """What a value of disable-legacy-endpoints says; without one, they are enabled."""
    if value is None:
        return ENABLED
    return {True: DISABLED, False: ENABLED, None: UNCLEAR}[as_bool(value)]


def effective_state(own: str | None, project: str | None) -> str:
    """What is so for an instance, by its own value or else by the project's."""
    return state_of(project if own is None else own)


def overrides(own: str | None, project: str | None) -> bool:
    """Whether an instance's own value makes it differ from the project."""
    return own is not None and state_of(own) != state_of(project)


def calls(metadata: Mapping[str, str]) -> list[Call]:
    """All calls of legacy endpoints in custom metadata, comments included, one for each line and endpoint."""
    return sorted({call for key in metadata for call in _calls_in(key, _document(key, metadata))})


def scripts_elsewhere(metadata: Mapping[str, str]) -> list[str]:
    """The keys that say where a script is, which is thus not in the metadata to be looked at."""
    return sorted(key for key in metadata if _SCRIPT_ELSEWHERE.search(key))


def _calls_in(key: str, text: str) -> Iterator[Call]:
    for endpoint, pattern in _CALLS.items():
        for match in pattern.finditer(text):
            yield Call(key, text.count("\n", 0, match.start()) + 1, endpoint)


def _document(key: str, metadata: Mapping[str, str]) -> str:
    """A value as what reads it sees it: cloud-init takes user-data in base64, and compressed.

    https://cloudinit.readthedocs.io/en/latest/reference/datasources/gce.html
    """
    value = metadata[key]
    if key != "user-data" or metadata.get("user-data-encoding") != "base64":
        return value
    try:
        document = base64.b64decode(value)
        if document.startswith(b"\x1f\x8b"):
            document = zlib.decompressobj(_GZIP).decompress(document, _LARGEST_DOCUMENT)
    except (ValueError, zlib.error):
        return value
    return document.decode("utf-8", "replace")
