# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the Compute API: session, retries, operations, pages.

Private to the collection: it may change at any time. Uses requests and google-auth, since importing Google's own
google.cloud.compute_v1 takes 0.9 s and 150 MB.

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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from .._vm.backoff import backoff
from .credentials import DEFAULT_UNIVERSE, Login, login, unusable
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
from .progress import Progress, ProgressMeter
from .refusals import Act, operation_error, refusal
from .request_pacer import RequestPacer
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
# Most projects have a quota of 1,500 a minute, which others use, too.
# https://cloud.google.com/compute/api-quota
DEFAULT_REQUESTS_PER_MINUTE = 1200.0
DEFAULT_CONCURRENCY = 32

# Pauses between tries, in seconds.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 20.0
# What one try gets after the deadline, in seconds.
SHORTEST_TRY = 1.0
# operations.wait answers "near the 2 minutes deadline" at the latest.
LONGEST_WAIT = 120.0
# The API's maximum.
PAGE_SIZE = 500

_HARMLESS_WARNINGS = {"NO_RESULTS_ON_PAGE"}

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class MissingLibrary(Exception):
    """A required library cannot be imported; str() is its name."""


@dataclass(frozen=True)
class Limits:
    """`retry_for` is in seconds from a call's first failure, `request_timeout` the seconds of one try."""

    retry_for: float = 120.0
    request_timeout: float = 30.0
    # 0 removes the limit.
    requests_per_minute: float = DEFAULT_REQUESTS_PER_MINUTE
    # Requests at the same time.
    concurrency: int = DEFAULT_CONCURRENCY


