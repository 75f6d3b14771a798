# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source handler, with real requests, and the payloads that the notifier sends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from maintenance_handler._vm.notification import FIELDS
from notifier.payloads import payload
from support.event_source import refusal, source
from support.ports import free_port

TOKEN = "correct-horse-battery"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def document(**fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(FIELDS)
    values.update(id="1-restore_failed", kind="restore_failed", severity="critical", at="2026-11-27T02:00:00Z")
    values.update(instance="db-1", instance_id="42", zone="us-central1-a", project="acme", tasks=["Fail over"])
    return {**values, **fields}


def body(**fields: Any) -> bytes:
    return payload({"preset": "cloudevents"}, document(**fields))[0]


async def post(port: int, data: bytes, headers: dict[str, str] | None = None) -> int:
    async with aiohttp.ClientSession() as session:
        for _number in range(500):
            try:
                async with session.post(f"http://127.0.0.1:{port}/", data=data, headers=headers or HEADERS) as answer:
                    return answer.status
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)
    raise AssertionError("the source does not listen")


async def test_a_notification_becomes_an_event_once(collections_path) -> None:
    port = free_port()
    async with source(collections_path, "handler", {"port": port, "token": TOKEN}) as rulebook:
        assert await post(port, body()) == 204
        event = await rulebook.event()
        assert await post(port, body()) == 204
        assert await post(port, body(id="2-failed", kind="failed")) == 204
        other = await rulebook.event()

    assert (event["kind"], event["instance"], event["tasks"]) == ("restore_failed", "db-1", ["Fail over"])
    assert event["meta"] == {"hosts": ["db-1"]}
    assert event["source"].endswith("/instances/42")
    assert other["kind"] == "failed"


@pytest.mark.parametrize(
    "headers, data, status",
    [
        ({"X": "y"}, body(), 401),
        ({"Authorization": "Bearer correct-horse"}, body(), 401),
        ({"Authorization": f"Basic {TOKEN}"}, body(), 401),
        (HEADERS, b"{", 400),
        (HEADERS, b"[" * 100_000, 400),
        (HEADERS, b"[]", 400),
        (HEADERS, json.dumps(document()).encode(), 400),
        (HEADERS, body(kind="restore_failed").replace(b"gce.guest.maintenance.", b"com.example."), 400),
        (HEADERS, body(instance=["db-1"]), 400),
        (HEADERS, body() + b" " * 300_000, 413),
    ],
)
async def test_anything_else_is_rejected(collections_path, headers, data, status) -> None:
    port = free_port()
    async with source(collections_path, "handler", {"port": port, "token": TOKEN}) as rulebook:
        assert await post(port, data, headers) == status
        assert await post(port, body()) == 204
        await rulebook.event()

    assert len(rulebook.seen) == 1


@pytest.mark.parametrize("name", ["all", "web-*", "@hosts", "!db-1", "a,b", "ungrouped", "-x"])
async def test_a_name_is_never_a_pattern(collections_path, name) -> None:
    port = free_port()
    async with source(collections_path, "handler", {"port": port, "token": TOKEN}) as rulebook:
        assert await post(port, body(instance=name)) == 204
        # Without hosts, actions would run on all hosts of the ruleset.
        assert (await rulebook.event())["meta"] == {"hosts": ["no-host.invalid"]}


async def test_a_text_is_never_a_template(collections_path) -> None:
    port = free_port()
    texts = {"summary": "{{ 6 * 7 }}", "text": "{% x %}", "tasks": ["'\\x7b'", "{"], "event": {"#jinja2:": ["}"]}}
    async with source(collections_path, "handler", {"port": port, "token": TOKEN}) as rulebook:
        assert await post(port, body(**texts)) == 204
        event = await rulebook.event()

    assert not set("{}\\#") & set("".join([event["summary"], event["text"], *event["tasks"], *event["event"]]))
    assert event["summary"] == "\uff5b\uff5b 6 * 7 \uff5d\uff5d"
    assert list(event["event"].values()) == [["\uff5d"]]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({}, "port"),
        ({"port": 0}, "token"),
        ({"token": TOKEN}, "port"),
        ({"token": TOKEN, "port": 70_000}, "port"),
        ({"token": "short", "port": 0}, "16"),
        ({"token": TOKEN, "token_file": "/x", "port": 0}, "token_file"),
        ({"token_file": "/nonexistent", "port": 0}, "/nonexistent"),
        ({"token": TOKEN, "port": 0, "host": "203.0.113.7"}, "203.0.113.7"),
        ({"token": TOKEN, "port": 0, "certificate": "/nonexistent"}, "certificate"),
    ],
)
async def test_a_misconfiguration_is_refused(collections_path, wrong, words) -> None:
    assert words in await refusal(collections_path, "handler", wrong)
