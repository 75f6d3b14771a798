# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Invalid journals are read or rejected with a message, and never end a handler."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from support.journals import VALUES, WHOLE, damaged, take_up


def test_journal_of_a_handler_is_resumed() -> None:
    found = take_up(json.dumps(WHOLE).encode())
    assert found is not None
    assert found.incident is not None


@given(st.binary() | VALUES.map(json.dumps).map(str.encode))
def test_any_text_is_parsed_or_rejected(content: bytes) -> None:
    take_up(content)


@given(damaged(WHOLE))
def test_damaged_journal_is_parsed_or_rejected(content: bytes) -> None:
    take_up(content)
