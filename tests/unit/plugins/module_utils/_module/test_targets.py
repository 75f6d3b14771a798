# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline of modules that change many resources."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi, Time, connect
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest, ComputeUnavailable
from ansible_collections.gce.guest.plugins.module_utils._module.api import PartialFailure
from ansible_collections.gce.guest.plugins.module_utils._module.targets import (
    Target,
    apply_each,
    checked_result,
    missing_rows,
    plan_each,
    refuse_empty,
)

from support.shared_time import SharedTime


@dataclass(frozen=True)
class Change:
    changed: bool
    applied: bool = False


def targets(*names: str) -> list[Target[Change]]:
    return [Target(name, "z") for name in names]


def planned(target: Target[Change]) -> Change:
    """By its name: a change, no change, or a refusal."""
    if target.name == "refused":
        raise ComputeBadRequest("Not this one.")
    return Change(target.name != "same")


@pytest.fixture
def time() -> SharedTime:
    return SharedTime()


@pytest.fixture
def api(time: SharedTime) -> ComputeApi:
    options: dict[str, Any] = {"project": "acme", "access_token": "x", "api_endpoint": "http://127.0.0.1:1"}
    options.update(retry_for=0.0, request_timeout=1.0, requests_per_minute=0)
    return connect(options.get, time=Time(time.clock, time.sleep))


def module(*, check_mode: bool = False) -> Any:
    return SimpleNamespace(check_mode=check_mode, params={"timeout": 5.0})


def test_a_refused_plan_does_not_stop_the_others() -> None:
    few = targets("web-1", "refused", "same")
    plan_each(few, planned)
    assert [(each.name, each.changed, str(each.error or "")) for each in few] == [
        ("web-1", True, ""),
        ("refused", False, "Not this one."),
        ("same", False, ""),
    ]


def test_only_changes_are_applied_each_with_its_own_deadline(api: ComputeApi, time: SharedTime) -> None:
    few = targets("web-1", "same", "refused", "web-2")
    plan_each(few, planned)
    deadlines = {}

    def apply(target: Target[Change], bounded: ComputeApi) -> Change:
        deadlines[target.name] = bounded.deadline
        if target.name == "web-2":
            raise ComputeUnavailable("Gone.")
        return Change(changed=True, applied=True)

    apply_each(module(), api, few, apply)
    assert deadlines == dict.fromkeys(("web-1", "web-2"), time.now + 5)
    assert few[0].done == Change(changed=True, applied=True)
    assert (few[3].changed, str(few[3].error)) == (False, "Gone.")
    assert few[3].row(extra=1) == {
        "name": "web-2",
        "zone": "z",
        "changed": False,
        "failed": True,
        "extra": 1,
        "msg": "Gone.",
    }


def test_check_mode_applies_nothing(api: ComputeApi) -> None:
    few = targets("web-1")
    plan_each(few, planned)
    apply_each(module(check_mode=True), api, few, lambda _target, _api: pytest.fail("applied"))
    assert few[0].changed


def rows(failed: int, total: int, name: str = "web-{}") -> list[dict[str, Any]]:
    return [{"name": name.format(number), "failed": number < failed, "msg": f"M{number}."} for number in range(total)]


class TestResult:
    def test_without_a_failure_is_returned(self) -> None:
        assert checked_result({"a": 1}, rows(0, 3)) == {"a": 1}

    @pytest.mark.parametrize(
        "failed, total, message",
        [
            (1, 1, "M0."),
            (1, 2, "1 of 2 instances failed. web-0: M0."),
            (5, 9, "5 of 9 instances failed. web-0: M0. web-1: M1. web-2: M2. And 2 more, see the results."),
        ],
    )
    def test_with_failures_has_the_first_ones(self, failed: int, total: int, message: str) -> None:
        with pytest.raises(PartialFailure) as caught:
            checked_result({"a": 1}, rows(failed, total))
        assert str(caught.value) == message
        assert caught.value.result == {"a": 1}

    def test_counts_instances_of_the_same_name_in_two_zones(self) -> None:
        with pytest.raises(PartialFailure, match="2 of 3 instances failed"):
            checked_result({}, rows(2, 3, "web"))

    def test_has_missing_instances(self) -> None:
        assert missing_rows({"web-9": ComputeBadRequest("No such.")}, changed=False) == [
            {"name": "web-9", "zone": None, "failed": True, "changed": False, "msg": "No such."}
        ]


def test_an_empty_selection_is_refused() -> None:
    refuse_empty({"instance": None, "filter": "a = b"})
    with pytest.raises(ComputeBadRequest, match="filter is empty"):
        refuse_empty({"instance": None, "filter": ""})
