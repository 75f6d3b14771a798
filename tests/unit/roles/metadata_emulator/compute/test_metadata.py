# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom metadata and guest attributes by the Compute API, and the guest's view."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gce_emulator.cli import Emulator
from gce_emulator.state.faults import Fault
from gce_emulator.state.fleet_file import parse
from support.compute_api import PROJECT, SERVICE, ComputeApi, compute_api

FLEET = {"attributes": {"tier": "test"}, "instances": [{"name": "web-1", "attributes": {"a": "1"}}, {"name": "web-2"}]}
ZONE = "zones/us-central1-a"
WEB = f"{ZONE}/instances/web-1"
CONFLICT = "Supplied fingerprint does not match current metadata fingerprint."


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


def items(**attributes: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in attributes.items()]


async def metadata(api: ComputeApi, path: str = WEB) -> Any:
    _unused, resource = await api.get(path)
    return resource["metadata" if path else "commonInstanceMetadata"]


async def test_metadata_is_replaced_as_a_whole(api: ComputeApi) -> None:
    before = await metadata(api)
    status, operation = await api.post(
        f"{WEB}/setMetadata", {"fingerprint": before["fingerprint"], "items": items(b="2", c="3")}
    )
    assert (status, operation["operationType"], operation["status"]) == (200, "setMetadata", "PENDING")
    assert "error" not in await api.done(operation)
    after = await metadata(api)
    assert after["items"] == items(b="2", c="3")
    assert after["fingerprint"] != before["fingerprint"]


async def test_missing_items_remove_all(api: ComputeApi) -> None:
    """google-cloud-compute leaves an empty list out of the body."""
    await api.done((await api.post(f"{WEB}/setMetadata", {"fingerprint": (await metadata(api))["fingerprint"]}))[1])
    assert (await metadata(api)).keys() == {"fingerprint", "kind"}


async def test_write_of_the_same_content_is_a_write(api: ComputeApi) -> None:
    before = await metadata(api)
    await api.done((await api.post(f"{WEB}/setMetadata", before))[1])
    after = await metadata(api)
    assert after["items"] == before["items"]
    assert after["fingerprint"] != before["fingerprint"]


async def test_project_metadata_is_a_global_operation(api: ComputeApi) -> None:
    before = await metadata(api, "")
    _unused, operation = await api.post(
        "setCommonInstanceMetadata", {"fingerprint": before["fingerprint"], "items": items(tier="prod")}
    )
    assert operation["selfLink"].startswith(f"{SERVICE}projects/{PROJECT}/global/operations/operation-")
    assert operation["targetLink"] == f"{SERVICE}projects/{PROJECT}"
    assert "error" not in await api.done(operation)
    assert (await metadata(api, ""))["items"] == items(tier="prod")


async def test_project_metadata_changes_the_fingerprint_of_instances(api: ComputeApi) -> None:
    """GoogleCloudPlatform/magic-modules#1614"""
    before = await metadata(api)
    await api.done((await api.post("setCommonInstanceMetadata", await metadata(api, "")))[1])
    after = await metadata(api)
    assert after["items"] == before["items"]
    assert after["fingerprint"] != before["fingerprint"]


@pytest.mark.parametrize("fingerprint", ["zhma6O1w2l8=", ""])
@pytest.mark.parametrize("method", [f"{WEB}/setMetadata", "setCommonInstanceMetadata"])
async def test_stale_or_missing_fingerprint_is_a_conflict(api: ComputeApi, method: str, fingerprint: str) -> None:
    status, answer = await api.post(method, {"fingerprint": fingerprint, "items": items(b="2")})
    assert status == 412
    assert answer["error"]["errors"] == [
        {
            "message": CONFLICT,
            "domain": "global",
            "reason": "conditionNotMet",
            "location": "If-Match",
            "locationType": "header",
        }
    ]


async def test_the_slower_of_two_writers_conflicts_in_its_operation() -> None:
    """Clients that retry only HTTP 412 miss this form (CloudVE/cloudbridge#349, ray-project/ray#60429)."""
    async with compute_api({**FLEET, "speed": 0.01}) as api:
        fingerprint = (await metadata(api))["fingerprint"]
        started = [
            (await api.post(f"{WEB}/setMetadata", {"fingerprint": fingerprint, "items": items(writer=writer)}))[1]
            for writer in ("first", "second")
        ]
        api.project.clock.speed = 1000
        done = [await api.done(operation) for operation in started]
        winner, loser = sorted(done, key=lambda operation: "error" in operation)
        assert "error" not in winner
        assert loser["error"]["errors"] == [{"code": "CONDITION_NOT_MET", "message": CONFLICT}]
        assert (loser["httpErrorStatusCode"], loser["httpErrorMessage"]) == (412, "PRECONDITION FAILED")
        assert (await metadata(api))["items"] == items(writer="first" if winner is done[0] else "second")


