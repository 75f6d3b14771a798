# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the Compute API: its session, its retries, its operations, its pages.

Private to the collection: it may change at any time. The only file that imports requests and google-auth. Google's own
google.cloud.compute_v1 would do the same, but takes 0.9 s and 150 MB to be imported.

https://cloud.google.com/compute/docs/reference/rest/v1
"""

from __future__ import annotations

import copy
import functools
import json
import math
import random as _random
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .credentials import DEFAULT_UNIVERSE, login, unusable
from .errors import (
    ComputeBadRequest,
    ComputeError,
    ComputeNotFound,
    ComputeUnavailable,
    CredentialsError,
    OperationUnfinished,
    RateLimited,
    reason_of,
)
from .pace import Pace
from .refusals import Act, operation_error, refusal
from .resource_names import parse_project

try:
    import requests
    import requests.adapters
    import requests.utils
except ImportError:
    _HAS_REQUESTS = False
else:
    _HAS_REQUESTS = True

try:
    import google.auth
    import google.auth.exceptions
    import google.auth.transport.requests
except ImportError:
    _HAS_GOOGLE_AUTH = False
else:
    _HAS_GOOGLE_AUTH = True

DEFAULT_ENDPOINT = "https://compute.googleapis.com/compute/v1/"
# The API's quota is 1,500 a minute for most projects. Others use it, too.
# https://cloud.google.com/compute/api-quota
DEFAULT_REQUESTS_PER_MINUTE = 1200.0
DEFAULT_CONCURRENCY = 32

# Pauses between tries, in seconds.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 20.0
# The time of one try for which there is none left, in seconds.
SHORTEST_TRY = 1.0
# operations.wait answers "near the 2 minutes deadline" at the latest.
LONGEST_WAIT = 120.0
# The API gives no more at once.
PAGE_SIZE = 500

_HARMLESS_WARNINGS = {"NO_RESULTS_ON_PAGE"}


class MissingLibrary(Exception):
    """A library that is needed cannot be imported; str() is its name."""


class ComputeApi:
    """Calls below projects/, from any number of threads."""

    def __init__(
        self,
        credentials: Any,
        project: str,
        *,
        endpoint: str = DEFAULT_ENDPOINT,
        retry_for: float = 120.0,
        request_timeout: float = 30.0,
        requests_per_minute: float = DEFAULT_REQUESTS_PER_MINUTE,
        concurrency: int = DEFAULT_CONCURRENCY,
        can_refresh: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = _random.random,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        """`retry_for` is counted from a call's first failure, `request_timeout` is the time of one try.

        `on_warning` is told, once each, of results that are not complete.
        """
        self.project = project
        self.concurrency = concurrency
        self.clock = clock
        self.sleep = sleep
        self.random = random
        # Sentences about results that are not complete, and the scopes, such as zones/europe-west1-b, that have none.
        self.warnings: list[str] = []
        self.unreachables: list[str] = []
        self._project_ids: dict[str, str] = {}
        self._on_warning = on_warning
        self._base = checked_endpoint(endpoint)
        self._host = urlsplit(self._base).netloc
        self._credentials = credentials
        self._retry_for = retry_for
        self._timeout = request_timeout
        self._deadline = math.inf
        self._pace = Pace(requests_per_minute, clock, sleep)
        self._lock = threading.Lock()
        self._session = _session(credentials, self._base, concurrency, can_refresh)

    def close(self) -> None:
        self._session.close()

    def until(self, deadline: float) -> ComputeApi:
        """The same client for what has to be over by then, on `clock`. What is begun later still has one short try."""
        bounded = copy.copy(self)
        bounded._deadline = min(self._deadline, deadline)
        return bounded

    # Reading

    def is_project(self, other: str) -> bool:
        """Whether this is the project, by its ID or its number. Takes a request if `project` is the other of both."""
        if other == self.project or other.isdigit() == self.project.isdigit():
            return other == self.project
        number, name = (other, self.project) if other.isdigit() else (self.project, other)
        if number not in self._project_ids:
            act = Act("read", f"projects/{number}", number)
            try:
                # The number is a path, too, and what is there has the ID for its name.
                project = self._call("GET", act, f"projects/{number}", {"fields": "name"}, is_whole=True)
            except ComputeNotFound:
                project = {}
            self._project_ids[number] = str(project.get("name", ""))
        return self._project_ids[number] == name

    def get(
        self, path: str, verb: str, *, resource: str | None = None, fields: str = "", **query: str
    ) -> dict[str, Any]:
        """A resource. `path` is below projects/PROJECT/, and `verb` says in errors what is attempted ("read").

        `resource` is what errors call it, by default the path.
        """
        if fields:
            query["fields"] = fields
        return self._call("GET", self._act(verb, resource or path), path, query)

    def pages(self, path: str, verb: str, *, fields: str = "", **query: str) -> Iterator[dict[str, Any]]:
        """The pages of a list, as they are. `fields` is about the page, and need not have the token."""
        query["maxResults"] = str(PAGE_SIZE)
        if fields:
            query["fields"] = f"{fields},nextPageToken,warning,unreachables"
        while True:
            page = self.get(path, verb, **query)
            self._note_partial(path, page)
            yield page
            token = page.get("nextPageToken")
            if not token:
                return
            query["pageToken"] = token

    def items(self, path: str, verb: str, *, fields: str = "", **query: str) -> Iterator[dict[str, Any]]:
        """The resources of a list. `fields` is about a resource, such as "name,zone"."""
        for page in self.pages(path, verb, fields=f"items({fields})" if fields else "", **query):
            yield from page.get("items", [])

    def aggregated(self, collection: str, verb: str, *, fields: str = "", **query: str) -> Iterator[dict[str, Any]]:
        """The resources of all zones. `fields` is about a resource, and `collection` such as "instances"."""
        mask = f"items/*/{collection}({fields}),items/*/warning" if fields else ""
        for page in self.pages(f"aggregated/{collection}", verb, fields=mask, **query):
            for scope, content in page.get("items", {}).items():
                self._note_partial(scope, content)
                yield from content.get(collection, [])

    # Writing

    def write(
        self,
        method: str,
        path: str,
        verb: str,
        body: Mapping[str, Any] | None = None,
        *,
        resource: str | None = None,
        secrets: Collection[str] = (),
        **query: str,
    ) -> dict[str, Any]:
        """Start a write; its operation. However often it has to be sent, it happens once.

        `resource` is what errors call it, by default the path, and `secrets` is what they must not repeat.
        """
        # https://cloud.google.com/apis/design/design_patterns#request_duplication
        query["requestId"] = str(uuid.uuid4())
        return self._call(method, self._act(verb, resource or path, secrets), path, query, body)

    def finish(
        self,
        operation: Mapping[str, Any],
        verb: str,
        resource: str,
        *,
        deadline: float | None = None,
        secrets: Collection[str] = (),
    ) -> dict[str, Any]:
        """The operation when it has ended well; raises what it ended in. `deadline` is on `clock`."""
        act = self._act(verb, resource, secrets)
        path = operation_path(operation)
        current = dict(operation)
        while current.get("status") != "DONE":
            left = LONGEST_WAIT if deadline is None else deadline - self.clock()
            if left <= 0:
                raise OperationUnfinished(
                    act.failure(
                        f"its operation {current.get('name')} is still {current.get('status')}. It may yet end well."
                    )
                )
            # The answer is late by nature, and if it is not here by the deadline, no matter whether it comes.
            timeout = min(left, LONGEST_WAIT + self._timeout)
            try:
                current = self._call("POST", act, f"{path}/wait", {}, timeout=timeout, deadline=deadline, is_whole=True)
            except ComputeUnavailable:
                if deadline is None or self.clock() < deadline:
                    raise
        error = operation_error(act, current)
        if error is not None:
            raise error
        return current

    # One call

    def _act(self, verb: str, path: str, secrets: Collection[str] = ()) -> Act:
        resource = path if path.startswith("projects/") else f"projects/{self.project}/{path}".rstrip("/")
        return Act(verb, resource, self.project, secrets)

    def _call(
        self,
        method: str,
        act: Act,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        is_whole: bool = False,
    ) -> dict[str, Any]:
        """Until there is an answer, an error that no repetition changes, or no time. `is_whole`: from projects/ on."""
        target = path if is_whole else f"projects/{self.project}/{path}".rstrip("/")
        url = f"{self._base}{quote(target, safe='/:')}?{urlencode({**query, 'prettyPrint': 'false'}, quote_via=quote)}"
        data = None if body is None else json.dumps(body).encode()
        pauses = backoff(self.random)
        tries, first_failure = 0, None
        deadline = self._deadline if deadline is None else min(self._deadline, deadline)
        while True:
            self._pace.turn()
            try_for = min(timeout or self._timeout, max(SHORTEST_TRY, self._deadline - self.clock()))
            try:
                return self._try(method, act, url, data, try_for)
            except (ComputeUnavailable, RateLimited) as failure:
                error = failure
            tries += 1
            now = self.clock()
            first_failure = now if first_failure is None else first_failure
            left = min(first_failure + self._retry_for, deadline) - now
            if left <= 0:
                raise _given_up(error, tries, now - first_failure)
            pause = min(next(pauses), left)
            if isinstance(error, RateLimited):
                self._pace.hold(pause)
            self.sleep(pause)

    def _try(self, method: str, act: Act, url: str, data: bytes | None, timeout: float) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} if method != "GET" else {}
        try:
            self._refresh(timeout)
            response = self._session.request(
                method, url, data=data, headers=headers, timeout=timeout, allow_redirects=False
            )
            status, content = response.status_code, response.content
        except requests.exceptions.SSLError as error:
            raise ComputeBadRequest(
                act.failure(f"the certificate of {self._host} is not accepted: {reason_of(error)}.")
            ) from None
        except requests.exceptions.InvalidHeader:
            # Its text has the header, and the header has the token.
            raise CredentialsError(act.failure("the access token is not one that can be sent.")) from None
        except requests.exceptions.RequestException as error:
            raise ComputeUnavailable(act.failure(f"no answer from {self._host}: {reason_of(error)}.")) from None
        except google.auth.exceptions.TransportError as error:
            raise ComputeUnavailable(
                act.failure(f"no answer from where credentials are renewed: {reason_of(error)}.")
            ) from None
        except google.auth.exceptions.GoogleAuthError as error:
            raise unusable(error, act.failure("the credentials cannot be used"), self._credentials) from None
        if status >= 400:
            raise refusal(act, status, content)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if status >= 300 or not isinstance(answer, dict):
            raise ComputeUnavailable(
                act.failure(
                    f"what answers at {self._host} is not the Compute API: status {status} without a resource."
                ),
                status=status,
            )
        return answer

    def _refresh(self, timeout: float) -> None:
        """Renew the credentials once, and not in all threads at the same time."""
        if self._credentials.valid:
            return
        with self._lock:
            if not self._credentials.valid:
                # Its own timeout is 120 s.
                request = functools.partial(google.auth.transport.requests.Request(), timeout=timeout)
                self._credentials.refresh(request)

    def _note_partial(self, where: str, page: Mapping[str, Any]) -> None:
        problems = []
        with self._lock:
            for scope in page.get("unreachables", []):
                problems.append(f"{scope} could not be reached.")
                if scope not in self.unreachables:
                    self.unreachables.append(scope)
        warning = page.get("warning", {})
        if warning and warning.get("code") not in _HARMLESS_WARNINGS:
            problems.append(f"{warning.get('code')}: {warning.get('message', '')}")
        for problem in problems:
            self._warn(f"The list {where} is not complete: {problem}")

    def _warn(self, text: str) -> None:
        with self._lock:
            if text in self.warnings:
                return
            self.warnings.append(text)
        if self._on_warning is not None:
            self._on_warning(text)


def connect(option: Callable[[str], Any], **changes: Any) -> ComputeApi:
    """The client that options describe, read one by one by their names; `changes` are further arguments of it.

    Raises MissingLibrary, and CredentialsError or ComputeBadRequest for options that cannot be right.
    """
    if not _HAS_REQUESTS:
        raise MissingLibrary("requests")
    if not _HAS_GOOGLE_AUTH:
        raise MissingLibrary("google-auth")
    given = option("api_endpoint")
    endpoint = checked_endpoint(given) if given else None
    found = login(option, with_universe=endpoint is None)
    project = option("project") or found.project
    if not project:
        raise ComputeBadRequest("There is no project: set the option project, or the environment variable GCP_PROJECT.")
    arguments: dict[str, Any] = {name: option(name) for name in ("retry_for", "request_timeout", "requests_per_minute")}
    return ComputeApi(
        found.credentials,
        parse_project(str(project)),
        endpoint=endpoint or DEFAULT_ENDPOINT.replace(DEFAULT_UNIVERSE, found.universe),
        can_refresh=found.can_refresh,
        **{**arguments, **changes},
    )


def checked_endpoint(endpoint: str) -> str:
    """The URL that all paths are below: with /compute/v1/ if it names no path, and a slash at its end."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ComputeBadRequest(f"api_endpoint is {endpoint!r}, and not a URL such as {DEFAULT_ENDPOINT}")
    path = parts.path.strip("/") or "compute/v1"
    return f"{parts.scheme}://{parts.netloc}/{path}/"


