# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server's legacy endpoints: whether custom metadata disables them, and what in it still calls them. Pure.

Private to the collection: it may change at any time. Standard library only.

https://cloud.google.com/compute/docs/metadata/transition-to-v1
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .encoded_documents import Lines, decoded, documents
from .text import as_bool

KEY = "disable-legacy-endpoints"

ENABLED, DISABLED, UNCLEAR = "enabled", "disabled", "unclear"

# In JSON, a slash may be written as two characters.
_SLASH = r"(?:\\?/)+"
# Without a scheme, "metadata" is also a folder, a package and a product in a User-Agent.
_SERVER = (
    rf"(?:https?:{_SLASH}metadata"
    r"|(?:(?<![\w./\\-])|(?<=//)|(?<=\\/\\/))(?:metadata\.google\.internal|169\.254\.169\.254|\[fd20:ce::254\]))"
    r"(?::\d+)?"
)
_CALLS = {
    # A script may have /computeMetadata in a variable. Others' APIs have a v1beta1, too, with projects and instances.
    "/computeMetadata/v1beta1/": re.compile(
        rf"computeMetadata{_SLASH}v1beta1(?![\w.])|(?<![\w.])v1beta1{_SLASH}(?:instance|project)(?![\w-])"
    ),
    "/0.1/": re.compile(rf"(?<![\d.])0\.1{_SLASH}meta-data(?![\w-])|{_SERVER}{_SLASH}0\.1(?![\d.])"),
}
_SCRIPT_ELSEWHERE = re.compile(r"(?:\A|-)script-url\Z")


@dataclass(frozen=True, order=True)
class Call:
    """Where a value of custom metadata calls a legacy endpoint. The text of the line is not in it: it may be secret.

    In what is encoded inside a value, `line` is where that begins.
    """

    key: str
    line: int
    endpoint: str


def state_of(value: str | None) -> str:
    """What a value of disable-legacy-endpoints says; without one, they are enabled."""
    if value is None:
        return ENABLED
    return {True: DISABLED, False: ENABLED, None: UNCLEAR}[as_bool(value)]


def effective_state(*values: str | None) -> str:
    """What is so, by the first of these values that there is: the instance's, the zone's, the project's."""
    return state_of(next((value for value in values if value is not None), None))


def overrides(own: str | None, project: str | None) -> bool:
    """Whether the own value of an instance or of a zone makes it differ from the project."""
    return own is not None and state_of(own) != state_of(project)


def calls(metadata: Mapping[str, str]) -> list[Call]:
    """All calls of legacy endpoints in custom metadata, comments included, one for each line and endpoint."""
    return sorted({call for key in metadata for call in _calls_of(key, _document(key, metadata))})


def scripts_elsewhere(metadata: Mapping[str, str]) -> list[str]:
    """The keys that say where a script is, which is thus not in the metadata to be looked at."""
    return sorted(key for key in metadata if _SCRIPT_ELSEWHERE.search(key))


def _calls_of(key: str, value: str) -> Iterator[Call]:
    for endpoint, pattern in _CALLS.items():
        lines = Lines(value)
        for match in pattern.finditer(value):
            yield Call(key, lines.at(match.start()), endpoint)
    for inner in documents(value):
        for endpoint, pattern in _CALLS.items():
            if pattern.search(inner.text):
                yield Call(key, inner.line, endpoint)


def _document(key: str, metadata: Mapping[str, str]) -> str:
    """A value as what reads it sees it: cloud-init takes user-data in base64, and compressed.

    https://cloudinit.readthedocs.io/en/latest/reference/datasources/gce.html
    """
    value = metadata[key]
    if key == "user-data" and metadata.get("user-data-encoding") == "base64":
        return decoded(value) or value
    return value