@dataclass(frozen=True)
class Time:
    """Where time comes from; tests have their own."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    # From 0 to 1, for pauses.
    random: Callable[[], float] = _random.random
    # Epoch seconds.
    now: Callable[[], float] = time.time


DEFAULT_LIMITS = Limits()
REAL_TIME = Time()


class ComputeApi:
    """Calls below projects/PROJECT/. One client serves any number of threads."""

    def __init__(
        self,
        account: Login,
        project: str,
        *,
        endpoint: str = DEFAULT_ENDPOINT,
        limits: Limits = DEFAULT_LIMITS,
        time: Time = REAL_TIME,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        """`on_warning` is called once for each reason why a list is incomplete."""
        self.project = project
        self.clock, self.sleep, self.random = time.clock, time.sleep, time.random
        # Why lists are incomplete, and the scopes that could not be reached, such as zones/europe-west1-b.
        self.warnings: list[str] = []
        self.unreachables: list[str] = []
        # Called while `each` works, with what it is asked to count.
        self.on_progress: Callable[[Progress], None] | None = None
        self._project_ids: dict[str, str] = {}
        self._on_warning = on_warning
        self._base = checked_endpoint(endpoint)
        self._host = urlsplit(self._base).netloc
        self._credentials = account.credentials
        self._limits = limits
        # On `clock`.
        self.deadline = math.inf
        self._pacer = RequestPacer(limits.requests_per_minute, time.clock, time.sleep)
        self._lock = threading.Lock()
        self._session = _session(account, self._base, limits.concurrency)

    def close(self) -> None:
        self._session.close()

    def until(self, deadline: float) -> ComputeApi:
        """The same client with a deadline on `clock`. A call that starts later still gets one short try."""
        bounded = copy.copy(self)
        bounded.deadline = min(self.deadline, deadline)
        return bounded

    def each(
        self, items: Sequence[_Item], do: Callable[[_Item], _Result], *, requests: int | None = None
    ) -> list[_Result | ComputeError]:
        """Call `do` for each item, several at once; its results or the ComputeErrors it raises, in the items' order.

        With `requests`, the least number of requests that an item takes, progress is reported.
        """
        count = self._counting(len(items), requests)

        def attempt(item: _Item) -> _Result | ComputeError:
            try:
                return do(item)
            except ComputeError as error:
                return error
            finally:
                count()

        if len(items) < 2:
            return [attempt(item) for item in items]
        with ThreadPoolExecutor(min(self._limits.concurrency, len(items)), thread_name_prefix="compute") as pool:
            return list(pool.map(attempt, items))

    def _counting(self, total: int, requests: int | None) -> Callable[[], None]:
        """What to call after each item."""
        if self.on_progress is None or requests is None or total < 2:
            return lambda: None
        each = requests
        return ProgressMeter(
            total, lambda items: self._pacer.seconds_for(items * each), self.clock, self.on_progress
        ).count

    # Reading

    def is_project(self, other: str) -> bool:
        """Whether an ID or number names this project. Takes a request to compare an ID with a number."""
        if other == self.project or other.isdigit() == self.project.isdigit():
            return other == self.project
        number, name = (other, self.project) if other.isdigit() else (self.project, other)
        if number not in self._project_ids:
            act = Act("read", f"projects/{number}", number)
            try:
                # A project's path may have its number; its name is always the ID.
                project = self._call(self._request("GET", act, f"projects/{number}", {"fields": "name"}))
            except ComputeNotFound:
                project = {}
            self._project_ids[number] = str(project.get("name", ""))
        return self._project_ids[number] == name

    def get(
        self,
        path: str,
        verb: str,
        *,
        method: str = "GET",
        resource: str | None = None,
        fields: str = "",
        **query: str,
    ) -> dict[str, Any]:
        """A resource. `path` is below projects/PROJECT/; errors begin with "Cannot {verb} {resource}".

        `resource` defaults to `path`. Some lists are read with the method POST.
        """
        if fields:
            query["fields"] = fields
        return self._call(self._request(method, self._act(verb, resource or path), self._full(path), query))

    def pages(self, path: str, verb: str, *, fields: str = "", **query: str) -> Iterator[dict[str, Any]]:
        """The pages of a list. `fields` applies to a page; the page token is added to it."""
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
        """The resources of a list. `fields` applies to a resource, such as "name,zone"."""
        for page in self.pages(path, verb, fields=f"items({fields})" if fields else "", **query):
            yield from page.get("items", [])

    def aggregated(self, collection: str, verb: str, *, fields: str = "", **query: str) -> Iterator[dict[str, Any]]:
        """The resources of all zones. `collection` is such as "instances"; `fields` applies to a resource."""
        mask = f"items/*/{collection}({fields}),items/*/warning" if fields else ""
        for page in self.pages(f"aggregated/{collection}", verb, fields=mask, **query):
            for scope, content in page.get("items", {}).items():
                self._note_partial(scope, content)
                yield from content.get(collection, [])

    def in_zones(
        self, collection: str, zone: str | None, verb: str, *, fields: str = "", **query: str
    ) -> Iterator[dict[str, Any]]:
        """The resources of a zone, or of all zones without one."""
        if zone is None:
            return self.aggregated(collection, verb, fields=fields, **query)
        return self.items(f"zones/{zone}/{collection}", verb, fields=fields, **query)

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
        """Start a write; its operation. However often it is sent, it happens once.

        `resource` is what errors call it, by default the path. Errors do not repeat `secrets`.
        """
        # https://cloud.google.com/apis/design/design_patterns#request_duplication
        query["requestId"] = str(uuid.uuid4())
        act = self._act(verb, resource or path, secrets)
        return self._call(self._request(method, act, self._full(path), query, body))

    def finish(
        self, operation: Mapping[str, Any], verb: str, resource: str, *, secrets: Collection[str] = ()
    ) -> dict[str, Any]:
        """Wait for an operation, until the client's deadline; raises the error that it ended in."""
        act = self._act(verb, resource, secrets)
        path = operation_path(operation)
        current = dict(operation)
        while current.get("status") != "DONE":
            left = self.deadline - self.clock()
            if left <= 0:
                raise OperationUnfinished(
                    act.failure(
                        f"its operation {current.get('name')} is still {current.get('status')}, and may yet succeed."
                    )
                )
            request = self._request("POST", act, f"{path}/wait", {})
            try:
                # The server answers late on purpose. After the deadline, the answer no longer matters.
                current = self._call(request, timeout=min(left, LONGEST_WAIT + self._limits.request_timeout))
            except ComputeUnavailable:
                if self.clock() < self.deadline:
                    raise
        error = operation_error(act, current)
        if error is not None:
            raise error
        return current

    # One call

    def _full(self, path: str) -> str:
        return f"projects/{self.project}/{path}".rstrip("/")

    def _act(self, verb: str, path: str, secrets: Collection[str] = ()) -> Act:
        resource = path if path.startswith("projects/") else self._full(path)
        return Act(verb, resource, self.project, secrets)

    def _request(
        self, method: str, act: Act, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> _Request:
        """A request for a path that starts with projects/."""
        url = f"{self._base}{quote(path, safe='/:')}?{urlencode({**query, 'prettyPrint': 'false'}, quote_via=quote)}"
        return _Request(method, act, url, None if body is None else json.dumps(body).encode())

    def _call(self, request: _Request, *, timeout: float | None = None) -> dict[str, Any]:
        """Send it until there is an answer, an error that a retry does not change, or no time left."""
        pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE, self.random)
        tries, first_failure = 0, None
        while True:
            self._pacer.wait_for_turn()
            left = max(SHORTEST_TRY, self.deadline - self.clock())
            try:
                return self._try(request, min(timeout or self._limits.request_timeout, left))
            except (ComputeUnavailable, RateLimited) as failure:
                error = failure
            tries += 1
            now = self.clock()
            first_failure = now if first_failure is None else first_failure
            left = min(first_failure + self._limits.retry_for, self.deadline) - now
            if left <= 0:
                raise _given_up(error, tries, now - first_failure)
            pause = min(next(pauses), left)
            if isinstance(error, RateLimited):
                self._pacer.hold(pause)
            self.sleep(pause)

    def _try(self, request: _Request, timeout: float) -> dict[str, Any]:
        act = request.act
        headers = {"Content-Type": "application/json"} if request.method != "GET" else {}
        try:
            self._refresh(timeout)
            response = self._session.request(
                request.method, request.url, data=request.body, headers=headers, timeout=timeout, allow_redirects=False
            )
            status, content = response.status_code, response.content
        except requests.exceptions.SSLError as error:
            raise ComputeBadRequest(
                act.failure(f"the certificate of {self._host} is not accepted: {reason_of(error)}.")
            ) from None
        except requests.exceptions.InvalidHeader:
            # Its text has the header, and the header has the token.
            raise CredentialsError(act.failure("the access token cannot be sent in a header.")) from None
        except requests.exceptions.RequestException as error:
            raise ComputeUnavailable(act.failure(f"no answer from {self._host}: {reason_of(error)}.")) from None
        except google.auth.exceptions.TransportError as error:
            raise ComputeUnavailable(
                act.failure(f"no answer from the server that renews the credentials: {reason_of(error)}.")
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
                act.failure(f"{self._host} is not the Compute API: status {status} without a resource."), status=status
            )
        return answer

    def _refresh(self, timeout: float) -> None:
        """Renew the credentials once, not in all threads at the same time."""
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


