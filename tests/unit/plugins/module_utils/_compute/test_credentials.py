# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients from options and the environment. A proxy answers for the hosts that issue tokens."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi, connect
from ansible_collections.gce.guest.plugins.module_utils._compute.credentials import auth_kind
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest, CredentialsError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.internet import Internet
from support.raw_server import http_answer

OPTIONS: dict[str, Any] = {"retry_for": 0, "request_timeout": 20.0, "requests_per_minute": 0}
ROBOT = "robot@acme.iam.gserviceaccount.com"
DEPUTY = "deputy@acme.iam.gserviceaccount.com"


def client(**options: Any) -> ComputeApi:
    return connect({**OPTIONS, **options}.get)


def json_answer(document: Any, status: str = "200 OK") -> bytes:
    return http_answer(status, json.dumps(document).encode(), content_type="application/json", connection="close")


def token_for(**expected: str) -> Any:
    """A host that issues a token."""

    def host(request: bytes) -> bytes:
        return json_answer({**expected, "expires_in": 3600, "token_type": "Bearer"})

    return host


class Compute:
    """The Compute API, with the requests it got."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def __call__(self, request: bytes) -> bytes:
        self.requests.append(request)
        return json_answer({"name": "acme"})

    @property
    def tokens(self) -> list[bytes]:
        lines = [line for request in self.requests for line in request.split(b"\r\n")]
        return [line.split(b" ")[2] for line in lines if line.lower().startswith(b"authorization: bearer ")]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Without the developer's own credentials."""
    for name in (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_PROJECT",
        "GCLOUD_PROJECT",
        "CLOUDSDK_AUTH_ACCESS_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return monkeypatch


def enter(monkeypatch: pytest.MonkeyPatch, internet: Internet) -> None:
    for name, value in internet.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def key(private_key: str, **more: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": "acme",
        "client_email": ROBOT,
        "private_key": private_key,
        "private_key_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
        **more,
    }


class TestFederation:
    """Federated credentials request the project from cloudresourcemanager, which may be disabled."""

    @pytest.fixture
    def compute(self) -> Compute:
        return Compute()

    @pytest.fixture
    def internet(self, tmp_path: Path, environment: pytest.MonkeyPatch, compute: Compute) -> Any:
        subject = tmp_path / "subject"
        subject.write_text("of the other cloud", encoding="utf-8")
        configuration = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/80/locations/global/workloadIdentityPools/p/providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"file": str(subject)},
        }
        path = tmp_path / "federation.json"
        path.write_text(json.dumps(configuration), encoding="utf-8")
        environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        hosts = {
            "sts_googleapis_com": token_for(
                access_token="federated", issued_token_type="urn:ietf:params:oauth:token-type:access_token"
            ),
            "cloudresourcemanager_googleapis_com": lambda request: json_answer({"projectId": "pool"}),
            "compute_googleapis_com": compute,
        }
        with Internet(tmp_path, **hosts) as internet:
            enter(environment, internet)
            yield internet

    def test_project_is_not_requested_if_given(self, internet: Internet, compute: Compute) -> None:
        api = client(project="acme")
        assert internet.asked == []
        assert api.get("", "read") == {"name": "acme"}
        assert internet.asked == ["sts.googleapis.com", "compute.googleapis.com"]
        assert compute.tokens == [b"federated"]

    def test_project_is_requested_if_not_given(self, internet: Internet) -> None:
        assert client().project == "pool"
        assert internet.asked == ["sts.googleapis.com", "cloudresourcemanager.googleapis.com"]


