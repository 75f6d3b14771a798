# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans for a namespace of guest attributes; that they are carried out is tested with the module."""

from __future__ import annotations

from ansible_collections.gce.guest.plugins.module_utils._vm.attribute_namespace import plan
from hypothesis import given
from hypothesis import strategies as st

ATTRIBUTES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"))


@given(ATTRIBUTES, ATTRIBUTES, st.booleans())
def test_present(current: dict[str, str], wanted: dict[str, str], purge: bool) -> None:
    plan_ = plan(current, wanted, purge=purge)

    assert plan_.after == (wanted if purge else {**current, **wanted})
    assert plan_.before == current
    assert all(current.get(key) != text for key, text in plan_.changes.items())
    assert set(plan_.deleted) == (current.keys() - wanted.keys() if purge else set())
    assert not plan(plan_.after, wanted, purge=purge).changes


@given(ATTRIBUTES, ATTRIBUTES, st.booleans())
def test_absent(current: dict[str, str], named: dict[str, str], purge: bool) -> None:
    plan_ = plan(current, named, present=False, purge=purge)

    assert plan_.after == ({} if purge else {key: current[key] for key in current if key not in named})
    assert plan_.written == []
    assert not plan(plan_.after, named, present=False, purge=purge).changes


@given(ATTRIBUTES, ATTRIBUTES, ATTRIBUTES)
def test_each_change_is_applied_lost_or_overwritten(
    current: dict[str, str], wanted: dict[str, str], now: dict[str, str]
) -> None:
    plan_ = plan(current, wanted, purge=True)
    arrived = {key for key, text in plan_.changes.items() if now.get(key) == text}

    parts = [arrived, set(plan_.not_arrived(now)), set(plan_.overtaken(now))]
    assert sum(map(len, parts)) == len(plan_.changes)
    assert set.union(*parts) == set(plan_.changes)


def test_number_of_requests_and_seconds() -> None:
    assert [(made.queries, made.seconds) for made in (plan({}, {}), plan({}, {"a": "1"}))] == [(1, 0), (3, 0)]
    many = plan({"old": "x"}, {str(number): "x" for number in range(29)}, purge=True)
    assert (many.queries, many.seconds) == (32, 180)