@dataclass(frozen=True)
class _Request:
    method: str
    act: Act
    url: str
    body: bytes | None


def connect(
    option: Callable[[str], Any],
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    time: Time = REAL_TIME,
    on_warning: Callable[[str], None] | None = None,
) -> ComputeApi:
    """The client for a plugin's options; `option` reads one by its name.

    Raises MissingLibrary, and CredentialsError or ComputeBadRequest for invalid options.
    """
    if not _HAS_REQUESTS:
        raise MissingLibrary("requests")
    if not _HAS_GOOGLE_AUTH:
        raise MissingLibrary("google-auth")
    given = option("api_endpoint")
    endpoint = checked_endpoint(given) if given else None
    account = login(option, with_universe=endpoint is None)
    project = option("project") or account.project
    if not project:
        raise ComputeBadRequest("There is no project: set the option project, or the environment variable GCP_PROJECT.")
    limits = {name: option(name) for name in ("retry_for", "request_timeout", "requests_per_minute")}
    return ComputeApi(
        account,
        parse_project(str(project)),
        endpoint=endpoint or DEFAULT_ENDPOINT.replace(DEFAULT_UNIVERSE, account.universe),
        limits=Limits(**limits, concurrency=concurrency),
        time=time,
        on_warning=on_warning,
    )


def checked_endpoint(endpoint: str) -> str:
    """The base URL: with /compute/v1/ if it has no path, and a slash at its end."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ComputeBadRequest(f"api_endpoint is {endpoint!r}, which is not a URL such as {DEFAULT_ENDPOINT}")
    path = parts.path.strip("/") or "compute/v1"
    return f"{parts.scheme}://{parts.netloc}/{path}/"


def operation_path(operation: Mapping[str, Any]) -> str:
    """The path of an operation, from projects/ on."""
    path = str(operation.get("selfLink", "")).partition("/projects/")[2]
    if not path:
        raise ComputeUnavailable("The Compute API answered a write without an operation.")
    return f"projects/{path}"


def _session(account: Login, base: str, concurrency: int) -> Any:
    """A session for all threads, with a connection for each."""
    # A fixed token cannot be renewed, and the API's message is clearer than google-auth's.
    statuses = (401,) if account.can_refresh else ()
    session = google.auth.transport.requests.AuthorizedSession(account.credentials, refresh_status_codes=statuses)
    # Proxies and certificates are looked up once: for each request, that would take longer than the rest of it. And a
    # .netrc must not replace the token.
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
