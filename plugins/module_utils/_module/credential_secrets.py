# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private parts of credentials in JSON, such as the key of a service account. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# The secret fields in the files of Google's client libraries and gcloud.
PRIVATE_FIELDS = ("private_key", "client_secret", "refresh_token", "access_token", "id_token")
# A shorter text is not a credential, and hiding it would hide much else.
_SHORTEST = 8


def private_parts(value: Any) -> set[str]:
    """The secret texts in options, in each form that a result may have them in."""
    return {form for text in _private_texts(value) if len(text) >= _SHORTEST for form in _forms(text)}


def _private_texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            if name in PRIVATE_FIELDS and isinstance(below, str):
                yield below
            else:
                yield from _private_texts(below)
    elif isinstance(value, (list, tuple)):
        for below in value:
            yield from _private_texts(below)
    elif isinstance(value, str) and any(field in value for field in PRIVATE_FIELDS):
        document = _object(value)
        if document is not None:
            yield from _private_texts(document)


def _object(text: str) -> Any:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, (dict, list)) else None


def _forms(text: str) -> Iterator[str]:
    """A text as it is, without its line end, and as JSON and Python write it in quotes."""
    for form in (text, text.strip()):
        yield form
        yield json.dumps(form)[1:-1]
        yield repr(form)[1:-1]
