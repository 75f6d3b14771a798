# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pauses between tries."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.backoff import backoff
from hypothesis import given
from hypothesis import strategies as st

ROLLS = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50)


@pytest.mark.parametrize(
    "first, longest, pauses",
    [(0.1, 1.5, [0.1, 0.2, 0.4, 0.8, 1.5, 1.5]), (0.5, 20.0, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0])],
)
def test_double_up_to_a_limit(first: float, longest: float, pauses: list[float]) -> None:
    assert list(itertools.islice(backoff(first, longest, lambda: 0.0), len(pauses))) == pauses


@given(ROLLS, st.sampled_from([0.5, 1.0]))
def test_are_shortened_at_random_by_up_to_the_spread(rolls: list[float], spread: float) -> None:
    whole = backoff(0.1, 1.5, lambda: 0.0)
    for pause in itertools.islice(backoff(0.1, 1.5, iter(rolls).__next__, spread=spread), len(rolls)):
        longest = next(whole)
        assert longest * (1 - spread) <= pause <= longest
