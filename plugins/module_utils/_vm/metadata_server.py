# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the Compute Engine metadata server.

Private to the collection: it may change at any time. Standard library only, so that it runs on any VM. The maintenance
handler uses the same file.

https://cloud.google.com/compute/docs/metadata/querying-metadata
"""

from __future__ import annotations

import os
import random as _random
import re
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from . import bounded_json as _bounded_json
from .addresses import ADDRESSES, Addresses
from .backoff import backoff
from .http_exchange import (
    BODY_LIMIT,
    Aborted,
    Connection,
    ConnectionLost,
    Deadline,
    ExchangeError,
    NameNotResolved,
    Oversized,
    Response,
)
from .records import dataclass

if TYPE_CHECKING:
    _T = TypeVar("_T")

GUEST_ATTRIBUTES_DISABLED = "Guest attributes endpoint access is disabled"
DEFAULT_HOST = "metadata.google.internal"
DEFAULT_ORIGIN = "whether this is a Compute Engine VM, or set GCE_METADATA_HOST"
# The addresses of the default host on every VM, for when its name does not resolve; the second is for IPv6-only VMs.
DEFAULT_ADDRESSES = ("169.254.169.254", "fd20:ce::254")
ROOT = "/computeMetadata/v1/"

# Seconds that the client gives a hanging GET beyond its timeout_sec. Google's guest agent uses 70 s for 60 s.
GRACE_SECONDS = 10

# Seconds. The longest stays below 2 s, within which the end of an outage has to be noticed.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.5

# The server does not accept `! $ ' ( ) * , @` percent-encoded in a path; the other characters are unreserved.
_LITERAL_IN_PATH = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$'()*,@/")
_LITERAL_IN_QUERY = _LITERAL_IN_PATH - frozenset(b"!$'()*,@/")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"(?:http://)?(?:\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\]|([A-Za-z0-9_.-]+))(?::([0-9]{1,5}))?/?")
_NO_NOTIFICATIONS = b"no notifications have been received yet"
_UPCOMING_MAINTENANCE = "instance/upcoming-maintenance"


class MetadataError(Exception):
    """A call failed; str() is a sentence.

    ``status`` is the HTTP status, if there was one. ``text`` is the text of the server's error page.
    """

    def __init__(self, message: str, *, status: int | None = None, text: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.text = text
        self.gave_up = ""

    def __str__(self) -> str:
        return super().__str__() + self.gave_up


class MetadataBadRequest(MetadataError):
    """The request is invalid: rejected by the server (400 and similar), or before anything was sent."""


class MetadataForbidden(MetadataError):
    """The server denied the request (403); ``text`` has its reason."""


class GuestAttributesDisabled(MetadataForbidden):
    """The VM has no guest attributes (403); as text, with how to enable them."""

    def __str__(self) -> str:
        from .guest_attributes import HOW_TO_ENABLE  # here, to save the import in most runs of a module

        return f"{super().__str__()} {HOW_TO_ENABLE}"


class MetadataNotFound(MetadataError):
    """The key does not exist (404)."""


class NoNotifications(MetadataNotFound):
    """upcoming-maintenance has no value yet: a 503 (or 200) that is an answer, not an outage."""


class MetadataTooLarge(MetadataError):
    """The answer is larger or deeper than the limit. Not retried."""


class MetadataTooManyRequests(MetadataError):
    """The server limits the rate (429), and did so for longer than ``retry_for``."""


class MetadataUnavailable(MetadataError):
    """No usable answer for longer than ``retry_for``: 503, no connection, or a truncated or late answer."""


class NotMetadataServer(MetadataUnavailable):
    """Something other than the metadata server answered."""


class MetadataAborted(MetadataError):
    """Another thread has called `abort`."""


class Answer:
    """A value, which is text (UTF-8, surrogateescape) or decoded JSON with exact integers, and its etag, if any."""

    # Not a dataclass, like _Request: generating its methods would cost each run of a module about a millisecond.
    def __init__(self, value: Any, etag: str | None) -> None:
        self.value = value
        self.etag = etag


@dataclass(frozen=True)
class Limits:
    """A call is retried for `retry_for` seconds from its first failure: None for ever, 0 never."""

    retry_for: float | None = 10.0
    # Seconds of one try of a call that does not wait.
    timeout: float = 5.0
    # Bytes of an answer.
    body_limit: int = BODY_LIMIT


@dataclass(frozen=True)
class Time:
    """Where time comes from; tests have their own."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    # From 0 to 1, for pauses.
    random: Callable[[], float] = _random.random


