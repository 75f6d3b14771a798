# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, sizes and the query budget of guest attributes."""

from __future__ import annotations

import pytest
from ansible_collections.gce.guest.plugins.module_utils._metadata.text import LARGEST_VALUE
from ansible_collections.gce.guest.plugins.module_utils._vm.guest_attributes import (
    GuestAttributeError,
    InvalidName,
    QueryBudget,
    ValueTooLarge,
    attribute_path,
    attribute_value,
    namespace_path,
    seconds_for,
)
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.mark.parametrize("name", ["a", "hostkeys", "ecdsa-sha2-nistp256", "LongName", "_", "-", "9", "a" * 128])
def test_path(name: str) -> None:
    assert attribute_path(name, "key") == f"instance/guest-attributes/{name}/key"
    assert attribute_path("space", name) == f"instance/guest-attributes/space/{name}"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "a.b", "a\n", "\n", "é", "²", "a" * 129, "a?b", "%41"])
def test_path_rejects_invalid_names(name: str) -> None:
    with pytest.raises(InvalidName, match=r"^The namespace of a guest attribute .*\.$"):
        attribute_path(name, "key")
    with pytest.raises(InvalidName, match=r"^The key of a guest attribute .*\.$"):
        attribute_path("space", name)


@pytest.mark.parametrize(
    "value, sent",
    [
        ("", b""),
        (b"\xff\x00", b"\xff\x00"),
        ("é", b"\xc3\xa9"),
        ("\udcff", b"\xff"),
        ("é" * (LARGEST_VALUE // 2), None),
    ],
)
def test_value(value: str | bytes, sent: bytes | None) -> None:
    assert attribute_value(value) == (str(value).encode() if sent is None else sent)


@pytest.mark.parametrize("value", [b"x" * (LARGEST_VALUE + 1), "é" * (LARGEST_VALUE // 2) + "x"])
def test_value_rejects_too_many_bytes(value: str | bytes) -> None:
    with pytest.raises(ValueTooLarge, match="has 262145 bytes, but may have 262144"):
        attribute_value(value)


def test_value_rejects_a_lone_surrogate() -> None:
    with pytest.raises(GuestAttributeError, match="neither bytes nor Unicode"):
        attribute_value("\ud83d")


def test_error_for_a_value_has_its_name() -> None:
    with pytest.raises(ValueTooLarge, match=r"^The value of the guest attribute 'big' has 262145 bytes"):
        attribute_value(b"x" * (LARGEST_VALUE + 1), "big")


def test_namespace_is_a_directory() -> None:
    assert namespace_path("ns") == "instance/guest-attributes/ns/"
    with pytest.raises(InvalidName):
        namespace_path("..")


def test_errors_have_a_common_base() -> None:
    assert issubclass(InvalidName, GuestAttributeError)
    assert issubclass(ValueTooLarge, GuestAttributeError)


def test_budget_of_given_queries() -> None:
    budget = QueryBudget()

    assert [budget.take(100.0) for _unused in range(11)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 60]
    assert budget.take(161.5) == 0


def test_budget_counts_from_the_answer() -> None:
    budget = QueryBudget()
    for answered in (100.0, 100.2, 104.0):
        budget.take(100.0)
        budget.answered(answered)

    assert [budget.take(104.0) for _unused in range(4)] == [0, 0, 1, 1]


@pytest.mark.parametrize("queries, seconds", [(0, 0), (1, 0), (3, 0), (4, 1), (10, 3), (11, 60), (32, 180)])
def test_seconds_for_queries(queries: int, seconds: float) -> None:
    assert seconds_for(queries) == seconds


@given(st.lists(st.integers(0, 30)))
@example([0] * 40)
def test_budget_holds_in_every_minute_and_second_without_needless_waits(pauses: list[int]) -> None:
    """With any pattern of calls, no query is too early, and none later than one of the two limits requires."""
    budget, now, sent = QueryBudget(), 0.0, list[float]()
    for pause in pauses:
        now += pause
        wait = budget.take(now)
        sent.append(now + wait)
        limits = [sent[-11] + 60] if len(sent) > 10 else []
        limits += [sent[-4] + 1] if len(sent) > 3 else []
        assert wait >= 0
        assert all(sent[-1] >= limit for limit in limits)
        assert wait == 0 or sent[-1] in limits
