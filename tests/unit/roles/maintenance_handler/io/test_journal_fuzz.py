# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Journals that no handler wrote: each is taken up, or refused with a sentence, and never ends a handler."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from support.journals import VALUES, WHOLE, damaged, take_up


def test_what_a_handler_wrote_is_taken_up() -> None:
    found = take_up(json.dumps(WHOLE).encode())
    assert found is not None
    assert found.incident is not None


@given(st.binary() | VALUES.map(json.dumps).map(str.encode))
def test_any_text_is_a_journal_or_refused(content: bytes) -> None:
    take_up(content)


@given(damaged(WHOLE))
def test_a_damaged_journal_is_a_journal_or_refused(content: bytes) -> None:
    take_up(content)
