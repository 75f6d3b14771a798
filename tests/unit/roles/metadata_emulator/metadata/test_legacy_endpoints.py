# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The legacy endpoints /0.1/ and /computeMetadata/v1beta1/."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.emulator import EmulatorProcess
from support.wire import ask

PATHS = ["/0.1/meta-data/attributes/colour", "/computeMetadata/v1beta1/instance/attributes/colour"]
SWITCH = "attributes/disable-legacy-endpoints"


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    instances = [
        {"name": "web-1", "attributes": {"colour": "blue"}},
        {"name": "gone", "attributes": {"colour": "blue"}, "legacy_endpoints": "gone"},
    ]
    with EmulatorProcess({"instances": instances}) as process:
        yield process


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    process.control.reset()
    return process


@pytest.mark.parametrize("path", PATHS)
def test_legacy_endpoints_need_no_header(emulator: EmulatorProcess, path: str) -> None:
    reply = ask(emulator.metadata["web-1"], path, headers={})
    assert (reply.status, reply.text) == (200, "blue")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "project, instance, status",
    [("TRUE", None, 403), (None, "true", 403), ("TRUE", "FALSE", 200), ("FALSE", "TRUE", 403), (None, "1", 403)],
)
def test_legacy_endpoints_can_be_disabled(
    emulator: EmulatorProcess, path: str, project: str | None, instance: str | None, status: int
) -> None:
    for level, value in (("project", project), ("instance", instance)):
        if value is not None:
            emulator.control.set("web-1", f"{level}/{SWITCH}", value)
    assert ask(emulator.metadata["web-1"], path, headers={}).status == status


@pytest.mark.parametrize("path", PATHS)
def test_the_error_page_gives_the_reason(emulator: EmulatorProcess, path: str) -> None:
    emulator.control.set("web-1", f"instance/{SWITCH}", "TRUE")
    reply = ask(emulator.metadata["web-1"], path, headers={})
    assert (
        f"Your client does not have permission to get URL <code>{path}</code> from this server. "
        f"Legacy metadata endpoint accessed: {path}\n"
        "    Legacy metadata endpoints are disabled. Please use the /v1/ endpoint. <ins>"
    ) in reply.text


@pytest.mark.parametrize("path", PATHS)
def test_removed_legacy_endpoints_are_not_found(emulator: EmulatorProcess, path: str) -> None:
    assert ask(emulator.metadata["gone"], path, headers={}).status == 404


def test_0_1_has_its_own_names(emulator: EmulatorProcess) -> None:
    address = emulator.metadata["web-1"]
    assert ask(address, "/0.1/", headers={}).text == "meta-data/\n"
    assert "instance-id\n" in ask(address, "/0.1/meta-data/", headers={}).text
    assert ask(address, "/0.1/meta-data/instance-id", headers={}).text == emulator.control.instance("web-1")["id"]
    assert ask(address, "/0.1/meta-data/name", headers={}).status == 404
    assert ask(address, "/0.1/else/", headers={}).status == 404


def test_v1beta1_has_the_tree_of_v1(emulator: EmulatorProcess) -> None:
    address = emulator.metadata["web-1"]
    old = ask(address, "/computeMetadata/v1beta1/instance/?recursive=true", headers={})
    assert old.json == ask(address, "instance/?recursive=true").json
    assert ask(address, "/computeMetadata/v1beta1/instance", headers={}).status == 301
    token = ask(address, "/computeMetadata/v1beta1/instance/service-accounts/default/token", headers={})
    assert token.json["token_type"] == "Bearer"


@pytest.mark.parametrize("path", PATHS)
def test_forwarded_request_is_rejected(emulator: EmulatorProcess, path: str) -> None:
    assert ask(emulator.metadata["web-1"], path, headers={"X-Forwarded-For": "10.0.0.1"}).status == 403
