# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Suggestions for misspelled names."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the most similar known one, or nothing."""
    # Imported when something is wrong, so that it costs a healthy handler no memory.
    from difflib import get_close_matches

    found = get_close_matches(word, list(choices), n=1, cutoff=0.7)
    return f"; did you mean {found[0]!r}?" if found else ""