DEFAULT_LIMITS = Limits()
REAL_TIME = Time()


class MetadataServer:
    """A client with one kept-alive connection for each thread. Its methods raise MetadataError.

    ``host_origin``: where ``host`` comes from, for errors. ``on_retry`` is called with each failure that is retried,
    and the pause before that.

    If ``host`` is None, the environment names the host. If it does not, the client connects to the default host by its
    name, or else by its addresses.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        host_origin: str = "the setting metadata_host",
        limits: Limits = DEFAULT_LIMITS,
        time: Time = REAL_TIME,
        addresses: Addresses = ADDRESSES,
        on_retry: Callable[[MetadataError, float], None] | None = None,
    ) -> None:
        chosen = _chosen_host(host, host_origin, os.environ)
        written, self._host_origin = chosen or (DEFAULT_HOST, DEFAULT_ORIGIN)
        self._others = () if chosen else DEFAULT_ADDRESSES
        self._name, self._port = _parse_host(written, self._host_origin)
        self.host = _joined_host(self._name, self._port)
        self._limits = limits
        self._clock, self._sleep, self._random = time.clock, time.sleep, time.random
        self._addresses = addresses
        self._on_retry = on_retry
        self._local = threading.local()
        # Of all threads that live.
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._aborted = False

    def get(
        self, path: str, *, recursive: bool = False, alt: str | None = None, params: Mapping[str, str] | None = None
    ) -> Answer:
        """The value of a key, the listing of a directory, or with ``recursive`` everything below a directory."""
        query = {**_shape(recursive, alt), **(params or {})}
        return self._ask(_Request("GET", "read", path, self._limits.timeout, query=query))

    def wait(
        self, path: str, last_etag: str | None, timeout_sec: int, *, recursive: bool = False, alt: str | None = None
    ) -> Answer:
        """The value as soon as its etag differs from ``last_etag``; the unchanged value after ``timeout_sec`` seconds.

        Without a last_etag, returns at once.
        """
        if not isinstance(timeout_sec, int) or timeout_sec < 0:
            raise MetadataBadRequest(
                f"Cannot wait for {path}: timeout_sec is {timeout_sec!r}, not a whole number of seconds."
            )
        query = {
            "wait_for_change": "true",
            "last_etag": last_etag or "NONE",  # matches no etag; the guest agent sends the same
            "timeout_sec": str(timeout_sec),
            **_shape(recursive, alt),
        }
        return self._ask(_Request("GET", "wait for", path, timeout_sec + GRACE_SECONDS, query=query))

    def put(self, path: str, value: str | bytes) -> None:
        """Write a guest attribute, the only kind of value that can be written."""
        body = _encoded(value) if isinstance(value, str) else value
        self._ask(_Request("PUT", "write", path, self._limits.timeout, body=body))

    def delete(self, path: str) -> None:
        """Delete a guest attribute."""
        self._ask(_Request("DELETE", "delete", path, self._limits.timeout))

    def probe(self, target: str) -> tuple[int, str]:
        """The status of a plain GET outside /computeMetadata/v1/, and the text of its page if it is an error.

        Metadata-Flavor is not checked: the endpoints that this is for are older than that header.
        """
        return self._retried(lambda: self._try_probe(target))

    def close(self) -> None:
        """Close this thread's connection; the next call opens a new one."""
        self._connection().close()

    def abort(self) -> None:
        """End the calls of all threads with MetadataAborted at once, and refuse later ones.

        A pause between two tries is not cut short, unless the `sleep` of `Time` is.
        """
        with self._lock:
            self._aborted = True
            connections = list(self._connections)
        for connection in connections:
            connection.abort()

    def _ask(self, request: _Request) -> Answer:
        return self._retried(lambda: self._try(request))

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        """Try until there is an answer, or an error that a retry cannot change, or ``retry_for`` is over."""
        pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE, self._random)
        tries, first_failure = 0, None
        while True:
            began = self._clock()
            try:
                return attempt()
            except (MetadataUnavailable, MetadataTooManyRequests) as failure:
                error = failure
            tries += 1
            now = self._clock()
            first_failure = now if first_failure is None else first_failure
            # From start to start: after a try that hung, no pause is needed.
            pause = max(0.0, next(pauses) - (now - began))
            if self._limits.retry_for is not None:
                left = first_failure + self._limits.retry_for - now
                if left <= 0:
                    if tries > 1:
                        error.gave_up = f" Gave up after {tries} tries in {now - first_failure:.1f} s."
                    raise error
                pause = min(pause, left)
            if self._on_retry is not None:
                self._on_retry(error, pause)
            self._sleep(pause)

    def _try(self, request: _Request) -> Answer:
        deadline = Deadline(request.seconds, self._clock)
        try:
            response = self._exchange(request, request.target(), deadline)
            if _is_missing_slash(request, response):
                response = self._exchange(request, request.target(directory=True), deadline)
        except ExchangeError as error:
            raise self._no_answer(request, error) from error
        return self._judged(request, response)

    def _try_probe(self, target: str) -> tuple[int, str]:
        request = _Request("GET", "probe", target, self._limits.timeout)
        try:
            response = self._exchange(request, target, Deadline(request.seconds, self._clock), is_plain=True)
        except ExchangeError as error:
            raise self._no_answer(request, error) from error
        text = _error_text(response)
        if response.status in (408, 429) or response.status >= 500:
            clause = f"{self.host} is unavailable ({response.status})"
            raise MetadataUnavailable(request.failure(clause), status=response.status, text=text)
        return response.status, text

    def _exchange(self, request: _Request, target: str, deadline: Deadline, *, is_plain: bool = False) -> Response:
        flavor = {} if is_plain else {"Metadata-Flavor": "Google"}
        headers = {"Host": self.host, **flavor, "User-Agent": "gce.guest"}
        connection = self._connection()
        try:
            return connection.exchange(request.method, target, headers, request.body, deadline)
        except ConnectionLost as error:
            if not error.while_idle:
                raise
        # The server closed an idle connection. Each request here may be sent twice, since all of them are idempotent.
        return connection.exchange(
            request.method, target, headers, request.body, Deadline(request.seconds, self._clock)
        )

    def _connection(self) -> Connection:
        if not hasattr(self._local, "connection"):
            self._local.connection = Connection(
                self._name,
                self._port,
                others=self._others,
                body_limit=self._limits.body_limit,
                addresses=self._addresses,
            )
            with self._lock:
                self._connections.add(self._local.connection)
                if self._aborted:
                    self._local.connection.abort()
        connection: Connection = self._local.connection
        return connection

    def _no_answer(self, request: _Request, error: ExchangeError) -> MetadataError:
        if isinstance(error, Aborted):
            return MetadataAborted(request.failure(str(error)))
        hint = f". Check {self._host_origin}" if isinstance(error, NameNotResolved) else ""
        kind = MetadataTooLarge if isinstance(error, Oversized) else MetadataUnavailable
        return kind(request.failure(f"no answer from the metadata server at {self.host}: {error}{hint}"))

    def _judged(self, request: _Request, response: Response) -> Answer:
        """The answer in a response; raises the error that the response is instead."""
        status = response.status
        text = _error_text(response)
        server = f"the metadata server at {self.host} "

        def error(kind: type[MetadataError], clause: str, reason: str = "") -> MetadataError:
            return kind(request.failure(clause + (f": {reason}" if reason else "")), status=status, text=text)

        if _NO_NOTIFICATIONS in response.body and (
            status == 503 or (status == 200 and request.path == _UPCOMING_MAINTENANCE)
        ):
            # Not an outage, so without its status.
            raise error(NoNotifications, f"nothing is announced: {server}has not received any notification yet")
        if status == 429:
            raise error(MetadataTooManyRequests, server + "limits the rate (429)", text)
        if status == 408 or status >= 500:
            raise error(MetadataUnavailable, server + f"is unavailable ({status})", text)
        if response.headers.get("metadata-flavor") != "Google":
            raise self._impostor(request, response, "it answered without Metadata-Flavor: Google")
        if status == 403:
            kind = GuestAttributesDisabled if GUEST_ATTRIBUTES_DISABLED in text else MetadataForbidden
            raise error(kind, server + "denies it (403)", text)
        if status == 404:
            raise error(MetadataNotFound, server + "has no such key (404)")
        if status >= 400:
            raise error(MetadataBadRequest, server + f"rejects the request ({status})", text)
        if not (status == 200 or (status < 300 and request.method != "GET")):
            raise self._impostor(request, response, "the metadata server does not answer this way")
        return self._answer(request, response)

    def _answer(self, request: _Request, response: Response) -> Answer:
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        etag = response.headers.get("etag")
        if media_type == "text/html":
            raise self._impostor(request, response, "it answered with a web page")
        if "wait_for_change" in request.query and not etag:
            raise self._impostor(request, response, "it answered without an ETag, which is needed to wait for a change")
        text = response.body.decode("utf-8", "surrogateescape")
        if request.method != "GET" or not (media_type == "application/json" or request.query.get("alt") == "json"):
            return Answer(text, etag)
        is_deep = False
        try:
            return Answer(_bounded_json.loads(text), etag)
        except ValueError as error:
            is_deep = isinstance(error, _bounded_json.TooDeep)
        # Outside of the except clause: that exception has the document, and with it perhaps a token.
        what = f"of more than {_bounded_json.DEPTH_LIMIT} levels" if is_deep else "that is truncated or invalid"
        clause = request.failure(f"the metadata server at {self.host} sent JSON {what}")
        raise (MetadataTooLarge if is_deep else MetadataUnavailable)(clause, status=response.status)

    def _impostor(self, request: _Request, response: Response, why: str) -> NotMetadataServer:
        self._connection().leave()
        server = response.headers.get("server", "")[:80]
        clause = (
            f"what answers at {self.host} is not the metadata server: {why} (status {response.status}"
            f"{f', Server: {server}' if server.isprintable() and server else ''}). Check {self._host_origin}"
        )
        return NotMetadataServer(request.failure(clause), status=response.status)


