# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What galaxy-importer warns of in plugins, and neither ruff nor ansible-test does."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def spaces_before_colons(text: str) -> Iterator[int]:
    """The lines with a slice such as [a : b + c], as ruff formats it, which pycodestyle calls E203."""
    brackets: list[str] = []
    end = (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        # Since Python 3.12, a text in an f-string is a token, too.
        mark = token.string if token.type == tokenize.OP else ""
        if mark in ("(", "[", "{"):
            brackets.append(mark)
        elif mark in (")", "]", "}"):
            brackets.pop()
        elif mark == ":" and brackets[-1:] == ["["] and token.start > end and token.start[0] == end[0]:
            yield token.start[0]
        end = token.end


def test_slices_have_no_space_before_the_colon() -> None:
    """Name the bound instead: end = b + c, then [a:end]."""
    assert list(spaces_before_colons("x[a:b]\nx[f(a) : b]\nx[{1 : 2}[1] :]\nx = {'a' : 1}\n")) == [2, 3]
    found = [
        f"{path.relative_to(CHECKOUT)}:{line}"
        for path in sorted((CHECKOUT / "plugins").rglob("*.py"))
        for line in spaces_before_colons(path.read_text(encoding="utf-8"))
    ]
    assert found == []
