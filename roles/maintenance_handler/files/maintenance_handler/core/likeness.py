# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody may have meant who misspelled a name."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: the one that is most like it, or nothing."""
    # Only when something is wrong, and not in the memory of a handler with which nothing is.
    from difflib import get_close_matches

    found = get_close_matches(word, list(choices), n=1, cutoff=0.7)
    return f"; did you mean {found[0]!r}?" if found else ""