async def test_conflict_can_be_injected_in_both_forms(api: ComputeApi) -> None:
    for kind in ("conflict", "operation-conflict"):
        api.project.faults.inject(Fault(kind, face="compute", instance="web-1", count=1))
    status, answer = await api.post(f"{WEB}/setMetadata", await metadata(api))
    assert (status, answer["error"]["message"]) == (412, CONFLICT)
    status, operation = await api.post(f"{WEB}/setMetadata", await metadata(api))
    assert status == 200
    assert (await api.done(operation))["error"]["errors"][0] == {"code": "CONDITION_NOT_MET", "message": CONFLICT}
    assert "error" not in await api.done((await api.post(f"{WEB}/setMetadata", await metadata(api)))[1])


@pytest.mark.parametrize("method", [f"{WEB}/setMetadata", "setCommonInstanceMetadata"])
async def test_request_id_is_replayed_despite_an_old_fingerprint(api: ComputeApi, method: str) -> None:
    body = {**await metadata(api, WEB if "instances" in method else ""), "items": items(b="2")}
    request_id = str(uuid.uuid4())
    _unused, first = await api.post(method, body, requestId=request_id)
    await api.done(first)
    status, again = await api.post(method, body, requestId=request_id)
    assert (status, again["name"]) == (200, first["name"])


@pytest.mark.parametrize(
    "change, code, reason, message",
    [
        (
            {"items": [{"key": "a b", "value": ""}]},
            400,
            "invalid",
            "Invalid value for field 'metadata.items[0].key': 'a b'. Must be a match of regex '[a-zA-Z0-9-_]{1,128}'",
        ),
        (
            {"items": [{"key": "k" * 129, "value": ""}]},
            400,
            "invalid",
            f"Invalid value for field 'metadata.items[0].key': '{'k' * 129}'. "
            "Must be a match of regex '[a-zA-Z0-9-_]{1,128}'",
        ),
        (
            {"items": [*items(a="1"), {"key": "b", "value": "x" * 262145}]},
            413,
            "fieldSizeTooLarge",
            "Value for field 'metadata.items[1].value' is too large: maximum size 262144 character(s); "
            "actual size 262145.",
        ),
        (
            {"items": items(a="x" * 262144, b="x" * 262144)},
            413,
            "fieldSizeTooLarge",
            "Value for field 'metadata.items' is too large: maximum size 524288 character(s); actual size 524290.",
        ),
        (
            {"items": [*items(a="1"), *items(a="2")]},
            400,
            "invalid",
            "Invalid value for field 'metadata': ''. Metadata has duplicate keys: a",
        ),
        (
            {"items": [{"key": "a", "value": True}]},
            400,
            "invalid",
            "Invalid value for field 'metadata.items[0].value': 'True'. Must be a string.",
        ),
        (
            {"items": [{"key": "a", "value": "\ud800"}]},
            400,
            "parseError",
            "Invalid JSON payload received. It has half of a surrogate pair, which is not a character.",
        ),
        ({"items": "all"}, 400, "invalid", "Invalid value for field 'metadata.items': 'all'. Must be a list."),
        (
            {"items": ["a"]},
            400,
            "invalid",
            "Invalid value for field 'metadata.items[0]': 'a'. Must be an object with key and value.",
        ),
        (
            {"fingerprint": "not base64"},
            400,
            "invalid",
            "Invalid value for field 'metadata.fingerprint': 'not base64'. Must be a base64 encoded string.",
        ),
    ],
)
async def test_invalid_metadata_is_refused(
    api: ComputeApi, change: dict[str, Any], code: int, reason: str, message: str
) -> None:
    before = await metadata(api)
    status, answer = await api.post(f"{WEB}/setMetadata", {**before, **change})
    assert (status, answer["error"]["message"]) == (code, message)
    assert answer["error"]["errors"][0]["reason"] == reason
    assert await metadata(api) == before


