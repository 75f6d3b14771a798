# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the Compute API, against the emulator and against misbehaving servers."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import google.auth
import google.auth.exceptions
import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute import api as _compute_api
from ansible_collections.gce.guest.plugins.module_utils._compute import errors as _compute_errors
from ansible_collections.gce.guest.plugins.module_utils._compute.api import (
    ComputeApi,
    MissingLibrary,
    Time,
    checked_endpoint,
    connect,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.credentials import auth_kind
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.emulator import EmulatorProcess, eventually
from support.raw_server import RawServer, answering, http_answer, json_answer, refusing_host
from support.shared_time import SharedTime

ZONE = "zones/us-central1-a"
WEB = f"{ZONE}/instances/web-1"
TOKEN = "ya29.planted-token"
FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 1000,
    "require_auth": True,
    "instances": [{"name": "web-1", "attributes": {"role": "web"}}],
}
OPTIONS: dict[str, Any] = {
    **dict.fromkeys(
        (
            "auth_kind",
            "service_account_email",
            "service_account_file",
            "service_account_contents",
            "impersonate_service_account",
            "universe_domain",
            "scopes",
        ),
        None,
    ),
    "project": "acme",
    "access_token": TOKEN,
    "retry_for": 60.0,
    "request_timeout": 20.0,
    "requests_per_minute": 0,
}
DONE = {"name": "operation-1", "status": "DONE", "selfLink": "https://x/compute/v1/projects/acme/global/operations/o"}

RUNNING = {**DONE, "status": "RUNNING"}


@pytest.fixture
def time() -> SharedTime:
    return SharedTime()


def client(endpoint: str, time: SharedTime, **options: Any) -> ComputeApi:
    """A client whose pauses are not shortened at random, and take no real time."""
    chosen = {**OPTIONS, "api_endpoint": endpoint, **options}
    warn = options.pop("on_warning", None)
    return connect(chosen.__getitem__, time=Time(time.clock, time.sleep, lambda: 0.0), on_warning=warn)


def envelope(code: int, message: str, reason: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "errors": [{"message": message, "reason": reason}]}}


def journal(emulator: EmulatorProcess) -> list[tuple[str, int]]:
    return [(entry["method"], entry["status"]) for entry in emulator.control.journal(face="compute")]


