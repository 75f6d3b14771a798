# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of the metadata server's error pages. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import re

_TAG = r"(<[^<>]*>)"
_STOCK = ("title", "style", "script", "b", "ins")


def text_of(page: bytes) -> str:
    """The text of an error page, up to 300 characters, without the stock phrases of Google's pages."""
    text = page[:8192].decode("utf-8", "replace")
    if "<" in text:
        text = _without_markup(text)
        for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&")):
            text = text.replace(entity, character)
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return " ".join(words)[:300]


def _without_markup(text: str) -> str:
    """The text between the tags, without the elements of stock phrases. Takes linear time for any text."""
    kept: list[str] = []
    within, mark = "", 0
    for number, piece in enumerate(re.split(_TAG, text)):
        if number % 2 == 0:
            kept.append(piece)
            continue
        name = piece[1:-1].lstrip("/").split(" ", 1)[0].lower()
        if within and piece.startswith("</") and name == within:
            del kept[mark:]
            within = ""
        elif not within and name in _STOCK and not piece.startswith("</"):
            within, mark = name, len(kept)
    return " ".join(kept)
