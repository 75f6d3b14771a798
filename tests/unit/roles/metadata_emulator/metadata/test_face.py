# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server as a guest sees it, over real sockets."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.wire import FLAVOR, Connection, Reply, ask

FLEET = {
    "project": "shop",
    "numeric_project_id": 42,
    "attributes": {"ssh-keys": "me:ssh-ed25519 AAAA", "enable-oslogin": "TRUE"},
    "instances": [
        {"name": "web-1", "tags": ["bread", "butter"], "attributes": {"my-colour": "blue", "Under_score": "é"}},
        {"name": "bare", "service_accounts": []},
        {"name": "calm", "upcoming_maintenance_none": "NONE"},
        {"name": "old", "upcoming_maintenance_none": "404"},
        {"name": "tpu", "upcoming_maintenance_none": "{}", "upcoming_maintenance_style": "strings"},
        {"name": "docs", "upcoming_maintenance_style": "camel"},
    ],
}
WINDOW = {
    "window_start_time": "2026-12-01T10:00:00Z",
    "window_end_time": "2026-12-01T14:00:00Z",
    "latest_window_start_time": "2026-12-01T10:00:00Z",
    "can_reschedule": False,
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(FLEET) as process:
        yield process


@pytest.fixture
def web(emulator: EmulatorProcess) -> str:
    return emulator.metadata["web-1"]


def test_headers_are_those_of_the_real_server_in_its_order(web: str) -> None:
    reply = ask(web, "instance/name")
    assert reply.text == "web-1"
    assert [name for name, _unused in reply.headers] == [
        "Metadata-Flavor",
        "Content-Type",
        "ETag",
        "Date",
        "Server",
        "Content-Length",
        "X-XSS-Protection",
        "X-Frame-Options",
    ]
    assert reply.header("Metadata-Flavor") == "Google"
    assert reply.header("Content-Type") == "application/text"
    assert reply.header("Server") == "Metadata Server for VM"
    assert int(reply.etag, 16) > 0


def test_a_request_without_the_header_is_refused_with_an_error_page(web: str) -> None:
    reply = ask(web, "instance/name", headers={})
    assert reply.status == 403
    assert [name for name, _unused in reply.headers] == [
        "Metadata-Flavor",
        "Date",
        "Content-Type",
        "Server",
        "Connection",
        "Content-Length",
        "X-XSS-Protection",
        "X-Frame-Options",
    ]
    assert "<title>Error 403 (Forbidden)!!1</title>" in reply.text
    assert (
        "Your client does not have permission to get URL <code>/computeMetadata/v1/instance/name</code> "
        "from this server. Missing Metadata-Flavor:Google header."
    ) in reply.text


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"metadata-flavor": "Google"}, 200),
        ({"Metadata-Flavor": "Wrong"}, 403),
        ({"Metadata-Flavor ": "Google"}, 400),
        ({"X-Google-Metadata-Request": "True"}, 403),
        ({**FLAVOR, "X-Forwarded-For": "10.0.0.1"}, 403),
    ],
)
def test_the_header_rule(web: str, headers: dict[str, str], status: int) -> None:
    reply = ask(web, "instance/name", headers=headers)
    assert reply.status == status
    assert reply.header("Metadata-Flavor") == "Google"


def test_a_forwarded_request_is_refused_before_anything_else(web: str) -> None:
    assert ask(web, "/", headers={"X-Forwarded-For": "10.0.0.1"}).status == 403
    assert "Missing" not in ask(web, "instance/name", headers={"X-Forwarded-For": "10.0.0.1"}).text


@pytest.mark.parametrize("path, body", [("/", "computeMetadata/\n"), ("/computeMetadata/", "v1/\n")])
def test_directories_above_v1_need_no_header(web: str, path: str, body: str) -> None:
    reply = ask(web, path, headers={})
    assert (reply.status, reply.text, reply.header("ETag")) == (200, body, None)
    assert reply.header("Content-Type") == "application/text"


