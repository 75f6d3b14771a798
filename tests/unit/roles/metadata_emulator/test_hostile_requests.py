# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of web pages, and input that attacks parsers: refused, and never answered with 500."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from gce_emulator.state.fleet_file import load
from gce_emulator.state.fleet_section import FleetError
from gce_emulator.web.web_pages import refusal
from support.emulator import EmulatorProcess

FLEET = {"hosts": ["emulator.example.com"], "instances": [{"name": "web-1"}]}
INSTANCE = "/compute/v1/projects/emulated-project/zones/us-central1-a/instances/web-1"


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(FLEET) as running:
        yield running


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    process.control.reset()
    return process


def status(emulator: EmulatorProcess) -> Any:
    return emulator.control.instance("web-1")["status"]


@pytest.mark.parametrize(
    "headers, code",
    [
        ({"Host": "evil.example.org"}, 403),
        ({"Host": "evil.example.org:8081", "Origin": "http://evil.example.org:8081"}, 403),
        ({"Origin": "http://evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_a_web_page_cannot_stop_a_vm(emulator: EmulatorProcess, headers: dict[str, str], code: int) -> None:
    answer = requests.post(f"{emulator.control.url}/instances/web-1/stop", headers=headers, timeout=20)
    assert (answer.status_code, status(emulator)) == (code, "RUNNING")
    assert answer.json()["error"]


def test_a_body_needs_a_content_type(emulator: EmulatorProcess) -> None:
    body = b'{"kind": "503"}'
    answer = requests.post(f"{emulator.control.url}/faults", data=body, timeout=20)
    assert answer.status_code == 415
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = requests.post(f"{emulator.control.url}/faults", data=body, headers=headers, timeout=20)
    assert answer.status_code == 201


def test_web_page_cannot_stop_a_vm_by_the_api(emulator: EmulatorProcess) -> None:
    for headers in ({"Host": "evil.example.org"}, {"Origin": "http://evil.example.org"}):
        answer = requests.post(f"{emulator.compute}{INSTANCE}/stop", headers=headers, timeout=20)
        assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (403, "forbidden")
    assert status(emulator) == "RUNNING"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8081",
        "[::1]:8081",
        "[fe80::1%eth0]",
        "192.168.1.4",
        "localhost:8081",
        "LOCALHOST",
        "emulator:8081",
        "gce.internal",
        "x.test",
        "compute.googleapis.com",
        "Emulator.Example.com:80",
    ],
)
def test_private_hosts_are_accepted(host: str) -> None:
    assert refusal({"Host": host}, ["emulator.example.com"]) is None
    assert refusal({"Host": host, "Origin": f"http://{host}"}, ["emulator.example.com"]) is None


@pytest.mark.parametrize(
    "host", ["evil.example.org", "127.0.0.1.nip.io", "googleapis.com.evil.org", "[::1", "a.internal.io"]
)
def test_public_hosts_are_refused(host: str) -> None:
    assert refusal({"Host": host}, []) is not None


DEEP = b'{"value":' + b"[" * 100_000
BROKEN = [
    (DEEP, "nested"),
    (b'{"value":' + b"[" * 150 + b"1" + b"]" * 150 + b"}", "nested"),
    (b'{"value": "\\ud800"}', "surrogate"),
    (b'{"value": "\\udc00\\ud800"}', "surrogate"),
    (b'{"\\ud800": 1}', "surrogate"),
    (b'{"value": ' + b"9" * 5000 + b"}", "too long"),
    (b'{"value": "\xff"}', "UTF-8"),
    (b"{", "line 1"),
]


@pytest.mark.parametrize("body, words", BROKEN, ids=[words for _unused, words in BROKEN])
def test_unusable_json_is_refused(emulator: EmulatorProcess, body: bytes, words: str) -> None:
    headers = {"Content-Type": "application/json"}
    control = f"{emulator.control.url}/instances/web-1"
    told = requests.put(f"{control}/values/instance/attributes/a", data=body, headers=headers, timeout=20)
    assert (told.status_code, words in told.json()["error"]) == (400, True)
    for url in (f"{control}/scenarios", f"{emulator.control.url}/faults"):
        assert requests.post(url, data=body, headers=headers, timeout=20).status_code == 400
    for method in ("setMetadata", "setLabels", "setTags", "setScheduling"):
        answer = requests.post(f"{emulator.compute}{INSTANCE}/{method}", data=body, headers=headers, timeout=20)
        assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (400, "parseError")


def test_surrogate_pair_is_accepted(emulator: EmulatorProcess) -> None:
    url = f"{emulator.control.url}/instances/web-1/values/instance/attributes/a"
    body, headers = b'{"value": "\\ud83d\\ude00"}', {"Content-Type": "application/json"}
    assert requests.put(url, data=body, headers=headers, timeout=20).status_code == 200
    assert emulator.control.get("web-1", "instance/attributes/a") == "\U0001f600"


DEEP_TOKEN = base64.urlsafe_b64encode(b"[" * 5000).decode()


@pytest.mark.parametrize(
    "query",
    [
        "filter=" + "(" * 3000,
        "filter=" + "NOT " * 1000 + "a=b",
        "filter=" + "-" * 3000 + "a=b",
        "fields=" + "a/" * 2000 + "a",
        "fields=" + "a(" * 2000,
        f"pageToken={DEEP_TOKEN}",
        "filter=name eq " + "(" * 900 + ")" * 900,
        "filter=name eq a{99999999999}",
        "filter=name=%ed%a0%80%00",
    ],
    ids=["parentheses", "NOT", "minus", "fields", "selections", "token", "expression", "repeat", "bytes"],
)
def test_hostile_queries_are_answered(emulator: EmulatorProcess, query: str) -> None:
    url = f"{emulator.compute}/compute/v1/projects/emulated-project/aggregated/instances?{query}"
    answer = requests.get(url, timeout=20)
    assert answer.status_code == (200 if "%ed" in query else 400), answer.text[:500]


@pytest.mark.parametrize("path", ["%ed%a0%80", "%ff", "%00", "a%2fb", "%0d%0a"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_path_that_is_not_utf_8_is_answered(emulator: EmulatorProcess, method: str, path: str) -> None:
    body = {"value": "x"} if method == "PUT" else None
    control = f"{emulator.control.url}/instances/web-1/values/instance/attributes/{path}"
    assert requests.request(method, control, json=body, timeout=20).status_code < 500
    compute = f"{emulator.compute}{INSTANCE}{path}/setMetadata"
    assert requests.request(method, compute, json=body, timeout=20).status_code < 500
    guest = f"http://{emulator.metadata['web-1']}/computeMetadata/v1/instance/guest-attributes/ns/{path}"
    answer = requests.request(method, guest, data=b"\xed\xa0\x80", headers={"Metadata-Flavor": "Google"}, timeout=20)
    assert answer.status_code < 500
    tree = f"http://{emulator.metadata['web-1']}/computeMetadata/v1/?recursive=true"
    assert requests.get(tree, headers={"Metadata-Flavor": "Google"}, timeout=20).status_code == 200


@pytest.mark.parametrize(
    "text, words",
    [
        ('{"instances": ' + "[" * 20_000, "is nested|is not YAML"),
        ("instances: " + "[" * 2000 + "]" * 2000, "is nested|is not YAML"),
        ('instances: [{name: web-1, description: "\\ud800"}]', "half of a surrogate pair"),
        (json.dumps({"instances": [{"name": "web-1", "attributes": {"a": "\ud800"}}]}), "half of a surrogate pair"),
    ],
)
def test_an_unusable_fleet_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "fleet.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FleetError, match=words):
        load(file)