async def test_the_largest_value_and_the_longest_key_are_accepted(api: ComputeApi) -> None:
    body = {**await metadata(api), "items": items(**{"k" * 128: "é" * 131072})}
    assert "error" not in await api.done((await api.post(f"{WEB}/setMetadata", body))[1])
    assert (await metadata(api))["items"] == body["items"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"items":' * 500 + b"1" + b"}" * 500,
        b'{"n": ' + b"9" * 5000 + b"}",
        b'{"labels": {"\\udc00": "x"}}',
    ],
    ids=["cut", "list", "not UTF-8", "endless", "deep", "long number", "half a surrogate pair"],
)
async def test_a_body_must_be_a_json_object(api: ComputeApi, body: bytes) -> None:
    async with api.client.post(f"/compute/v1/projects/{PROJECT}/{WEB}/setMetadata", data=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["message"].startswith("Invalid JSON payload received. ")


async def test_a_body_that_is_too_large_is_refused(api: ComputeApi) -> None:
    body = io.BytesIO(b" " * 5_000_000)
    async with api.client.post(f"/compute/v1/projects/{PROJECT}/{WEB}/setMetadata", data=body) as response:
        assert response.status == 413
        assert (await response.json())["error"]["code"] == 413


# Guest attributes


@pytest.mark.parametrize(
    "query, found",
    [
        ({"queryPath": "ci/"}, [("ci", "build", "7"), ("ci", "state", "ok")]),
        ({"queryPath": "ci"}, [("ci", "build", "7"), ("ci", "state", "ok")]),
        ({"queryPath": "ci/build"}, [("ci", "build", "7")]),
        ({}, [("ci", "build", "7"), ("ci", "state", "ok"), ("hostkeys", "ssh-rsa", "AAAA")]),
    ],
)
async def test_guest_attributes_by_path(
    api: ComputeApi, query: dict[str, str], found: list[tuple[str, str, str]]
) -> None:
    for path, value in (("ci/state", "ok"), ("ci/build", "7"), ("hostkeys/ssh-rsa", "AAAA")):
        api.project.instances["web-1"].set(f"instance/guest-attributes/{path}", value)
    status, answer = await api.get(f"{WEB}/getGuestAttributes", **query)
    assert (status, answer["kind"], answer["queryPath"]) == (200, "compute#guestAttributes", query.get("queryPath", ""))
    assert answer["selfLink"] == f"{SERVICE}projects/{PROJECT}/{WEB}/getGuestAttributes"
    assert [(item["namespace"], item["key"], item["value"]) for item in answer["queryValue"]["items"]] == found


async def test_guest_attribute_by_variable_key(api: ComputeApi) -> None:
    api.project.instances["web-1"].set("instance/guest-attributes/ci/state", "ok")
    _unused, answer = await api.get(f"{WEB}/getGuestAttributes", variableKey="ci/state")
    assert (answer["variableKey"], answer["variableValue"]) == ("ci/state", "ok")


async def test_guest_attributes_never_written_are_not_found(api: ComputeApi) -> None:
    status, answer = await api.get(f"{WEB}/getGuestAttributes", queryPath="ci/")
    assert status == 404
    assert answer["error"]["message"] == "The resource 'ci/' of type 'Guest Attribute' was not found."


# Both faces


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    started = Emulator(parse({"speed": 1000, **FLEET}))
    await started.start()
    yield started
    await started.stop()


async def hang(session: aiohttp.ClientSession, emulator: Emulator, path: str, name: str = "web-1") -> asyncio.Task[str]:
    """A GET that hangs on a metadata server."""
    held = emulator.metadata[name].held

    async def wait() -> str:
        url = f"http://{emulator.metadata[name].address}/computeMetadata/v1/{path}"
        query, headers = {"wait_for_change": "true"}, {"Metadata-Flavor": "Google"}
        async with session.get(url, params=query, headers=headers) as answer:
            return await answer.text()

    task = asyncio.create_task(wait())
    while emulator.metadata[name].held == held:
        await asyncio.sleep(0)
    return task


async def write(session: aiohttp.ClientSession, emulator: Emulator, path: str, method: str, attributes: Any) -> None:
    root = f"{emulator.ready()['compute']}/compute/v1/projects/{PROJECT}"
    async with session.get(f"{root}{path}") as answer:
        resource = await answer.json()
    body = {**(resource.get("metadata") or resource["commonInstanceMetadata"]), "items": items(**attributes)}
    async with session.post(f"{root}{path}/{method}", json=body) as answer:
        assert answer.status == 200


async def test_set_metadata_answers_hanging_gets(emulator: Emulator) -> None:
    async with aiohttp.ClientSession() as session:
        new = await hang(session, emulator, "instance/attributes/?recursive=true")
        other = await hang(session, emulator, "instance/attributes/?recursive=true", "web-2")
        await write(session, emulator, f"/{WEB}", "setMetadata", {"a": "1", "b": "2"})
        assert await new == '{"a":"1","b":"2"}'
        assert not other.done()
        gone = await hang(session, emulator, "instance/attributes/a")
        await write(session, emulator, f"/{WEB}", "setMetadata", {"b": "2"})
        assert "404." in await gone
        other.cancel()


async def test_common_metadata_answers_hanging_gets_of_all_guests(emulator: Emulator) -> None:
    async with aiohttp.ClientSession() as session:
        waiting = [await hang(session, emulator, "project/attributes/tier", name) for name in ("web-1", "web-2")]
        await write(session, emulator, "", "setCommonInstanceMetadata", {"tier": "prod"})
        assert [await each for each in waiting] == ["prod", "prod"]


async def test_simulated_maintenance_answers_hanging_gets(emulator: Emulator) -> None:
    async with aiohttp.ClientSession() as session:
        told = await hang(session, emulator, "instance/maintenance-event")
        url = f"{emulator.ready()['compute']}/compute/v1/projects/{PROJECT}/{WEB}/simulateMaintenanceEvent"
        async with session.post(url) as answer:
            assert answer.status == 200
        assert await told == "MIGRATE_ON_HOST_MAINTENANCE"
