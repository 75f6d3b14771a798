# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several calls of the emulated Compute API in one request."""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gce_emulator.state.faults import Fault
from support.compute_api import PROJECT, ComputeApi, compute_api

FLEET = {
    "instances": [{"name": "web-1"}, {"name": "web-2", "zone": "europe-west1-b"}],
}
WEB_1 = f"/compute/v1/projects/{PROJECT}/zones/us-central1-a/instances/web-1"
WEB_2 = f"/compute/v1/projects/{PROJECT}/zones/europe-west1-b/instances/web-2"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


def part(request: str, *, content_id: str = "", body: str = "", headers: str = "", end: str = "\r\n") -> str:
    lines = ["--limit", "Content-Type: application/http", "MIME-Version: 1.0"]
    lines += [f"Content-ID: {content_id}"] if content_id else []
    lines += ["", f"{request} HTTP/1.1", *([headers] if headers else []), "", body]
    return end.join(lines)


async def send(
    api: ComputeApi,
    *parts: str,
    end: str = "\r\n",
    content_type: str = 'multipart/mixed; boundary="limit"',
    **headers: str,
) -> tuple[int, str, bytes]:
    body = end.join([*parts, f"--limit--{end}"])
    async with api.client.post(
        "/batch/compute/v1", data=body.encode(), headers={"Content-Type": content_type, **headers}
    ) as response:
        return response.status, response.headers["Content-Type"], await response.read()


async def batch(api: ComputeApi, *parts: str, **options: Any) -> list[tuple[str | None, int, Any]]:
    """Content id, status and document of each reply."""
    status, content_type, body = await send(api, *parts, **options)
    assert status == 200, body
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        f"Content-Type: {content_type}\r\n\r\n".encode() + body
    )
    replies = []
    for each in message.iter_parts():
        assert each.get_content_type() == "application/http"
        head, _unused, document = str(each.get_payload()).partition("\r\n\r\n")
        replies.append((each["Content-ID"], int(head.split()[1]), json.loads(document)))
    return replies


@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=["CRLF", "LF"])
async def test_calls_are_answered_in_their_order_and_by_their_ids(api: ComputeApi, end: str) -> None:
    replies = await batch(
        api,
        part(f"GET {WEB_1}", content_id="<b29c5de2-0db4 + 1>", end=end),
        part(f"GET {WEB_2}?fields=name,zone", content_id="<b29c5de2-0db4 + 2>", end=end),
        part(f"GET {WEB_1}0", content_id="three", end=end),
        part("GET /nonsense", end=end),
        end=end,
    )
    assert [(content_id, status) for content_id, status, _document in replies] == [
        ("<response-b29c5de2-0db4 + 1>", 200),
        ("<response-b29c5de2-0db4 + 2>", 200),
        ("response-three", 404),
        (None, 404),
    ]
    assert replies[0][2]["name"] == "web-1"
    assert sorted(replies[1][2]) == ["name", "zone"]
    assert "web-10' was not found" in replies[2][2]["error"]["message"]


@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=["CRLF", "LF"])
async def test_a_call_has_a_body(api: ComputeApi, end: str) -> None:
    before = (await batch(api, part(f"GET {WEB_1}", end=end), end=end))[0][2]["metadata"]
    body = json.dumps({**before, "items": [{"key": "script", "value": "#!/bin/sh\n--limit\n\necho é\n"}]}, indent=2)
    headers = f"Content-Type: application/json{end}Content-Length: {len(body)}"
    posted = await batch(api, part(f"POST {WEB_1}/setMetadata", body=body, headers=headers, end=end), end=end)
    assert posted[0][1] == 200
    await api.done(posted[0][2])
    assert api.project.instances["web-1"].attributes == {"script": "#!/bin/sh\n--limit\n\necho é\n"}


async def test_waiting_calls_run_concurrently() -> None:
    """gcloud waits for the operations of many VMs in one batch."""
    # In real time, a wait does not return before the end of these operations.
    async with compute_api({**FLEET, "speed": 1, "durations": {"operation": 0.01, "migration": 0.1}}) as api:
        started = await batch(api, *(part(f"POST {each}/simulateMaintenanceEvent") for each in (WEB_1, WEB_2)))
        scopes = [document["selfLink"].split("/compute/v1", 1)[1] for _unused, _status, document in started]
        waited = await asyncio.wait_for(batch(api, *(part(f"POST /compute/v1{each}/wait") for each in scopes)), 20)
        assert [document["status"] for _unused, _status, document in waited] == ["DONE", "DONE"]


async def test_each_call_is_in_the_journal(api: ComputeApi) -> None:
    await batch(api, part(f"GET {WEB_1}"), part(f"GET {WEB_2}"))
    assert [(entry.instance, entry.path, entry.status) for entry in api.project.journal.select(face="compute")] == [
        (None, "/batch/compute/v1", 200),
        ("web-1", WEB_1, 200),
        ("web-2", WEB_2, 200),
    ]


async def test_a_fault_hits_the_call_that_it_is_for(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("503", face="compute", instance="web-2"))
    replies = await batch(api, part(f"GET {WEB_1}"), part(f"GET {WEB_2}"))
    assert [status for _unused, status, _document in replies] == [200, 503]


async def test_a_reset_ends_the_connection_of_the_batch(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("reset", face="compute", instance="web-2", count=1))
    with pytest.raises(aiohttp.ClientError):
        await batch(api, part(f"GET {WEB_1}"), part(f"GET {WEB_2}"))
    assert api.project.journal.select(face="compute")[0].status == 0


async def test_credentials_of_the_batch_apply_to_calls_without() -> None:
    async with compute_api(FLEET, require_auth=True) as api:
        calls = (part(f"GET {WEB_1}"), part(f"GET {WEB_2}", headers="Authorization: Bearer own"))
        assert (await send(api, *calls))[0] == 401
        replies = await batch(api, *calls, Authorization="Bearer outer")
        assert [status for _unused, status, _document in replies] == [200, 200]


async def test_a_batch_in_a_batch_is_refused(api: ComputeApi) -> None:
    calls = f"--x\r\nContent-Type: application/http\r\n\r\nGET {WEB_1}\r\n\r\n--x--\r\n"
    inner = part("POST /batch/compute/v1", body=calls, headers="Content-Type: multipart/mixed; boundary=x")
    ((_unused, status, document),) = await batch(api, inner)
    assert (status, document["error"]["message"]) == (400, "A batch cannot have another batch as one of its calls.")


@pytest.mark.parametrize(
    "parts, content_type, words",
    [
        (["--limit\r\nContent-Type: application/http\r\n\r\n"], "application/json", "is not multipart/mixed"),
        (["--limit\r\nContent-Type: application/http\r\n\r\n"], "multipart/mixed", "is not multipart/mixed"),
        ([], "multipart/mixed; boundary=limit", "0 items"),
        (["--limit\r\nContent-Type: text/plain\r\n\r\nGET /"], "multipart/mixed; boundary=limit", "application/http"),
        ([part("get me")], "multipart/mixed; boundary=limit", "request line"),
        ([part("GET http://[")], "multipart/mixed; boundary=limit", "is not a URL"),
        ([part(f"GET {WEB_1}")] * 1001, "multipart/mixed; boundary=limit", "1001 calls; the limit is 1000"),
    ],
    ids=["not a multipart", "no boundary", "empty", "other part", "no request", "no URL", "too many"],
)
async def test_a_malformed_batch_is_refused(api: ComputeApi, parts: list[str], content_type: str, words: str) -> None:
    status, _unused, body = await send(api, *parts, content_type=content_type)
    assert status == 400
    assert words in json.loads(body)["error"]["message"]