def test_listings(web: str) -> None:
    assert ask(web, "").text == "instance/\noslogin/\nproject/\n"
    assert ask(web, "project/").text == "attributes/\nnumeric-project-id\nproject-id\n"
    assert ask(web, "instance/").text.replace("\n", " ") == (
        "attributes/ cpu-platform credentials/ description disks/ gce-workload-certificates/ guest-attributes/ "
        "hostname id image licenses/ machine-type maintenance-event name network-interfaces/ partner-attributes/ "
        "preempted remaining-cpu-time scheduling/ service-accounts/ shutdown-details/ tags upcoming-maintenance "
        "virtual-clock/ zone "
    )
    assert ask(web, "instance/service-accounts/default/").text == "aliases\nemail\nidentity\nscopes\ntoken\n"
    assert ask(web, "instance/attributes/").text == "Under_score\nmy-colour\n"


@pytest.mark.parametrize("query", ["", "?recursive=true", "?recursive=true&alt=text&last_etag=x%20y"])
def test_a_directory_without_slash_redirects_and_keeps_the_query(web: str, query: str) -> None:
    reply = ask(web, f"instance{query}", headers={**FLAVOR, "Host": "metadata.google.internal"})
    assert reply.status == 301
    assert reply.header("Location") == f"http://metadata.google.internal/computeMetadata/v1/instance/{query}"
    assert reply.header("Content-Type") == "text/html"
    assert reply.text == "/computeMetadata/v1/instance/\n"


def test_root_without_slash_redirects(web: str) -> None:
    reply = ask(web, "/computeMetadata/v1")
    assert (reply.status, reply.header("Location")) == (301, f"http://{web}/computeMetadata/v1/")
    assert ask(web, "/computeMetadata/v1", headers={}).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "instance/nope",
        "instance/name/",
        "instance/name/first",
        "instance/service-accounts/default/scopes/0",
        "nope/",
        "universe/universe-domain",
        "/computeMetadata/v2/",
        "/nope",
        "/v0.1/meta-data/",
    ],
)
def test_missing_paths_are_not_found(web: str, path: str) -> None:
    reply = ask(web, path)
    assert reply.status == 404
    assert "was not found on this server.  <ins>" in reply.text


@pytest.mark.parametrize("encoded", ["%21", "%24", "%27", "%28", "%29", "%2A", "%2a", "%2C", "%40"])
def test_some_characters_must_not_be_encoded_in_a_path(emulator: EmulatorProcess, web: str, encoded: str) -> None:
    email = emulator.control.get("web-1", "instance/service-accounts/default/email")
    assert ask(web, f"instance/service-accounts/{email}/email").text == email
    name, _unused, domain = email.partition("@")
    assert ask(web, f"instance/service-accounts/{name}{encoded}{domain}/email").status == 404
    assert ask(web, f"instance/name?unknown={encoded}").status == 200


def test_other_characters_can_be_encoded(web: str) -> None:
    assert ask(web, "instance/attributes/my%2Dcolour").text == "blue"


def test_repeated_slashes_count_as_one(web: str) -> None:
    assert ask(web, "instance//attributes///my-colour").text == "blue"
    assert ask(web, "/computeMetadata//v1/instance/name").text == "web-1"


@pytest.mark.parametrize(
    "path, body",
    [
        ("instance/tags", '["bread","butter"]'),
        ("instance/tags?alt=text", "bread\nbutter\n"),
        ("instance/name?alt=json", '"web-1"'),
        ("instance/disks/0/index?alt=json", "0"),
        ("instance/disks/?recursive=true&alt=text", "0/device-name web-1\n0/index 0\n0/interface SCSI\n"),
        ("instance/name?recursive=true", "web-1"),
        ("instance/attributes/?recursive=TRUE", '{"Under_score":"é","my-colour":"blue"}'),
        ("instance/attributes/?recursive=nonsense", "Under_score\nmy-colour\n"),
        ("project/?recursive=on", '{"attributes":{"enable-oslogin":"TRUE","ssh-keys":"me:ssh-ed25519 AAAA"},'),
        ("instance/name?unknown=1", "web-1"),
    ],
)
def test_formats(web: str, path: str, body: str) -> None:
    reply = ask(web, path)
    assert reply.status == 200
    assert reply.text.startswith(body)