def _error_text(response: Response) -> str:
    """The text of an error page; empty for other responses."""
    if response.status < 300:
        return ""
    from .error_page import text_of  # here, to save the import in most runs of a module

    return text_of(response.body)


def encoded_path(path: str) -> str:
    """The request target of a path below /computeMetadata/v1/. Raises MetadataBadRequest for an invalid path."""
    if _CONTROL.search(path):
        raise MetadataBadRequest(f"The metadata path {path!r} has a control character.")
    segments = path.removesuffix("/").split("/") if path else []
    for segment in segments:
        if segment in ("", ".", ".."):
            raise MetadataBadRequest(
                f"The metadata path {path!r} has {repr(segment) if segment else 'an empty part'} between its slashes. "
                "Paths start below /computeMetadata/v1/, such as instance/name."
            )
    return ROOT + _quoted(path, _LITERAL_IN_PATH)


def _quoted(text: str, literal: frozenset[int]) -> str:
    return "".join(chr(byte) if byte in literal else f"%{byte:02X}" for byte in _encoded(text))


def _encoded(text: str) -> bytes:
    with suppress(UnicodeError):
        return text.encode("utf-8", "surrogateescape")
    # Outside of the except clause: that exception has the text, which may be a secret.
    raise MetadataBadRequest("Cannot send half a surrogate pair to the metadata server: it is not Unicode text.")


