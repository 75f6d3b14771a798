# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.executor.playbook_executor import PlaybookExecutor
from ansible_collections.gce.guest.plugins.plugin_utils._batches import (
    batches_of,
    is_too_many,
    named,
    number_of,
    one_line,
)


class _Inventory:
    def __init__(self, hosts: list[str]) -> None:
        self._hosts = hosts

    def get_hosts(self, *_arguments: Any, **_keywords: Any) -> list[str]:
        return list(self._hosts)


class _Play:
    hosts = "all"
    order = None

    def __init__(self, serial: list[Any]) -> None:
        self.serial = serial


@pytest.mark.parametrize("count", [0, 1, 2, 7, 10, 33])
@pytest.mark.parametrize(
    "sizes", [[1, "10%", "30%", "100%"], [1], [2, 3], ["50%"], ["1%"], [0], [100], ["3", 1], [1, "0%"], [1, 0]]
)
def test_they_are_those_of_the_keyword_serial(count: int, sizes: list[Any]) -> None:
    hosts = [f"web-{number}" for number in range(count)]
    executor = PlaybookExecutor.__new__(PlaybookExecutor)
    executor._inventory = _Inventory(hosts)
    expected = executor._get_serialized_batches(_Play(sizes))
    assert batches_of(hosts, sizes) == expected


def test_number() -> None:
    assert [number_of(host, [["a"], ["b", "c"]]) for host in "abc"] == [1, 2, 2]
    with pytest.raises(ValueError, match="d is in no batch"):
        number_of("d", [["a"]])


@pytest.mark.parametrize(
    "failed, of, most, stops",
    [(0, 5, 0, False), (1, 5, 0, True), (1, 10, 10, False), (2, 10, 10, True), (1, 1, 100, True), (4, 5, 100, False)],
)
def test_more_than_the_percentage_or_all(failed: int, of: int, most: float, stops: bool) -> None:
    assert is_too_many(failed, of, most) is stops


def test_texts() -> None:
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("x" * 400) == "x" * 299 + "…"
    assert one_line(None) == ""
    assert (named([]), named(["a", "b"])) == ("none", "2: a, b")
