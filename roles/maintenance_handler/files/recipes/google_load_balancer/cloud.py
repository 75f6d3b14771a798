# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compute API as this VM's service account: tokens, pages, operations.

https://cloud.google.com/compute/docs/reference/rest/v1
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from client.errors import Unreachable
from maintenance_handler._vm.backoff import backoff
from maintenance_handler._vm.metadata_server import (
    Limits,
    MetadataError,
    MetadataNotFound,
    MetadataServer,
    MetadataUnavailable,
    NotMetadataServer,
)
from recipes.api import Api, Rejected
from recipes.run import Refusal, Run

SCOPES = ("https://www.googleapis.com/auth/compute", "https://www.googleapis.com/auth/cloud-platform")

_ACCOUNT = "instance/service-accounts/default/"
_REMEDY = "check the permissions and scopes in the documentation of google_load_balancer"
_LIMITS = Limits(retry_for=3.0, timeout=3.0)
# The metadata server serves a token until shortly before it expires.
_TOKEN_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
# With status 403.
_RATE_REASONS = ("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED")
# Another change of the same resource has not ended, or the platform cannot make the change now.
_LATER = ("resourceNotReady", "RESOURCE_NOT_READY", "RATE_LIMIT_EXCEEDED", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE")


class Later(Unreachable):
    """The API refuses a request for now."""


class OperationFailed(Refusal):
    """An operation ended with an error. `may_succeed_later`: the same change may succeed if it is begun again."""

    def __init__(self, message: str, *, may_succeed_later: bool) -> None:
        super().__init__(message)
        self.may_succeed_later = may_succeed_later


@dataclass(frozen=True)
class Account:
    """The VM's service account."""

    email: str
    scopes: tuple[str, ...]


class Cloud:
    """The project and the VM as the metadata server describes them. Methods raise `Unreachable` and `Refusal`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._server = MetadataServer(run["metadata_host"], limits=_LIMITS)
        self._url = run["api_endpoint"].rstrip("/")
        self.project = str(self._metadata("project/project-id"))
        self.zone = str(self._metadata("instance/zone")).rpartition("/")[2]
        self.region = self.zone.rpartition("-")[0]
        self.instance = str(self._metadata("instance/name"))
        self._token = ""
        self._token_since = float("-inf")

    @property
    def instance_path(self) -> str:
        return f"/zones/{self.zone}/instances/{self.instance}"

    def account(self) -> Account:
        try:
            shown = self._metadata(_ACCOUNT, recursive=True)
            return Account(str(shown["email"]), tuple(map(str, shown["scopes"])))
        except (KeyError, TypeError):
            raise Refusal("the metadata server does not describe the VM's service account") from None

    def managed_by(self) -> str:
        """The instance group manager that has created the VM, such as regions/R/instanceGroupManagers/M; else empty."""
        try:
            created_by = str(self._server.get("instance/attributes/created-by").value)
        except MetadataNotFound:
            return ""
        except MetadataError as exc:
            raise _error(exc) from None
        return created_by.split("/", 2)[2] if created_by.count("/") == 5 else ""

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """A resource of the project, such as /zones/Z/instances/I."""
        return self._object("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        return self._object("POST", path, body)

    def items(self, method: str, path: str, body: Any = None, **query: str) -> Iterator[dict[str, Any]]:
        """The resources of all pages of a list."""
        while True:
            page = self._object(method, f"{path}?{urlencode(query)}" if query else path, body)
            yield from page.get("items", [])
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = str(page["nextPageToken"])

    def begin(self, path: str, body: Any, request_id: str) -> str:
        """Begin a change, once for each request_id. Returns the path of its operation."""
        operation = self._object("POST", f"{path}?{urlencode({'requestId': request_id})}", body)
        return f"{_scope(path)}/operations/{quote(str(operation.get('name')), safe='')}"

    def begun(self, path: str, request_id: str) -> str | None:
        """The path of the operation of an earlier `begin`, which may have been interrupted; None if there is none."""
        found = self.items("GET", f"{_scope(path)}/operations", filter=f'clientOperationId = "{request_id}"')
        operation = next(found, None)
        return f"{_scope(path)}/operations/{quote(str(operation.get('name')), safe='')}" if operation else None

    def finish(self, operation: str) -> None:
        """Wait for the end of an operation. Raises `OperationFailed`."""
        pauses = backoff(_FIRST_PAUSE, _LONGEST_PAUSE, random.random)

        def still_runs() -> str:
            shown = self.get(operation)
            if shown.get("status") != "DONE":
                self.run.pause(next(pauses))
                return f"the operation {shown.get('operationType')} is {shown.get('status')}"
            errors = shown.get("error", {}).get("errors", [])
            if errors:
                text = f"the operation {shown.get('operationType')} failed: {errors[0].get('message')}".rstrip(".")
                raise OperationFailed(text, may_succeed_later=errors[0].get("code") in _LATER)
            return ""

        self.run.wait_until(still_runs, every=0)

    def _object(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            value = self._send(method, path, body)
        except Rejected as exc:
            if exc.status != 401:
                raise _judged(exc) from None
            # The token may have expired early, such as when the service account was replaced.
            self._token = ""
            value = self._send(method, path, body)
        if not isinstance(value, dict):
            raise Refusal(f"{self._url} does not answer like the Compute API: is api_endpoint right?")
        return value

    def _send(self, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._access_token()}"}
        api = Api(f"{self._url}/projects/{self.project}", self.run, _REMEDY, headers)
        return api.send(method, path, {} if body is None and method == "POST" else body)

    def _access_token(self) -> str:
        if not self._token or self.run.clock() - self._token_since > _TOKEN_SECONDS:
            answer = self._metadata(f"{_ACCOUNT}token")
            token = answer.get("access_token") if isinstance(answer, dict) else None
            if not isinstance(token, str) or not token.isascii() or not token.isprintable():
                raise Refusal("the metadata server does not answer with an access token")
            self._token, self._token_since = token, self.run.clock()
        return self._token

    def _metadata(self, path: str, *, recursive: bool = False) -> Any:
        try:
            return self._server.get(path, recursive=recursive).value
        except MetadataNotFound as exc:
            if path.startswith(_ACCOUNT):
                raise Refusal(
                    "the VM has no service account: stop the VM and set one, with 'gcloud compute instances "
                    "set-service-account', or drain it by lame_duck"
                ) from None
            raise _error(exc) from None
        except MetadataError as exc:
            raise _error(exc) from None


def reason(exc: Rejected) -> str:
    """The API's reason for a rejection, such as `memberAlreadyExists`."""
    value = exc.answer.json()
    try:
        return str(value["error"]["errors"][0]["reason"])
    except (IndexError, KeyError, TypeError):
        return ""


def _judged(exc: Rejected) -> Refusal:
    """What a rejection means: some are only for now."""
    why = reason(exc)
    return Later(str(exc)) if why in _RATE_REASONS or why in _LATER else exc


def _error(exc: MetadataError) -> Refusal:
    text = str(exc).rstrip(".")
    # Another server at this address stays: a wrong metadata_host, or a proxy.
    is_for_now = isinstance(exc, MetadataUnavailable) and not isinstance(exc, NotMetadataServer)
    return Unreachable(text) if is_for_now else Refusal(text)


def _scope(path: str) -> str:
    """/zones/Z or /regions/R of a path."""
    return "/".join(path.split("/")[:3])