class TestRequests:
    def test_send_the_token_and_a_field_mask(self, time: SharedTime) -> None:
        with RawServer(answering(json_answer({"name": "web-1"}))) as server:
            assert client(f"http://{server.host}", time).get(WEB, "read", fields="name") == {"name": "web-1"}
        head = server.requests[0].decode()
        assert head.startswith(f"GET /compute/v1/projects/acme/{WEB}?fields=name&prettyPrint=false HTTP/1.1")
        assert f"authorization: bearer {TOKEN}" in head.lower()

    def test_reuse_the_connection(self, time: SharedTime) -> None:
        with RawServer(answering(*[json_answer({})] * 3)) as server:
            api = client(f"http://{server.host}", time)
            for _turn in range(3):
                api.get("", "read")
            assert server.connections == 1

    def test_use_proxies_of_the_environment_but_not_netrc(
        self, time: SharedTime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login alice password hunter2\n", encoding="utf-8")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        with RawServer(answering(json_answer({}))) as proxy:
            monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
            monkeypatch.setenv("no_proxy", "")
            client("http://api.invalid", time).get("", "read")
        assert proxy.requests[0].startswith(b"GET http://api.invalid/compute/v1/projects/acme?")
        assert f"bearer {TOKEN}".encode() in proxy.requests[0].lower()

    def test_do_not_follow_redirects(self, time: SharedTime) -> None:
        moved = http_answer("302 Found", location="http://elsewhere.invalid/")
        with RawServer(answering(moved, moved)) as server:
            with pytest.raises(_compute_errors.ComputeUnavailable, match="is not the Compute API: status 302"):
                client(f"http://{server.host}", time, retry_for=0).get("", "read")
            assert len(server.requests) == 1

    def test_without_credentials_fail(self, emulator: EmulatorProcess, time: SharedTime) -> None:
        assert client(emulator.compute, time).get(WEB, "read")["name"] == "web-1"


class TestRetries:
    @pytest.mark.parametrize("kind", ["503", "429", "rate-limit", "reset", "html"])
    def test_survive_temporary_errors(self, emulator: EmulatorProcess, time: SharedTime, kind: str) -> None:
        emulator.control.fault(kind, face="compute", count=3)
        assert client(emulator.compute, time).get(WEB, "read")["name"] == "web-1"
        assert len(journal(emulator)) == 4
        # 0.5, 1 and 2 s.
        assert time.now == pytest.approx(1003.5)

    @pytest.mark.parametrize(
        "kind, error, words",
        [
            (
                "503",
                _compute_errors.ComputeUnavailable,
                "answers 503 backendError: The service is currently unavailable.",
            ),
            ("429", _compute_errors.RateLimited, "answers 429 rateLimitExceeded"),
            ("rate-limit", _compute_errors.RateLimited, "answers 403 rateLimitExceeded: Quota exceeded"),
            ("reset", _compute_errors.ComputeUnavailable, "Connection reset by peer"),
            ("html", _compute_errors.ComputeUnavailable, "answers 502."),
        ],
    )
    def test_end_after_retry_for(
        self,
        emulator: EmulatorProcess,
        time: SharedTime,
        kind: str,
        error: type[_compute_errors.ComputeError],
        words: str,
    ) -> None:
        emulator.control.fault(kind, face="compute")
        with pytest.raises(error) as caught:
            client(emulator.compute, time, retry_for=10).get(WEB, "read")
        assert words in str(caught.value)
        # At 0, 0.5, 1.5, 3.5, 7.5 and 10 s.
        assert str(caught.value).endswith("Gave up after 6 tries in 10 s.")
        assert time.now == pytest.approx(1010)

    def test_are_not_made_for_permanent_errors(self, emulator: EmulatorProcess, time: SharedTime) -> None:
        with pytest.raises(
            _compute_errors.ComputeNotFound, match=r"Cannot read projects/acme/zones/.*/instances/web-9: .*404"
        ):
            client(emulator.compute, time).get(f"{ZONE}/instances/web-9", "read")
        assert journal(emulator) == [("GET", 404)]

    def test_after_a_refusal_to_connect(self, time: SharedTime) -> None:
        with (
            refusing_host() as host,
            pytest.raises(_compute_errors.ComputeUnavailable, match=r"Connection refused.*3 tries"),
        ):
            client(f"http://{host}", time, retry_for=1).get("", "read")

    def test_after_a_cut_off_answer(self, time: SharedTime) -> None:
        with RawServer(
            answering(http_answer("200 OK", b'{"name": ', content_type="application/json"), json_answer({}))
        ) as server:
            assert client(f"http://{server.host}", time).get("", "read") == {}

    def test_pause_all_requests_after_a_rate_limit(self, emulator: EmulatorProcess, time: SharedTime) -> None:
        emulator.control.fault("rate-limit", face="compute", count=1)
        api = client(emulator.compute, time)
        api.get(WEB, "read")
        assert time.now == pytest.approx(1000.5)


class TestDeadline:
    def test_applies_to_all_requests(self, emulator: EmulatorProcess, time: SharedTime) -> None:
        emulator.control.fault("503", face="compute")
        api = client(emulator.compute, time).until(time.now + 5)
        with pytest.raises(_compute_errors.ComputeUnavailable, match="in 5 s"):
            api.get(WEB, "read")
        with pytest.raises(_compute_errors.ComputeUnavailable):
            api.write("POST", f"{WEB}/setMetadata", "set", {})
        with pytest.raises(_compute_errors.ComputeUnavailable):
            list(api.aggregated("instances", "list"))
        assert time.now == pytest.approx(1005)

    def test_applies_to_an_answer_that_does_not_come(self, time: SharedTime) -> None:
        with RawServer(answering()) as server:
            api = client(f"http://{server.host}", time, request_timeout=600).until(time.now - 60)
            with pytest.raises(_compute_errors.ComputeUnavailable, match="timed out"):
                api.get("", "read")
            eventually(lambda: server.connections, what="the connection")
            assert server.connections == 1

    def test_does_not_change_the_original_client(self, emulator: EmulatorProcess, time: SharedTime) -> None:
        api = client(emulator.compute, time)
        api.until(time.now + 5)
        emulator.control.fault("503", face="compute")
        with pytest.raises(_compute_errors.ComputeUnavailable, match="in 60 s"):
            api.get(WEB, "read")


class TestWrites:
    def test_have_unique_request_ids(self, time: SharedTime) -> None:
        with RawServer(answering(json_answer(DONE), json_answer(DONE))) as server:
            api = client(f"http://{server.host}", time)
            for _turn in range(2):
                api.finish(api.write("POST", "setCommonInstanceMetadata", "set", {}), "set", "it")
        ids = [request.split(b"requestId=")[1].split(b"&")[0].decode() for request in server.requests]
        assert len({uuid.UUID(request_id) for request_id in ids}) == 2

    def test_happen_once_if_the_answer_is_lost(self, emulator: EmulatorProcess, time: SharedTime) -> None:
        api = client(emulator.compute, time)
        fingerprint = api.get(WEB, "read")["metadata"]["fingerprint"]
        emulator.control.fault("lost-answer", face="compute", count=1)
        body = {"fingerprint": fingerprint, "items": [{"key": "a", "value": "b"}]}
        operation = api.write("POST", f"{WEB}/setMetadata", "set the metadata of", body)
        assert api.finish(operation, "set the metadata of", WEB)["status"] == "DONE"
        posts = [entry for entry in emulator.control.journal(face="compute") if entry["path"].endswith("setMetadata")]
        assert len(posts) == 2
        assert len({entry["query"] for entry in posts}) == 1
        assert api.get(WEB, "read")["metadata"]["items"] == body["items"]

    def test_raise_a_conflict(self, emulator: EmulatorProcess, time: SharedTime) -> None:
        api = client(emulator.compute, time)
        fingerprint = api.get(WEB, "read")["metadata"]["fingerprint"]
        for kind in ("conflict", "operation-conflict"):
            emulator.control.fault(kind, face="compute", count=1)
            with pytest.raises(_compute_errors.ComputeConflict):
                api.finish(api.write("POST", f"{WEB}/setMetadata", "set", {"fingerprint": fingerprint}), "set", WEB)


class TestOperations:
    def test_are_waited_for_until_they_are_done(self, time: SharedTime) -> None:
        with RawServer(answering(json_answer(RUNNING), json_answer(DONE))) as server:
            assert client(f"http://{server.host}", time).finish(RUNNING, "set", "it") == DONE
        assert server.requests[0].startswith(b"POST /compute/v1/projects/acme/global/operations/o/wait?")

    def test_that_are_done_need_no_request(self, time: SharedTime) -> None:
        with refusing_host() as host:
            assert client(f"http://{host}", time).finish(DONE, "set", "it") == DONE

    def test_end_at_the_deadline(self, time: SharedTime) -> None:
        with refusing_host() as host:
            api = client(f"http://{host}", time)
            with pytest.raises(_compute_errors.OperationUnfinished, match="operation-1 is still RUNNING"):
                api.until(time.now + 5).finish(RUNNING, "set", "it")
            assert time.now == pytest.approx(1005)

    def test_without_a_link_are_refused(self, time: SharedTime) -> None:
        with refusing_host() as host, pytest.raises(_compute_errors.ComputeUnavailable, match="without an operation"):
            client(f"http://{host}", time).finish({"kind": "x"}, "set", "it")


class TestLists:
    def test_are_read_in_pages(self, time: SharedTime) -> None:
        pages = [
            {"items": [{"name": "a"}], "nextPageToken": "t/1"},
            {"nextPageToken": "t2"},
            {"items": [{"name": "b"}]},
        ]
        with RawServer(answering(*map(json_answer, pages))) as server:
            api = client(f"http://{server.host}", time)
            assert [each["name"] for each in api.items(f"{ZONE}/instances", "list", fields="name")] == ["a", "b"]
        assert b"pageToken=t%2F1" in server.requests[1] or b"pageToken=t/1" in server.requests[1]
        assert b"fields=items%28name%29%2CnextPageToken" in server.requests[2]

    def test_of_all_zones_are_one_list(self, time: SharedTime) -> None:
        page = {
            "items": {
                "zones/a": {"instances": [{"name": "a"}, {"name": "b"}]},
                "zones/b": {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results."}},
            }
        }
        with RawServer(answering(json_answer(page))) as server:
            warnings: list[str] = []
            api = client(f"http://{server.host}", time, on_warning=warnings.append)
            assert [each["name"] for each in api.aggregated("instances", "list", fields="name")] == ["a", "b"]
        assert warnings == api.unreachables == []

    def test_that_are_incomplete_cause_a_warning(self, time: SharedTime) -> None:
        page = {
            "items": {"zones/b": {"warning": {"code": "UNREACHABLE", "message": "Zone b."}}},
            "unreachables": ["zones/c", "zones/c"],
            "warning": {"code": "PARTIAL_SUCCESS", "message": "Not all."},
        }
        warnings: list[str] = []
        with RawServer(answering(json_answer(page), json_answer(page))) as server:
            api = client(f"http://{server.host}", time, on_warning=warnings.append)
            for _turn in range(2):
                assert list(api.aggregated("instances", "list")) == []
        assert api.unreachables == ["zones/c"]
        assert warnings == [
            "The list aggregated/instances is not complete: zones/c could not be reached.",
            "The list aggregated/instances is not complete: PARTIAL_SUCCESS: Not all.",
            "The list zones/b is not complete: UNREACHABLE: Zone b.",
        ]


class TestEndpoint:
    @pytest.mark.parametrize(
        "written, url",
        [
            ("https://compute.googleapis.com", "https://compute.googleapis.com/compute/v1/"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/compute/v1/"),
            ("http://[::1]:8080/compute/v1", "http://[::1]:8080/compute/v1/"),
            ("https://x.example/compute/beta/", "https://x.example/compute/beta/"),
        ],
    )
    def test_in_all_forms(self, written: str, url: str) -> None:
        assert checked_endpoint(written) == url

    @pytest.mark.parametrize(
        "written", ["compute.googleapis.com", "ftp://x/", "http://", "http://x/?a=b", "http://u:p@x/"]
    )
    def test_that_is_invalid(self, written: str) -> None:
        with pytest.raises(_compute_errors.ComputeBadRequest, match="api_endpoint is"):
            checked_endpoint(written)


class TestCredentials:
    @pytest.mark.parametrize(
        "options, kind",
        [
            ({}, "application"),
            ({"access_token": "x"}, "accesstoken"),
            ({"service_account_file": "x"}, "serviceaccount"),
            ({"service_account_contents": "x"}, "serviceaccount"),
            ({"auth_kind": "machineaccount", "access_token": "x"}, "machineaccount"),
        ],
    )
    def test_kind_is_derived_from_the_options(self, options: dict[str, str], kind: str) -> None:
        assert auth_kind(options.get) == kind

    def test_that_the_api_refuses_are_reported(self, time: SharedTime) -> None:
        refused = json_answer(envelope(401, "Invalid Credentials", "authError"), "401 Unauthorized")
        with RawServer(answering(refused)) as server:
            with pytest.raises(_compute_errors.CredentialsError, match="401 authError: Invalid Credentials"):
                client(f"http://{server.host}", time).get("", "read")
            assert len(server.requests) == 1

    @pytest.mark.parametrize("token", ["planted\nsecret", "planted secret", "plantéd"])
    def test_that_cannot_be_sent_are_refused_without_repeating_them(self, time: SharedTime, token: str) -> None:
        with pytest.raises(_compute_errors.CredentialsError) as caught:
            client("http://x", time, access_token=token)
        assert "plant" not in str(caught.value)

    def test_may_end_with_a_line_feed(self, time: SharedTime) -> None:
        with RawServer(answering(json_answer({}))) as server:
            client(f"http://{server.host}", time, access_token=f"{TOKEN}\n").get("", "read")
        assert f"bearer {TOKEN}\r\n".encode() in server.requests[0].lower()

    @pytest.mark.parametrize(
        "contents, words",
        [
            (
                "not json, planted",
                "service_account_contents is not the key of a service account: it is not a JSON object.",
            ),
            ('["planted"]', "service_account_contents is not the key of a service account: it is not a JSON object."),
            ('{"type": "planted"}', "service_account_contents is not the key of a service account."),
            (
                '{"client_email": "a@b", "token_uri": "https://x", "private_key": "-----BEGIN planted"}',
                "service_account_contents is not the key of a service account.",
            ),
        ],
    )
    def test_that_are_not_a_service_account_key(self, time: SharedTime, contents: str, words: str) -> None:
        with pytest.raises(_compute_errors.CredentialsError) as caught:
            client("http://x", time, access_token=None, service_account_contents=contents)
        assert str(caught.value) == words

    def test_in_a_file_that_cannot_be_read(self, time: SharedTime, tmp_path: Path) -> None:
        path = tmp_path / "key.json"
        with pytest.raises(_compute_errors.CredentialsError, match=r"key\.json cannot be read: No such file"):
            client("http://x", time, access_token=None, service_account_file=str(path))

    def test_that_do_not_exist(self, time: SharedTime, monkeypatch: pytest.MonkeyPatch) -> None:
        def nothing(**_options: Any) -> None:
            raise google.auth.exceptions.DefaultCredentialsError("Your default credentials were not found.")

        monkeypatch.setattr(google.auth, "default", nothing)
        with pytest.raises(_compute_errors.CredentialsError, match="gcloud auth application-default login"):
            client("http://x", time, access_token=None)

    def test_without_a_token(self, time: SharedTime) -> None:
        with pytest.raises(_compute_errors.CredentialsError, match="requires access_token"):
            client("http://x", time, access_token=None, auth_kind="accesstoken")

    def test_without_a_project(self, time: SharedTime) -> None:
        with pytest.raises(_compute_errors.ComputeBadRequest, match=r"There is no project.*GCP_PROJECT"):
            client("http://x", time, project=None)

    @pytest.mark.parametrize("flag, name", [("_HAS_REQUESTS", "requests"), ("_HAS_GOOGLE_AUTH", "google-auth")])
    def test_require_their_library(
        self, time: SharedTime, monkeypatch: pytest.MonkeyPatch, flag: str, name: str
    ) -> None:
        monkeypatch.setattr(_compute_api, flag, False)
        with pytest.raises(MissingLibrary, match=name):
            client("http://x", time)


def test_a_machine_account_s_token_comes_from_the_metadata_server(
    emulator: EmulatorProcess, time: SharedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    import google.auth.compute_engine._metadata as metadata

    # google-auth reads the variable when it is imported.
    monkeypatch.setattr(metadata, "_GCE_METADATA_HOST", emulator.metadata["web-1"])
    api = client(emulator.compute, time, access_token=None, auth_kind="machineaccount")
    assert api.get(WEB, "read")["name"] == "web-1"
    asked = [entry["path"] for entry in emulator.control.journal(face="metadata")]
    assert any(path.endswith("/token") for path in asked)


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


class TestServiceAccount:
    def key(self, private_key: str, server: RawServer) -> dict[str, str]:
        return {
            "type": "service_account",
            "project_id": "acme",
            "client_email": "robot@acme.iam.gserviceaccount.com",
            "private_key": private_key,
            "token_uri": f"http://{server.host}/token",
        }

    @pytest.mark.parametrize("is_file", [False, True])
    def test_key_gives_a_token_and_the_project(
        self, emulator: EmulatorProcess, time: SharedTime, private_key: str, tmp_path: Path, is_file: bool
    ) -> None:
        token = json_answer({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
        with RawServer(answering(token)) as server:
            contents = json.dumps(self.key(private_key, server))
            path = tmp_path / "key.json"
            path.write_text(contents, encoding="utf-8")
            source = {"service_account_file": str(path)} if is_file else {"service_account_contents": contents}
            api = client(emulator.compute, time, access_token=None, project=None, **source)
            for _turn in range(3):
                assert api.get(WEB, "read")["name"] == "web-1"
            assert len(server.requests) == 1

    def test_token_server_has_the_same_timeout(
        self, emulator: EmulatorProcess, time: SharedTime, private_key: str
    ) -> None:
        with RawServer(answering()) as server:
            contents = json.dumps(self.key(private_key, server))
            options = {"access_token": None, "service_account_contents": contents}
            api = client(emulator.compute, time, retry_for=0, request_timeout=0.2, **options)
            with pytest.raises(
                _compute_errors.ComputeUnavailable,
                match=r"the server that renews the credentials: .*timed",
            ):
                api.get(WEB, "read")

    def test_that_is_refused_is_reported_without_its_key(
        self, emulator: EmulatorProcess, time: SharedTime, private_key: str
    ) -> None:
        refused = json_answer({"error": "invalid_grant", "error_description": "Invalid JWT."}, "400 Bad Request")
        with RawServer(answering(refused)) as server:
            contents = json.dumps(self.key(private_key, server))
            api = client(emulator.compute, time, access_token=None, service_account_contents=contents)
            with pytest.raises(_compute_errors.CredentialsError) as caught:
                api.get(WEB, "read")
        assert str(caught.value) == (
            f"Cannot read projects/acme/{WEB}: the credentials cannot be used: invalid_grant: Invalid JWT. Renew "
            "them, or choose another auth_kind."
        )