def test_recursive_json_holds_ids_exactly(emulator: EmulatorProcess, web: str) -> None:
    content = ask(web, "instance/?recursive=true").json
    assert content["id"] == int(emulator.control.instance("web-1")["id"]) > 2**53
    assert content["preempted"] == "FALSE"
    assert content["tags"] == ["bread", "butter"]
    assert content["networkInterfaces"][0]["accessConfigs"][0]["type"] == "ONE_TO_ONE_NAT"
    assert "upcomingMaintenance" not in content


@pytest.mark.parametrize(
    "path",
    [
        "instance/?alt=json",
        "instance/?wait_for_change=true",
        "instance/name?alt=xml",
        "instance/name?wait_for_change=true&timeout_sec=soon",
        "instance/name?wait_for_change=true&timeout_sec=1.5",
        "instance/name?wait_for_change=true&timeout_sec=-1",
    ],
)
def test_malformed_requests(web: str, path: str) -> None:
    reply = ask(web, path)
    assert reply.status == 400
    assert "<title>Error 400 (Bad Request)!!1</title>" in reply.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_for_guest_attributes_only(web: str, method: str) -> None:
    with Connection(web) as connection:
        connection.send("instance/attributes/my-colour", method=method)
        assert connection.receive().status == 405


def test_the_etag_is_the_same_in_all_formats_and_comes_back_with_the_content(
    emulator: EmulatorProcess, web: str
) -> None:
    path = "instance/attributes/flag"
    emulator.control.set("web-1", path, "a")
    first = ask(web, path).etag
    assert ask(web, f"{path}?alt=json").etag == first
    emulator.control.set("web-1", path, "b")
    assert ask(web, path).etag != first
    emulator.control.set("web-1", path, "a")
    assert ask(web, path).etag == first
    emulator.control.remove("web-1", path)
    assert ask(web, path).status == 404


def test_a_connection_is_kept_until_the_client_asks_to_close_it(web: str) -> None:
    with Connection(web) as connection:
        for _unused in range(3):
            connection.send("instance/name")
            assert connection.receive().text == "web-1"
        connection.send("instance/name", headers={**FLAVOR, "Connection": "close"})
        assert connection.receive().header("Connection") == "Close"
        assert connection.is_closed_by_peer()


def test_tokens(web: str) -> None:
    path = "instance/service-accounts/default/token"
    reply = ask(web, path)
    assert reply.header("Content-Type") == "application/json"
    token = reply.json
    assert sorted(token) == ["access_token", "expires_in", "token_type"]
    assert token["access_token"].startswith("ya29.")
    assert 0 < token["expires_in"] <= 3599
    assert ask(web, path).json["access_token"] == token["access_token"]
    assert ask(web, f"{path}?scopes=https://a").json["access_token"] != token["access_token"]


def test_a_token_as_text_has_a_line_for_each_field(web: str) -> None:
    path = "instance/service-accounts/default/token"
    token = ask(web, path).json["access_token"]
    reply = ask(web, f"{path}?alt=text")
    assert reply.header("Content-Type") == "application/text"
    first, second, third = reply.text.splitlines()
    assert (first, second.split()[0], third) == (f"access_token {token}", "expires_in", "token_type Bearer")
    assert reply.text.endswith("\n")
    assert ask(web, f"{path}?alt=json").json["access_token"] == token
    assert ask(web, f"{path}?alt=xml").status == 400


def test_identity_is_a_jwt_with_the_real_claims(emulator: EmulatorProcess, web: str) -> None:
    path = "instance/service-accounts/default/identity"
    assert ask(web, path).status == 400
    assert ask(web, path).text == "non-empty audience parameter required"
    standard = claims(ask(web, f"{path}?audience=https://shop.example"))
    assert sorted(standard) == ["aud", "azp", "exp", "iat", "iss", "sub"]
    assert standard["aud"] == "https://shop.example"
    full = claims(ask(web, f"{path}?audience=x&format=full&licenses=TRUE"))
    compute = full["google"]["compute_engine"]
    assert compute["instance_name"] == "web-1"
    assert compute["instance_id"] == emulator.control.instance("web-1")["id"]
    assert compute["license_id"]