class TestImpersonation:
    def hosts(self, compute: Compute, answer: bytes, requests: list[bytes]) -> dict[str, Any]:
        def issue(request: bytes) -> bytes:
            requests.append(request)
            return answer

        return {"iamcredentials_googleapis_com": issue, "compute_googleapis_com": compute}

    def test_by_an_access_token(self, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
        compute, requests = Compute(), list[bytes]()
        issued = json_answer({"accessToken": "of-the-robot", "expireTime": "2099-01-01T00:00:00Z"})
        with Internet(tmp_path, **self.hosts(compute, issued, requests)) as internet:
            enter(environment, internet)
            api = client(project="acme", access_token="mine", impersonate_service_account=[DEPUTY, ROBOT])
            for _turn in range(2):
                api.get("", "read")
        [request] = requests
        head, _unused, body = request.partition(b"\r\n\r\n")
        assert head.startswith(f"POST /v1/projects/-/serviceAccounts/{ROBOT}:generateAccessToken".encode())
        assert b"bearer mine" in head.lower()
        assert json.loads(body)["delegates"] == [DEPUTY]
        assert json.loads(body)["scope"] == ["https://www.googleapis.com/auth/cloud-platform"]
        assert compute.tokens == [b"of-the-robot"] * 2

    def test_that_is_denied_names_the_role(self, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
        error = {
            "code": 403,
            "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
            "status": "PERMISSION_DENIED",
            "details": [{"reason": "IAM_PERMISSION_DENIED"}],
        }
        denied = json_answer({"error": error}, "403 Forbidden")
        with Internet(tmp_path, **self.hosts(Compute(), denied, [])) as internet:
            enter(environment, internet)
            api = client(project="acme", access_token="mine", impersonate_service_account=[ROBOT])
            with pytest.raises(CredentialsError) as caught:
                api.get("", "read")
        said = str(caught.value)
        assert said.startswith(
            f"Cannot read projects/acme: the credentials cannot be used: Cannot impersonate {ROBOT}: "
        )
        assert "the IAM Service Account Credentials API answers 403 IAM_PERMISSION_DENIED: Permission" in said
        assert "Grant the permission iam.serviceAccounts.getAccessToken" in said
        assert "roles/iam.serviceAccountTokenCreator" in said

    @pytest.mark.parametrize("account", ["robot", "", "a b@c", "projects/-/serviceAccounts/robot@acme"])
    def test_of_an_invalid_account_is_refused(self, account: str) -> None:
        with pytest.raises(CredentialsError, match="is not the email address of a service account"):
            client(project="acme", access_token="mine", impersonate_service_account=[account])


class TestUniverse:
    def test_of_a_key_sets_the_endpoint(
        self, tmp_path: Path, environment: pytest.MonkeyPatch, private_key: str
    ) -> None:
        compute = Compute()
        with Internet(tmp_path, compute_cloud_example=compute) as internet:
            enter(environment, internet)
            contents = json.dumps(key(private_key, universe_domain="cloud.example"))
            assert client(service_account_contents=contents).get("", "read") == {"name": "acme"}
            # Signs its tokens itself, since another universe may have no host that issues them.
            assert internet.asked == ["compute.cloud.example"]
        assert compute.requests[0].startswith(b"GET /compute/v1/projects/acme?")
        assert compute.tokens[0].count(b".") == 2

    def test_of_an_access_token_is_an_option(self, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
        compute = Compute()
        with Internet(tmp_path, compute_cloud_example=compute) as internet:
            enter(environment, internet)
            api = client(project="acme", access_token="mine", universe_domain="cloud.example")
            api.get("", "read")
        assert compute.tokens == [b"mine"]

    def test_does_not_change_a_given_endpoint(
        self, tmp_path: Path, environment: pytest.MonkeyPatch, private_key: str
    ) -> None:
        with Internet(tmp_path, compute_private_example=Compute()) as internet:
            enter(environment, internet)
            contents = key(private_key, universe_domain="cloud.example")
            client(service_account_contents=contents, api_endpoint="https://compute.private.example").get("", "read")
            assert internet.asked == ["compute.private.example"]

    def test_that_differs_from_the_credentials_is_refused(self, private_key: str) -> None:
        with pytest.raises(CredentialsError) as caught:
            client(service_account_contents=json.dumps(key(private_key)), universe_domain="cloud.example")
        assert "universe_domain is cloud.example, but the credentials are for googleapis.com" in str(caught.value)

    @pytest.mark.parametrize("domain", ["https://cloud.example", "cloud", "cloud.example/x", "a b.c"])
    def test_that_is_not_a_domain_is_refused(self, domain: str) -> None:
        with pytest.raises(CredentialsError, match="which is not a domain such as googleapis"):
            client(project="acme", access_token="mine", universe_domain=domain)


class TestTokenOfGcloud:
    def test_is_used_without_other_credentials(self, environment: pytest.MonkeyPatch, private_key: str) -> None:
        nothing: dict[str, Any] = {}
        environment.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", "")
        assert auth_kind(nothing.get) == "application"
        environment.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", "of-gcloud")
        assert auth_kind(nothing.get) == "accesstoken"
        assert auth_kind({"service_account_file": "key.json"}.get) == "serviceaccount"
        assert auth_kind({"auth_kind": "application"}.get) == "application"

    @pytest.mark.parametrize(
        "options, token",
        [({}, b"of-gcloud"), ({"auth_kind": "accesstoken"}, b"of-gcloud"), ({"access_token": "mine"}, b"mine")],
    )
    def test_is_sent(
        self, tmp_path: Path, environment: pytest.MonkeyPatch, options: dict[str, str], token: bytes
    ) -> None:
        compute = Compute()
        environment.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", "of-gcloud")
        with Internet(tmp_path, compute_googleapis_com=compute) as internet:
            enter(environment, internet)
            client(project="acme", **options).get("", "read")
        assert compute.tokens == [token]


class TestOtherFiles:
    @pytest.mark.parametrize(
        "kind, words",
        [
            ("authorized_user", "the credentials of a user"),
            ("external_account", "a configuration of workload identity federation"),
            ("external_account_authorized_user", "the credentials of a user by workforce identity federation"),
            ("impersonated_service_account", "credentials that impersonate a service account"),
            ("gdch_service_account", "a key of Google Distributed Cloud"),
        ],
    )
    def test_are_named_with_a_remedy(self, tmp_path: Path, kind: str, words: str) -> None:
        path = tmp_path / "key.json"
        path.write_text(json.dumps({"type": kind, "refresh_token": "planted"}), encoding="utf-8")
        with pytest.raises(CredentialsError) as caught:
            client(project="acme", service_account_file=str(path))
        said = str(caught.value)
        assert said.startswith(f"service_account_file {path} is not the key of a service account, but {words}")
        assert kind in said
        assert "GOOGLE_APPLICATION_CREDENTIALS" in said
        assert "auth_kind=application" in said
        assert "planted" not in said

    @pytest.mark.parametrize("kind", ["installed", "web"])
    def test_of_an_application_are_named(self, kind: str) -> None:
        with pytest.raises(CredentialsError, match=r"the OAuth client of an application\. Create a key with: gcloud"):
            client(project="acme", service_account_contents=json.dumps({kind: {"client_secret": "planted"}}))

    def test_in_base64_are_recognized(self, private_key: str) -> None:
        encoded = base64.b64encode(json.dumps(key(private_key)).encode()).decode()
        with pytest.raises(CredentialsError, match=r"service_account_contents is in base64\. Decode it"):
            client(project="acme", service_account_contents=encoded)

    def test_a_key_instead_of_a_path_is_not_repeated(self, private_key: str) -> None:
        with pytest.raises(CredentialsError, match="contains a key instead of a path") as caught:
            client(project="acme", service_account_file=json.dumps(key(private_key)))
        assert "PRIVATE" not in str(caught.value)


def test_missing_credentials_have_a_remedy(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(CredentialsError, match="gcloud auth application-default login"):
        client(project="acme")


def test_an_invalid_project_is_refused() -> None:
    with pytest.raises(ComputeBadRequest, match="The option project is 'My Project'"):
        client(project="My Project", access_token="mine")
