# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and network tags, set by the Compute API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from support.compute_api import ComputeApi, compute_api

WEB = "zones/us-central1-a/instances/web-1"
FLEET = {"instances": [{"name": "web-1", "labels": {"app": "web"}, "tags": ["front"]}]}


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


async def web(api: ComputeApi) -> Any:
    return (await api.get(WEB))[1]


async def set_labels(api: ComputeApi, labels: Any, fingerprint: str | None = None) -> tuple[int, Any]:
    current = (await web(api))["labelFingerprint"]
    body = {"labels": labels, "labelFingerprint": current if fingerprint is None else fingerprint}
    return await api.post(f"{WEB}/setLabels", body)


async def set_tags(api: ComputeApi, tags: Any, fingerprint: str | None = None) -> tuple[int, Any]:
    current = (await web(api))["tags"]["fingerprint"]
    body = {"items": tags, "fingerprint": current if fingerprint is None else fingerprint}
    return await api.post(f"{WEB}/setTags", body)


async def test_labels_are_replaced(api: ComputeApi) -> None:
    before = await web(api)
    assert "error" not in await api.done((await set_labels(api, {"env": "prod", "größe": "", "a-b_1": "9"}))[1])
    after = await web(api)
    assert after["labels"] == {"env": "prod", "größe": "", "a-b_1": "9"}
    assert after["labelFingerprint"] != before["labelFingerprint"]
    assert (await api.get("zones/us-central1-a/instances", filter="labels.env=prod"))[1]["items"][0]["name"] == "web-1"
    api.project.reset()
    assert (await web(api))["labels"] == {"app": "web"}


async def test_tags_are_replaced_and_the_guest_sees_them(api: ComputeApi) -> None:
    assert "error" not in await api.done((await set_tags(api, ["web", "back", "web"]))[1])
    assert (await web(api))["tags"]["items"] == ["back", "web"]
    assert api.project.instances["web-1"].get("instance/tags") == ["back", "web"]
    await api.done((await set_tags(api, []))[1])
    assert "items" not in (await web(api))["tags"]


@pytest.mark.parametrize("setter", [set_labels, set_tags])
async def test_an_old_fingerprint_is_refused(api: ComputeApi, setter: Any) -> None:
    status, answer = await setter(api, None, "AAAAAAAAAAA=")
    assert (status, answer["error"]["errors"][0]["reason"]) == (412, "conditionNotMet")


@pytest.mark.parametrize("setter, first, second", [(set_labels, {"a": "1"}, {"b": "1"}), (set_tags, ["a"], ["b"])])
async def test_the_slower_of_two_writes_fails_in_its_operation(
    api: ComputeApi, setter: Any, first: Any, second: Any
) -> None:
    api.project.clock.speed = 0.01
    operations = [(await setter(api, each))[1] for each in (first, second)]
    api.project.clock.speed = 1000
    ends = [await api.done(each) for each in operations]
    assert [each.get("httpErrorStatusCode") for each in ends] == [None, 412]
    assert ends[1]["error"]["errors"][0]["code"] == "CONDITION_NOT_MET"


@pytest.mark.parametrize(
    "labels", [{"Env": "x"}, {"1a": "x"}, {"a": "X"}, {"a": 1}, {"a" * 64: "x"}, {"": "x"}, ["a"], {"a": "x y"}]
)
async def test_invalid_labels_are_refused(api: ComputeApi, labels: Any) -> None:
    status, answer = await set_labels(api, labels)
    assert (status, answer["error"]["errors"][0]["reason"]) == (400, "invalid")


async def test_more_than_64_are_refused(api: ComputeApi) -> None:
    assert (await set_labels(api, {f"l{number}": "" for number in range(65)}))[0] == 400
    assert (await set_tags(api, [f"t{number}" for number in range(65)]))[0] == 400


@pytest.mark.parametrize("tags", ["web", ["Web"], ["1"], [1], ["a-"], ["a" * 64]])
async def test_invalid_tags_are_refused(api: ComputeApi, tags: Any) -> None:
    status, answer = await set_tags(api, tags)
    assert (status, answer["error"]["errors"][0]["reason"]) == (400, "invalid")