def operation_path(operation: Mapping[str, Any]) -> str:
    """Where an operation is, from projects/ on."""
    path = str(operation.get("selfLink", "")).partition("/projects/")[2]
    if not path:
        raise ComputeUnavailable("The Compute API answered a write with something that is not an operation.")
    return f"projects/{path}"


def backoff(random: Callable[[], float]) -> Iterator[float]:
    """The pauses between tries: doubling from FIRST_PAUSE to LONGEST_PAUSE, a random part of up to half taken off."""
    pause = FIRST_PAUSE
    while True:
        yield pause * (1 - random() / 2)
        pause = min(2 * pause, LONGEST_PAUSE)


def _session(credentials: Any, base: str, concurrency: int, can_refresh: bool) -> Any:
    """A session for all threads, with a connection for each."""
    # A token that was given cannot be renewed, and the API's own words say more than that.
    statuses = (401,) if can_refresh else ()
    session = google.auth.transport.requests.AuthorizedSession(credentials, refresh_status_codes=statuses)
    # What the environment says is looked up once instead of for each request, which takes longer than the rest of it;
    # and a .netrc must not replace the token.
    session.trust_env = False
    settings = requests.Session().merge_environment_settings(base, {}, None, None, None)
    session.proxies, session.verify = settings["proxies"], settings["verify"]
    adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=concurrency)
    session.mount(base[: base.index("://") + 3], adapter)
    session.headers["User-Agent"] = "gce.guest"
    return session


def _given_up(error: ComputeError, tries: int, seconds: float) -> ComputeError:
    if tries > 1:
        error.args = (f"{error} Gave up after {tries} tries in {seconds:.0f} s.",)
    return error
