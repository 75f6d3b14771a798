# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legacy endpoints of the metadata server: whether custom metadata disables them, and where it calls them. Pure.

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
# Without a scheme, "metadata" may also be a folder, a package or a product in a User-Agent.
_SERVER = (
    rf"(?:https?:{_SLASH}metadata"
    r"|(?:(?<![\w./\\-])|(?<=//)|(?<=\\/\\/))(?:metadata\.google\.internal|169\.254\.169\.254|\[fd20:ce::254\]))"
    r"(?::\d+)?"
)
_CALLS = {
    # A script may have /computeMetadata in a variable. Other APIs have a v1beta1 with "projects" and "instances".
    "/computeMetadata/v1beta1/": re.compile(
        rf"computeMetadata{_SLASH}v1beta1(?![\w.])|(?<![\w.])v1beta1{_SLASH}(?:instance|project)(?![\w-])"
    ),
    "/0.1/": re.compile(rf"(?<![\d.])0\.1{_SLASH}meta-data(?![\w-])|{_SERVER}{_SLASH}0\.1(?![\d.])"),
}
_SCRIPT_ELSEWHERE = re.compile(r"(?:\A|-)script-url\Z")


@dataclass(frozen=True, order=True)
class Call:
    """A call of a legacy endpoint in a value of custom metadata, without the line's text, which may be secret.

    If the call is in an encoded document, `line` is where that begins.
    """

    key: str
    line: int
    endpoint: str


def state_of(value: str | None) -> str:
    """The state that a value of disable-legacy-endpoints sets; without a value, they are enabled."""
    if value is None:
        return ENABLED
    return {True: DISABLED, False: ENABLED, None: UNCLEAR}[as_bool(value)]


def effective_state(*values: str | None) -> str:
    """The state that the first existing value sets: of the instance, the zone or the project."""
    return state_of(next((value for value in values if value is not None), None))


def overrides(own: str | None, project: str | None) -> bool:
    """Whether the value of an instance or a zone makes its state differ from the project's."""
    return own is not None and state_of(own) != state_of(project)


def calls(metadata: Mapping[str, str]) -> list[Call]:
    """All calls of legacy endpoints in custom metadata, comments included, one for each line and endpoint."""
    return sorted({call for key in metadata for call in _calls_of(key, _document(key, metadata))})


def scripts_elsewhere(metadata: Mapping[str, str]) -> list[str]:
    """The keys with the URL of a script, whose text is thus not in the metadata."""
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
    """A value as its reader sees it: cloud-init decodes and decompresses user-data.

    https://cloudinit.readthedocs.io/en/latest/reference/datasources/gce.html
    """
    value = metadata[key]
    if key == "user-data" and metadata.get("user-data-encoding") == "base64":
        return decoded(value) or value
    return value
