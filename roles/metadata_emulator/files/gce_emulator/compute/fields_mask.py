# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The `fields` parameter of the Compute API: a mask for the answer. Pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from ..state.errors import invalid

Mask = dict[str, Any]
"""From a field's name to the mask below it; an empty mask selects everything."""


def parse_fields(text: str) -> Mask:
    """Parse a mask such as `items/*/instances(name,zone),nextPageToken`. Raises ApiError."""
    return _FieldsParser(text).parse()


def apply_mask(mask: Mask, document: Any) -> Any:
    """`document` with only the fields of the mask, which applies to each element of a list."""
    if not mask:
        return document
    if isinstance(document, list):
        return [apply_mask(mask, element) for element in document]
    if not isinstance(document, Mapping):
        return document
    return {
        key: apply_mask(below, value)
        for key, value in document.items()
        if (below := _mask_for_key(mask, key)) is not None
    }


_MASK_TOKEN = re.compile(r"\s*(?:(?P<name>[\w*-]+)|(?P<mark>[(),/.]))\s*")
_DEEPEST = 50


class _FieldsParser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split(text)

    def parse(self) -> Mask:
        mask = self._selection(0)
        if self._tokens:
            self._refuse()
        return mask

    def _split(self, text: str) -> list[str]:
        tokens = []
        position = 0
        while position < len(text):
            match = _MASK_TOKEN.match(text, position)
            if match is None:
                self._refuse()
            tokens.append(match.group("name") or match.group("mark"))
            position = match.end()
        return tokens

    def _selection(self, depth: int) -> Mask:
        mask: Mask = {}
        while True:
            self._path(mask, depth)
            if not self._tokens or self._tokens[0] != ",":
                return mask
            self._tokens.pop(0)

    def _path(self, mask: Mask, depth: int) -> None:
        if depth > _DEEPEST or not self._tokens or self._tokens[0] in "(),/.":
            self._refuse()
        name = self._tokens.pop(0)
        following = self._tokens[0] if self._tokens else ""
        below: Mask = {}
        if following in ("/", "."):
            self._tokens.pop(0)
            self._path(below, depth + 1)
        elif following == "(":
            self._tokens.pop(0)
            below = self._selection(depth + 1)
            if not self._tokens or self._tokens.pop(0) != ")":
                self._refuse()
        _merge(mask, name, below)

    def _refuse(self) -> NoReturn:
        raise invalid("fields", self._text, "Invalid field selection.")


def _merge(mask: Mask, name: str, below: Mask) -> None:
    if name not in mask:
        mask[name] = below
    elif not below or not mask[name]:
        mask[name] = {}
    else:
        for key, deeper in below.items():
            _merge(mask[name], key, deeper)


def _mask_for_key(mask: Mask, key: str) -> Mask | None:
    """The mask for `key`, found by its name, by `*`, or by its collection (`zones` for zones/us-east1-b)."""
    merged: Mask = {}
    for name in dict.fromkeys((key, "*", key.partition("/")[0])):
        if name in mask:
            _merge(merged, key, copy.deepcopy(mask[name]))
    return merged.get(key)