def claims(reply: Reply) -> dict[str, Any]:
    header, payload, signature = reply.text.split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["alg"] == "RS256"
    assert signature
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return decoded


def test_without_a_service_account_there_is_no_token(emulator: EmulatorProcess) -> None:
    bare = emulator.metadata["bare"]
    assert ask(bare, "instance/service-accounts/").text == ""
    assert ask(bare, "instance/service-accounts/default/token").status == 404


@pytest.mark.parametrize(
    "instance, status, body",
    [
        ("web-1", 503, '{ "error": "no notifications have been received yet, try again later" }'),
        ("calm", 200, "NONE"),
        ("old", 404, None),
        ("tpu", 200, "{ }"),
    ],
)
def test_no_upcoming_maintenance_has_four_forms(
    emulator: EmulatorProcess, instance: str, status: int, body: str | None
) -> None:
    """Documented and real: 503 with "no notifications have been received yet", NONE, 404 and an empty object."""
    reply = ask(emulator.metadata[instance], "instance/upcoming-maintenance")
    assert reply.status == status
    if body is not None:
        assert reply.text == body


def test_upcoming_maintenance_in_its_spellings(emulator: EmulatorProcess) -> None:
    for name in ("old", "tpu", "docs"):
        emulator.control.set(name, "instance/upcoming-maintenance", WINDOW)
    path = "instance/upcoming-maintenance"
    wire = ask(emulator.metadata["old"], path)
    assert wire.header("Content-Type") == "application/text"
    assert wire.text == (
        "can_reschedule false\nlatest_window_start_time 2026-12-01T10:00:00+00:00\nmaintenance_status PENDING\n"
        "type SCHEDULED\nwindow_end_time 2026-12-01T14:00:00+00:00\nwindow_start_time 2026-12-01T10:00:00+00:00"
    )
    assert ask(emulator.metadata["old"], f"{path}?alt=json").json["can_reschedule"] is False
    assert ask(emulator.metadata["tpu"], path).json["can_reschedule"] == "false"
    assert ask(emulator.metadata["docs"], path).json["maintenanceType"] == "SCHEDULED"
    recursive = ask(emulator.metadata["old"], "instance/?recursive=true").json
    assert recursive["upcomingMaintenance"]["windowStartTime"] == "2026-12-01T10:00:00Z"
    for name in ("old", "tpu", "docs"):
        emulator.control.set(name, path, None)
    assert ask(emulator.metadata["old"], path).status == 404


def test_only_a_direct_query_counts_for_the_notice(emulator: EmulatorProcess) -> None:
    address = emulator.metadata["bare"]
    for path in (
        "",
        "?recursive=true",
        "instance/?recursive=true",
        "instance/",
        "instance/?recursive=true&wait_for_change=true&last_etag=0",
    ):
        ask(address, path)
    ask(address, "instance/maintenance-event", headers={})
    assert not emulator.control.instance("bare")["asked_directly"]
    ask(address, "instance/maintenance-event")
    assert emulator.control.instance("bare")["asked_directly"]


def test_a_universe_other_than_the_default_is_served() -> None:
    with EmulatorProcess({"universe_domain": "example.test", "instances": [{"name": "web-1"}]}) as process:
        address = process.metadata["web-1"]
        assert ask(address, "").text == "instance/\noslogin/\nproject/\nuniverse/\n"
        assert ask(address, "universe/universe-domain").text == "example.test"


def test_project_metadata_is_seen_by_every_instance(emulator: EmulatorProcess) -> None:
    emulator.control.set("web-1", "project/attributes/season", "winter")
    assert ask(emulator.metadata["bare"], "project/attributes/season").text == "winter"