class _Request:
    def __init__(
        self,
        method: str,
        verb: str,
        path: str,
        seconds: float,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        self.method = method
        self.verb = verb
        self.path = path
        self.seconds = seconds
        self.query = query or {}
        self.body = body

    def target(self, *, directory: bool = False) -> str:
        query = "&".join(
            f"{_quoted(name, _LITERAL_IN_QUERY)}={_quoted(value, _LITERAL_IN_QUERY)}"
            for name, value in self.query.items()
        )
        return encoded_path(self.path) + ("/" if directory else "") + (f"?{query}" if query else "")

    def failure(self, clause: str) -> str:
        return f"Cannot {self.verb} {self.path or 'the root'}: {clause.rstrip('.')}."


def _shape(recursive: bool, alt: str | None) -> dict[str, str]:
    return {**({"recursive": "true"} if recursive else {}), **({"alt": alt} if alt else {})}


def _is_missing_slash(request: _Request, response: Response) -> bool:
    """Whether this is the redirect from a directory without its slash to the same directory with it."""
    if request.method != "GET" or response.status != 301 or request.path.endswith("/"):
        return False
    location = response.headers.get("location", "")
    _unused, separator, after_scheme = location.partition("://")
    path = "/" + after_scheme.partition("/")[2] if separator else location
    return path.partition("?")[0] == encoded_path(request.path) + "/"


def _chosen_host(host: str | None, host_origin: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The host as written and its origin, or None. Empty variables count as unset, as in google-auth."""
    if host is not None:
        return host, host_origin
    for variable in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT"):
        if environ.get(variable):
            return environ[variable], f"the environment variable {variable}"
    return None


def _parse_host(written: str, origin: str) -> tuple[str, int]:
    match = _HOST.fullmatch(written)
    port = int(match[3] or 80) if match else 0
    if match is None or not 0 < port < 65536:
        raise MetadataBadRequest(
            f"{origin[0].upper()}{origin[1:]} is {written!r}, which is not a host: "
            "write name, name:port, [IPv6 address]:port or http://name:port."
        )
    return match[1] or match[2], port


def _joined_host(name: str, port: int) -> str:
    return (f"[{name}]" if ":" in name else name) + ("" if port == 80 else f":{port}")
