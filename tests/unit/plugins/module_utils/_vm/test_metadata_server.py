# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server's client, over real sockets, with correct and misbehaving servers."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.addresses import Addresses
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    ROOT,
    Answer,
    Limits,
    MetadataBadRequest,
    MetadataError,
    MetadataForbidden,
    MetadataNotFound,
    MetadataServer,
    MetadataTooLarge,
    MetadataTooManyRequests,
    MetadataUnavailable,
    NoNotifications,
    NotMetadataServer,
    Time,
    encoded_path,
)
from hypothesis import example, given
from hypothesis import strategies as st

from support.raw_server import PATIENCE, Peer, RawServer, Script, answering, http_answer, refusing_host

MODULE_UTILS = Path(__file__).resolve().parents[5] / "plugins" / "module_utils"

NONE = http_answer("200 OK", b"NONE", etag="411261ca6c9e654e")
UNAVAILABLE = http_answer("503 Service Unavailable")
NO_NOTIFICATIONS = http_answer(
    "503 Service Unavailable",
    b'{ "error": "no notifications have been received yet, try again later" }',
    content_type="application/json",
)
WEB_PAGE = http_answer("200 OK", b"<html>Sign in</html>", content_type="text/html; charset=UTF-8")
# Typographic apostrophes and all: https://github.com/salrashid123/gce_metadata_server/pull/11
ERROR_PAGE = (
    "<!DOCTYPE html>\n<html lang=en>\n  <title>Error {code} ({reason})!!1</title>\n"
    "  <style>\n    *{{margin:0;padding:0}}html{{color:#222}}\n  </style>\n"
    "  <p><b>{code}.</b> <ins>That\u2019s an error.</ins>\n  <p>{text} <ins>That\u2019s all we know.</ins>\n"
)


def error_page(code: int, reason: str, text: str) -> bytes:
    page = ERROR_PAGE.format(code=code, reason=reason, text=text).encode()
    return http_answer(f"{code} {reason}", page, content_type="text/html; charset=UTF-8")


NO_RETRIES = Limits(retry_for=0)


class FakeTime:
    """A clock that only sleeping moves, and tests."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Client(MetadataServer):
    """A client in fake time, without jitter, that records its retries."""

    def __init__(self, host: str | None, **options: Any) -> None:
        self.time = FakeTime()
        self.retried: list[MetadataError] = []
        defaults: dict[str, Any] = {
            "time": Time(self.time.clock, self.time.sleep, lambda: 0.0),
            "on_retry": lambda error, pause: self.retried.append(error),
        }
        super().__init__(host, **{**defaults, **options})


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT"):
        monkeypatch.delenv(variable, raising=False)


Play = Callable[..., tuple[RawServer, Client]]


@pytest.fixture
def play() -> Iterator[Play]:
    """Start a server with scripts, one for each connection, and a client of it."""
    with contextlib.ExitStack() as stack:

        def start(*scripts: Script, **options: Any) -> tuple[RawServer, Client]:
            server = stack.enter_context(RawServer(*scripts))
            return server, stack.enter_context(contextlib.closing(Client(server.host, **options)))

        yield start


def request_line(request: bytes) -> str:
    return request.partition(b"\r\n")[0].decode()


def reset_at_once(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def close_at_once(peer: Peer) -> None:
    peer.read_request()


class TestRequests:
    def test_get_sends_the_required_headers(self, play: Play) -> None:
        server, client = play(answering(NONE))

        client.get("instance/maintenance-event")
        assert server.requests == [
            b"GET /computeMetadata/v1/instance/maintenance-event HTTP/1.1\r\n"
            b"Host: %b\r\nMetadata-Flavor: Google\r\nUser-Agent: gce.guest\r\n\r\n" % server.host.encode()
        ]

    @pytest.mark.parametrize(
        "path, options, target",
        [
            ("", {"recursive": True, "alt": "json"}, "?recursive=true&alt=json"),
            ("instance/", {}, "instance/"),
            ("instance/tags", {"alt": "text"}, "instance/tags?alt=text"),
            (
                "instance/service-accounts/a@b.c/identity",
                {"params": {"audience": "https://x/?y=z&é", "format": "full"}},
                "instance/service-accounts/a@b.c/identity?audience=https%3A%2F%2Fx%2F%3Fy%3Dz%26%C3%A9&format=full",
            ),
        ],
    )
    def test_get_requests_the_format(self, play: Play, path: str, options: dict[str, Any], target: str) -> None:
        server, client = play(answering(NONE.replace(b"NONE", b"1234")))

        client.get(path, **options)
        assert request_line(server.requests[0]) == f"GET {ROOT}{target} HTTP/1.1"

    @pytest.mark.parametrize(
        "etag, sent",
        [("630ddb9980ea9e3", "630ddb9980ea9e3"), ("0", "0"), (None, "NONE"), ("", "NONE"), ("a&b", "a%26b")],
    )
    def test_wait_sends_last_etag_and_timeout_sec(self, play: Play, etag: str | None, sent: str) -> None:
        """GoogleCloudPlatform/python-docs-samples#332: without `last_etag`, a change between two requests is lost."""
        server, client = play(answering(NONE))

        client.wait("instance/maintenance-event", etag, 60)
        assert request_line(server.requests[0]) == (
            f"GET {ROOT}instance/maintenance-event?wait_for_change=true&last_etag={sent}&timeout_sec=60 HTTP/1.1"
        )

    def test_wait_for_a_directory(self, play: Play) -> None:
        server, client = play(answering(NONE))

        client.wait("instance/attributes/", "abc", 5, recursive=True, alt="text")
        assert request_line(server.requests[0]).endswith("&timeout_sec=5&recursive=true&alt=text HTTP/1.1")

    def test_wait_accepts_any_number_of_seconds(self, play: Play) -> None:
        _unused, client = play(answering(NONE))

        assert client.wait("instance/maintenance-event", None, 10**15).value == "NONE"

    @pytest.mark.parametrize("timeout_sec", [-1, 1.5, "60", None])
    def test_wait_accepts_whole_seconds_only(self, play: Play, timeout_sec: Any) -> None:
        server, client = play(answering())

        with pytest.raises(MetadataBadRequest, match="not a whole number of seconds"):
            client.wait("instance/maintenance-event", None, timeout_sec)
        assert server.connections == 0

    @pytest.mark.parametrize("value, sent", [("é\udcff", b"\xc3\xa9\xff"), (b"\x00\xff", b"\x00\xff"), ("", b"")])
    def test_put_and_delete(self, play: Play, value: str | bytes, sent: bytes) -> None:
        server, client = play(answering(http_answer("200 OK"), http_answer("204 No Content")))

        client.put("instance/guest-attributes/a/b", value)
        client.delete("instance/guest-attributes/a/b")
        head, _unused, body = server.requests[0].partition(b"\r\n\r\n")
        assert request_line(head) == f"PUT {ROOT}instance/guest-attributes/a/b HTTP/1.1"
        assert (f"Content-Length: {len(sent)}".encode() in head, body) == (True, sent)
        assert request_line(server.requests[1]) == f"DELETE {ROOT}instance/guest-attributes/a/b HTTP/1.1"

    def test_body_of_the_response_to_a_put_is_ignored(self, play: Play) -> None:
        _unused, client = play(answering(http_answer("200 OK", content_type="application/json")), limits=NO_RETRIES)

        client.put("instance/guest-attributes/a/b", "c")

    def test_put_rejects_a_lone_surrogate_without_showing_the_value(self, play: Play) -> None:
        _unused, client = play(answering())

        with pytest.raises(MetadataBadRequest, match="not Unicode") as caught:
            client.put("instance/guest-attributes/a/b", "hunter2\ud83d")
        assert "hunter2" not in everything_in(caught.value)

    def test_each_thread_has_one_connection(self, play: Play) -> None:
        server, client = play(answering(*[NONE] * 20))

        def ask_twice() -> None:
            client.get("instance/name")
            client.get("instance/id")
            client.close()

        threads = [threading.Thread(target=ask_twice) for _unused in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        ask_twice()
        assert (server.connections, len(server.requests)) == (4, 8)
        client.get("instance/name")
        assert server.connections == 5

    def test_proxies_are_never_used(self, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy of the environment cannot reach the metadata server."""
        server, client = play(answering(NONE))
        with refusing_host() as proxy:
            for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(variable, f"http://{proxy}")

            assert client.get("instance/maintenance-event").value == "NONE"
        assert request_line(server.requests[0]).startswith("GET /computeMetadata/")


class TestPaths:
    def test_some_characters_are_sent_unencoded(self) -> None:
        assert encoded_path("a/!$'()*,@-._~Z9") == ROOT + "a/!$'()*,@-._~Z9"

    def test_other_characters_are_percent_encoded(self) -> None:
        assert encoded_path('a b%2F?#&=+:;"<é\udcff/') == ROOT + "a%20b%252F%3F%23%26%3D%2B%3A%3B%22%3C%C3%A9%FF/"

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/instance",
            "instance//name",
            "a//",
            "..",
            "a/../b",
            "a/..",
            "./a",
            "a/.",
            "a\nb",
            "\0",
            "a\x7f",
            "\ud83d",
        ],
    )
    def test_invalid_paths_are_rejected_before_any_request(self, play: Play, path: str) -> None:
        server, client = play(answering())

        for ask in (lambda: client.get(path), lambda: client.wait(path, None, 1), lambda: client.put(path, "")):
            with pytest.raises(MetadataBadRequest):
                ask()
        assert server.connections == 0

    @given(st.text())
    @example("\udcc3\udca9")
    @example("a/%2e%2e/b")
    def test_any_path_arrives_unchanged_or_is_rejected(self, path: str) -> None:
        try:
            target = encoded_path(path)
        except MetadataBadRequest:
            return
        assert target.isascii()
        assert target.isprintable()
        assert not set(" ?#\\") & set(target)
        assert urllib.parse.unquote_to_bytes(target) == ROOT.encode() + path.encode("utf-8", "surrogateescape")
        assert not {"", ".", ".."} & set(target.rstrip("/").split("/")[1:])


class TestAnswers:
    def test_text(self, play: Play) -> None:
        _unused, client = play(
            answering(http_answer("200 OK", b" a\xff\n", etag="ab", content_type="application/text"))
        )

        answer = client.get("instance/attributes/x")
        assert (answer.value, answer.etag) == (" a\udcff\n", "ab")

    def test_etag_is_none_if_the_server_sends_none(self, play: Play) -> None:
        _unused, client = play(answering(http_answer("200 OK", b"instance/\n")))

        assert client.get("").etag is None

    @pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
    def test_json_keeps_integers_exact(self, play: Play, content_type: str) -> None:
        body = b'{"id":13338084817863113001,"mtu":1460,"load":0.5,"name":"\xc3\xa9"}'
        _unused, client = play(answering(http_answer("200 OK", body, content_type=content_type)))

        value = client.get("instance/", recursive=True).value
        assert value == {"id": 13338084817863113001, "mtu": 1460, "load": 0.5, "name": "é"}
        assert (type(value["id"]), type(value["load"])) == (int, float)

    def test_requested_json_is_decoded_with_any_content_type(self, play: Play) -> None:
        _unused, client = play(answering(http_answer("200 OK", b'"NONE"', content_type="application/text")))

        assert client.get("instance/maintenance-event", alt="json").value == "NONE"

    def test_text_that_looks_like_json_stays_text(self, play: Play) -> None:
        _unused, client = play(answering(http_answer("200 OK", b"[1]", content_type="application/text")))

        assert client.get("instance/attributes/x").value == "[1]"

    def test_repr_does_not_show_the_value(self) -> None:
        assert "hunter2" not in repr(Answer("hunter2", "ab"))


class TestRedirects:
    @pytest.mark.parametrize("scheme_and_host", ["", "http://metadata.google.internal", "http://127.0.0.1:1"])
    def test_directory_without_its_slash_is_followed(self, play: Play, scheme_and_host: str) -> None:
        """On the requested host, even if the redirect has another name for it."""
        location = f"{scheme_and_host}{ROOT}instance/attributes/?recursive=true"
        moved = http_answer(
            "301 Moved Permanently", b"x", location=location, content_type="text/html", metadata_flavor=""
        )
        listing = http_answer("200 OK", b'{"a":"b"}', content_type="application/json")
        server, client = play(answering(moved, listing))

        assert client.get("instance/attributes", recursive=True).value == {"a": "b"}
        assert [request_line(request) for request in server.requests] == [
            f"GET {ROOT}instance/attributes?recursive=true HTTP/1.1",
            f"GET {ROOT}instance/attributes/?recursive=true HTTP/1.1",
        ]

    @pytest.mark.parametrize(
        "location", ["", "/", "https://login.example.com/?url=x", f"http://h{ROOT}instance", f"http://h{ROOT}project/"]
    )
    def test_other_redirects_are_rejected(self, play: Play, location: str) -> None:
        server, client = play(answering(*[http_answer("301 Moved", location=location)] * 2), limits=NO_RETRIES)

        with pytest.raises(NotMetadataServer, match="status 301"):
            client.get("instance")
        assert len(server.requests) == 1

    def test_a_write_is_not_redirected(self, play: Play) -> None:
        server, client = play(
            answering(*[http_answer("301 Moved", location=f"{ROOT}instance/x/")] * 2), limits=NO_RETRIES
        )

        with pytest.raises(NotMetadataServer, match="status 301"):
            client.put("instance/x", "y")
        assert len(server.requests) == 1

    def test_is_followed_once(self, play: Play) -> None:
        moved = http_answer("301 Moved", location=f"{ROOT}instance/")
        server, client = play(answering(*[moved] * 9), limits=NO_RETRIES)

        with pytest.raises(NotMetadataServer, match="status 301"):
            client.get("instance")
        assert len(server.requests) == 2


class TestRefusals:
    """Errors that are not retried."""

    @pytest.mark.parametrize(
        "answer, kind, words",
        [
            (
                http_answer("400 Bad Request", b"non-empty audience parameter required\n"),
                MetadataBadRequest,
                "parameter required.",
            ),
            (http_answer("405 Method Not Allowed"), MetadataBadRequest, r"\(405\)"),
            (http_answer("413 Content Too Large", b"too large"), MetadataBadRequest, r"\(413\): too large\."),
            (http_answer("403 Forbidden"), MetadataForbidden, r"denies it \(403\)\."),
            (
                error_page(404, "Not Found", "The requested URL <code>/x</code> was not found. "),
                MetadataNotFound,
                r"no such key \(404\)",
            ),
        ],
    )
    def test_exception_depends_on_the_status(
        self, play: Play, answer: bytes, kind: type[MetadataError], words: str
    ) -> None:
        server, client = play(answering(answer, NONE))

        with pytest.raises(kind, match=words) as caught:
            client.get("instance/x")
        assert caught.type is kind
        assert str(caught.value).startswith(f"Cannot read instance/x: the metadata server at {server.host} ")
        assert caught.value.status == int(answer[9:12])
        assert client.retried == []
        client.get("instance/x")
        assert server.connections == 1

    def test_403_has_the_reason_of_google_s_page(self, play: Play) -> None:
        text = (
            "Your client does not have permission to get URL <code>/computeMetadata/v1beta1/x?a=1&amp;b</code> from "
            "this server. Legacy metadata endpoint accessed: /x\n    Legacy metadata endpoints are disabled. "
            "Please use the /v1/ endpoint."
        )
        _unused, client = play(answering(error_page(403, "Forbidden", text)))

        with pytest.raises(MetadataForbidden) as caught:
            client.get("instance/x")
        assert caught.value.text == (
            "Your client does not have permission to get URL /computeMetadata/v1beta1/x?a=1&b from this "
            "server. Legacy metadata endpoint accessed: /x Legacy metadata endpoints are disabled. "
            "Please use the /v1/ endpoint."
        )
        assert str(caught.value).endswith(caught.value.text)

    def test_403_of_guest_attributes_has_a_remedy(self, play: Play) -> None:
        _unused, client = play(
            answering(http_answer("403 Forbidden", b"Guest attributes endpoint access is disabled."))
        )

        with pytest.raises(MetadataForbidden, match="Set enable-guest-attributes=TRUE") as caught:
            client.put("instance/guest-attributes/a/b", "c")
        assert caught.value.text == "Guest attributes endpoint access is disabled."

    def test_text_of_a_page_is_cleaned_and_truncated(self, play: Play) -> None:
        _unused, client = play(answering(http_answer("403 Forbidden", b"\x1b[2J\x00<b" * 100000 + b"\xff")))

        with pytest.raises(MetadataForbidden) as caught:
            client.get("instance/x")
        assert caught.value.text.isprintable()
        assert len(caught.value.text) <= 300

    @pytest.mark.parametrize(
        "page, text",
        [
            (b"<b" * 4096, "<b" * 150),
            (b"<b>so</b> no <INS class=x>all</INS >we<p>say", "no we say"),
            (b"<title>a <b>no", "a no"),
            (b"</b>a<", "a<"),
            (b"a &lt;b&gt; c<br/>d", "a <b> c d"),
            (b"<script>if (1 < 2) alert()</script>no", "no"),
        ],
    )
    def test_page_with_any_tags_is_parsed(self, play: Play, page: bytes, text: str) -> None:
        _unused, client = play(answering(http_answer("403 Forbidden", page)))

        with pytest.raises(MetadataForbidden) as caught:
            client.get("instance/x")
        assert caught.value.text == text

    @pytest.mark.parametrize("status", ["503 Service Unavailable", "200 OK"])
    def test_no_notifications_is_an_answer(self, play: Play, status: str) -> None:
        """The 503 "no notifications have been received yet" is an answer, not an outage."""
        _unused, client = play(answering(NO_NOTIFICATIONS.replace(b"503 Service Unavailable", status.encode())))

        with pytest.raises(NoNotifications) as caught:
            client.wait("instance/upcoming-maintenance", None, 60)
        assert isinstance(caught.value, MetadataNotFound)
        assert client.retried == []
        assert caught.value.status == int(status[:3])
        assert str(caught.value).startswith("Cannot wait for instance/upcoming-maintenance: nothing is announced")
        assert client.host in str(caught.value)

    def test_same_text_as_the_value_of_another_key_is_a_value(self, play: Play) -> None:
        _unused, client = play(answering(NO_NOTIFICATIONS.replace(b"503 Service Unavailable", b"200 OK")))

        assert "no notifications" in client.get("instance/attributes/x").value["error"]


def endless_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nmetadata-flavor: Google\r\n\r\n")
    while True:
        peer.send(b"can_reschedule true\n" * 1000)


def endless_chunks(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 503 Not now\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        peer.send(b"400\r\n" + b"x" * 1024 + b"\r\n")


def endless_head(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.send(b"x: y\r\n" * 1000)


class TestTooLarge:
    @pytest.mark.parametrize(
        "large, words",
        [
            (endless_body, "the answer is larger than 65536 bytes"),
            (endless_chunks, "the answer is larger than 65536 bytes"),
            (endless_head, "the head of the answer is larger than 65536 bytes"),
            (answering(http_answer("200 OK", b"x" * 65537)), "the answer is larger than 65536 bytes"),
            (answering(http_answer("200 OK", content_length="9" * 15)), "the answer is larger than 65536 bytes"),
        ],
    )
    @pytest.mark.parametrize("ask", ["get", "wait"])
    def test_is_not_retried(self, play: Play, large: Script, words: str, ask: str) -> None:
        """A retry would read the same amount again."""
        server, client = play(large, answering(NONE), limits=Limits(body_limit=65536))
        calls: dict[str, Callable[[], Answer]] = {
            "get": lambda: client.get("instance/maintenance-event"),
            "wait": lambda: client.wait("instance/maintenance-event", None, 60),
        }

        with pytest.raises(MetadataTooLarge, match=words) as caught:
            calls[ask]()
        assert (client.retried, server.connections) == ([], 1)
        assert not isinstance(caught.value, MetadataUnavailable)
        assert calls[ask]().value == "NONE"

    def test_largest_allowed_value_is_accepted(self, play: Play) -> None:
        _unused, client = play(answering(http_answer("200 OK", b"x" * 65536)), limits=Limits(body_limit=65536))

        assert len(client.get("instance/attributes/x").value) == 65536

    def test_default_limit_allows_a_tree_of_megabytes(self, play: Play) -> None:
        tree = json.dumps({f"key-{number}": "v" * 250_000 for number in range(40)}).encode()
        _unused, client = play(answering(json_answer(tree)))

        assert len(client.get("instance/attributes/", recursive=True).value) == 40

    @pytest.mark.parametrize(
        "body", [b"[" * 1_000_000, b'{"a":' * 65 + b"1" + b"}" * 65, b'["]]]]",' * 65 + b"1" + b"]" * 65]
    )
    def test_too_deep_json_is_rejected(self, play: Play, body: bytes) -> None:
        _unused, client = play(answering(json_answer(body)))

        with pytest.raises(MetadataTooLarge, match="JSON of more than 64 levels"):
            client.get("instance/", recursive=True)

    @pytest.mark.parametrize(
        "body, value",
        [
            (b"[" * 64 + b"]" * 64, list),
            (b"[" + b"[]," * 1000 + b"[]]", list),
            (json.dumps("[" * 1000).encode(), str),
            (json.dumps(['\\"[[' * 100, "\\" * 9, "{" * 100]).encode(), list),
        ],
    )
    def test_long_json_is_accepted(self, play: Play, body: bytes, value: type) -> None:
        _unused, client = play(answering(json_answer(body)))

        answer = client.get("instance/", recursive=True).value
        assert (type(answer), answer) == (value, json.loads(body))


def cut_short(peer: Peer) -> None:
    peer.read_request()
    peer.send(NONE[:-1])


def json_answer(body: bytes) -> bytes:
    return http_answer("200 OK", body, content_type="application/json", etag="ab")


# What is tried again: an answer, or what the server does instead of answering; how it is told.
FAILURES: dict[str, tuple[bytes | Script, type[MetadataError], str]] = {
    "503": (UNAVAILABLE, MetadataUnavailable, r"is unavailable \(503\)"),
    "500": (http_answer("500 Oops", b"backend error"), MetadataUnavailable, r"\(500\): backend error"),
    "408": (http_answer("408 Request Timeout"), MetadataUnavailable, r"\(408\)"),
    "429": (http_answer("429 Too Many Requests"), MetadataTooManyRequests, r"limits the rate \(429\)"),
    "reset": (reset_at_once, MetadataUnavailable, "the connection was lost"),
    "closed": (close_at_once, MetadataUnavailable, "closed the connection without an answer"),
    "garbage": (b"SSH-2.0-OpenSSH_9.2\r\n", MetadataUnavailable, "not HTTP"),
    "cut body": (cut_short, MetadataUnavailable, "1 bytes before the end"),
    "cut JSON": (json_answer(b'{"a": [1, '), MetadataUnavailable, "JSON that is truncated or invalid"),
    "number too long": (json_answer(b"1" * 1001), MetadataUnavailable, "JSON that is truncated or invalid"),
    "web page": (WEB_PAGE, NotMetadataServer, "it answered with a web page"),
    "no flavor": (
        NONE.replace(b"metadata-flavor", b"server"),
        NotMetadataServer,
        r"without Metadata-Flavor: Google \(status 200, Server: Google\)\. Check the setting metadata_host\.",
    ),
    "404 without flavor": (http_answer("404 Not Found", metadata_flavor=""), NotMetadataServer, "status 404"),
    "no content": (http_answer("204 No Content"), NotMetadataServer, "does not answer this way"),
}


def failing(name: str) -> Script:
    """A script that fails once in this way, and answers correctly as long as the connection is kept."""
    failure = FAILURES[name][0]
    return answering(failure, *[NONE] * 9) if isinstance(failure, bytes) else failure


class TestRetries:
    @pytest.mark.parametrize("name", FAILURES)
    def test_temporary_failure_is_retried(self, play: Play, name: str) -> None:
        """GoogleCloudPlatform/guest-agent#320: an HTML body or truncated JSON with status 200."""
        _unused, client = play(failing(name), answering(NONE))

        assert client.get("instance/maintenance-event").value == "NONE"
        assert [type(error) for error in client.retried] == [FAILURES[name][1]]
        assert client.time.pauses == [0.1]

    @pytest.mark.parametrize("name", FAILURES)
    def test_permanent_failure_is_reported_in_a_sentence(self, play: Play, name: str) -> None:
        _unused, kind, words = FAILURES[name]
        server, client = play(failing(name), limits=NO_RETRIES)

        with pytest.raises(kind, match=words) as caught:
            client.get("instance/maintenance-event")
        assert caught.type is kind
        assert str(caught.value).startswith("Cannot read instance/maintenance-event: ")
        assert str(caught.value).endswith(".")
        assert server.host in str(caught.value)
        assert (client.retried, client.time.pauses) == ([], [])

    def test_on_retry_is_optional(self, play: Play) -> None:
        _unused, client = play(answering(UNAVAILABLE, NONE), on_retry=None)

        assert client.get("instance/maintenance-event").value == "NONE"

    def test_puts_are_retried(self, play: Play) -> None:
        server, client = play(answering(UNAVAILABLE, http_answer("200 OK")))

        client.put("instance/guest-attributes/a/b", "c")
        assert len(server.requests) == 2

    def test_outage_of_an_hour_is_survived(self, play: Play) -> None:
        """aws/aws-node-termination-handler#916: a 503 ended it. Here, an outage's end is noticed within 2 s."""
        end = FakeTime().now + 3600

        def outage(peer: Peer) -> None:
            while peer.read_request():
                peer.send(UNAVAILABLE if client.time.now < end else NONE)

        server, client = play(outage, limits=Limits(retry_for=None))

        assert client.wait("instance/maintenance-event", "411261ca6c9e654e", 60).value == "NONE"
        assert end <= client.time.now < end + 2
        assert server.connections == 1
        assert len(server.requests) < 3600

    def test_gives_up_after_retry_for(self) -> None:
        with refusing_host() as host:
            client = Client(host, limits=Limits(retry_for=10))
            with pytest.raises(MetadataUnavailable, match=r"refused\)\. Gave up after 11 tries in 10\.0 s\.$"):
                client.get("instance/name")

        assert client.time.pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.5, 1.5]
        assert sum(client.time.pauses) == pytest.approx(10)
        assert len(client.retried) == 10

    def test_wait_that_failed_late_is_retried(self, play: Play) -> None:
        """retry_for counts from the first failure, and no pause follows a long try."""

        def hang_and_reset(peer: Peer) -> None:
            peer.read_request()
            client.time.now += 40
            peer.reset()

        _unused, client = play(hang_and_reset, answering(NONE), limits=Limits(retry_for=10))

        assert client.wait("instance/maintenance-event", "1", 60).value == "NONE"
        assert client.time.pauses == [0]

    @pytest.mark.parametrize("seconds, in_time", [(69, True), (71, False)])
    def test_wait_times_out_ten_seconds_after_its_timeout_sec(self, play: Play, seconds: int, in_time: bool) -> None:
        """googleapis/google-cloud-go#6498: without a deadline, a client hangs for ever on a half-open connection."""

        def answer_late(peer: Peer) -> None:
            peer.read_request()
            client.time.now += seconds
            peer.send(NONE if in_time else NONE[:20])
            peer.hang()

        _unused, client = play(answer_late, limits=NO_RETRIES)

        outcome = contextlib.nullcontext() if in_time else pytest.raises(MetadataUnavailable, match="within 70 s")
        with outcome:
            client.wait("instance/maintenance-event", "1", 60)

    def test_no_hanging_get_is_left_after_giving_up(self, play: Play) -> None:
        """googleapis/google-cloud-go#11035: hanging GETs that are not closed leak until the server refuses more."""
        server, client = play(Peer.hang, limits=Limits(retry_for=0, timeout=0.02))

        for _unused in range(10):
            with pytest.raises(MetadataUnavailable, match=r"no complete answer within 0\.02 s"):
                client.get("instance/maintenance-event")
        assert [server.ends.get(timeout=PATIENCE) for _unused in range(10)] == ["FIN"] * 10

    def test_failures_leak_no_file_descriptors(self, play: Play) -> None:
        """A watcher runs for months: memory, descriptors and threads must not grow."""
        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("no /proc")
        scripts = itertools.cycle([reset_at_once, close_at_once, cut_short, answering(b"garbage\r\n")])
        done = threading.Semaphore(0)

        def fail_somehow(peer: Peer) -> None:
            next(scripts)(peer)
            peer.close()
            done.release()

        _server, client = play(fail_somehow, limits=NO_RETRIES)
        counts = []
        for _unused in range(100):
            with pytest.raises(MetadataUnavailable):
                client.get("instance/name")
            assert done.acquire(timeout=PATIENCE)
            counts.append(len(os.listdir("/proc/self/fd")))
        assert counts[-1] == counts[0]

    @pytest.mark.parametrize("end", [Peer.close, Peer.reset])
    @pytest.mark.parametrize("ask", ["get", "wait", "put", "delete"])
    def test_connection_closed_while_idle_is_not_a_failure(
        self, play: Play, end: Callable[[Peer], None], ask: str
    ) -> None:
        def read_two_answer_one(peer: Peer) -> None:
            peer.read_request()
            peer.send(NONE)
            peer.read_request()
            end(peer)

        server, client = play(read_two_answer_one, answering(NONE), limits=NO_RETRIES)
        calls: dict[str, Callable[[], object]] = {
            "get": lambda: client.get("instance/name"),
            "wait": lambda: client.wait("instance/name", None, 60),
            "put": lambda: client.put("instance/guest-attributes/a/b", "c"),
            "delete": lambda: client.delete("instance/guest-attributes/a/b"),
        }

        client.get("instance/id")
        calls[ask]()
        assert (server.connections, len(server.requests)) == (2, 3)

    def test_new_connection_has_the_full_timeout(self, play: Play) -> None:
        def answer_one_and_close_late(peer: Peer) -> None:
            peer.read_request()
            peer.send(NONE)
            peer.read_request()
            client.time.now += 60

        def answer_late(peer: Peer) -> None:
            peer.read_request()
            client.time.now += 60
            peer.send(NONE[:20])
            peer.send(NONE[20:])
            peer.hang()

        _unused, client = play(answer_one_and_close_late, answer_late, limits=NO_RETRIES)

        client.get("instance/id")
        assert client.wait("instance/maintenance-event", "1", 60).value == "NONE"

    def test_connection_closed_while_idle_is_reopened_once(self, play: Play) -> None:
        def read_two_answer_one(peer: Peer) -> None:
            peer.read_request()
            peer.send(NONE)
            peer.read_request()

        server, client = play(read_two_answer_one, close_at_once, answering(NONE), limits=NO_RETRIES)

        client.get("instance/id")
        with pytest.raises(MetadataUnavailable, match="without an answer"):
            client.get("instance/name")
        assert server.connections == 2

    def test_answer_to_a_wait_without_an_etag_is_rejected(self, play: Play) -> None:
        """Without one, the next wait would be answered at once, and the next: a busy loop."""
        _unused, client = play(answering(http_answer("200 OK", b"NONE")), limits=NO_RETRIES)

        with pytest.raises(NotMetadataServer, match="without an ETag"):
            client.wait("instance/maintenance-event", None, 60)

    def test_exceptions_of_on_retry_and_sleep_are_raised(self, play: Play) -> None:
        def stop(*_unused: object) -> None:
            raise KeyboardInterrupt

        _unused, client = play(answering(UNAVAILABLE, NONE), on_retry=stop)

        with pytest.raises(KeyboardInterrupt):
            client.get("instance/name")
        assert client.get("instance/name").value == "NONE"


class TestSecrets:
    def test_errors_do_not_show_values(self, play: Play) -> None:
        token = json_answer(b'{"access_token": "hunter2"')
        pages = [token, token.replace(b"Google", b"Gaggle"), token.replace(b"application/json", b"text/html")]
        _server, client = play(answering(*pages), limits=NO_RETRIES)

        for _unused in pages:
            with pytest.raises(MetadataUnavailable) as caught:
                client.get("instance/service-accounts/default/token")
            assert "hunter2" not in everything_in(caught.value)


def everything_in(error: BaseException | None) -> str:
    """All that a log or a debugger would show of an exception and those that it hangs on."""
    if error is None:
        return ""
    told = [
        str(error),
        repr(error),
        repr(vars(error)),
        repr(getattr(error, "doc", "")),
        repr(getattr(error, "object", "")),
    ]
    return " ".join([*told, everything_in(error.__cause__), everything_in(error.__context__)])


class TestHost:
    @pytest.mark.parametrize(
        "argument, environ, host",
        [
            (None, {}, "metadata.google.internal"),
            (None, {"GCE_METADATA_ROOT": "root:1"}, "root:1"),
            (None, {"GCE_METADATA_ROOT": "root:1", "GCE_METADATA_HOST": "host:2"}, "host:2"),
            (None, {"GCE_METADATA_ROOT": "root:1", "GCE_METADATA_HOST": ""}, "root:1"),
            (None, {"GCE_METADATA_IP": "1.2.3.4"}, "metadata.google.internal"),
            ("arg:3", {"GCE_METADATA_HOST": "host:2"}, "arg:3"),
            ("169.254.169.254", {}, "169.254.169.254"),
            ("name:80", {}, "name"),
            ("http://name:8080/", {}, "name:8080"),
            ("http://name", {}, "name"),
            ("[fd20:ce::254]", {}, "[fd20:ce::254]"),
            ("[fd20:ce::254]:8080", {}, "[fd20:ce::254]:8080"),
        ],
    )
    def test_comes_from_the_argument_or_the_environment(
        self, argument: str | None, environ: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        assert Client(argument).host == host

    @pytest.mark.parametrize(
        "written",
        [
            " ",
            "a b",
            "a/b",
            "http://a/b",
            "https://a",
            "a:",
            "a:0",
            "a:65536",
            "a:x",
            "a:1:2",
            "::1",
            "[a",
            "u@a",
            "a\r\nX: y",
            "é",
        ],
    )
    def test_rejects_an_invalid_host_and_names_its_origin(self, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(
            MetadataBadRequest, match=r"^The setting metadata_host is .*, which is not a host: write name, name:port"
        ):
            Client(written)
        monkeypatch.setenv("GCE_METADATA_ROOT", written)
        with pytest.raises(MetadataBadRequest, match=r"^The environment variable GCE_METADATA_ROOT is "):
            Client(None)

    def test_rejects_an_empty_argument(self) -> None:
        with pytest.raises(MetadataBadRequest, match=r"^The setting metadata_host is ''"):
            Client("")

    @pytest.mark.parametrize("name", ["no-such-host.invalid", "a..b", "a" * 70 + ".b"])
    def test_reports_a_name_that_cannot_be_resolved(self, name: str) -> None:
        with pytest.raises(
            MetadataUnavailable,
            match=rf"the name {name} could not be resolved \(.*\). Check the setting metadata_host\.$",
        ):
            Client(name, limits=NO_RETRIES).get("instance/name")

    def test_error_names_the_given_origin(self) -> None:
        origin = {"host_origin": "the variable that_one"}
        with pytest.raises(MetadataBadRequest, match=r"^The variable that_one is 'a b'"):
            Client("a b", **origin)
        with pytest.raises(MetadataUnavailable, match=r"Check the variable that_one\.$"):
            Client("no-such-host.invalid", limits=NO_RETRIES, **origin).get("instance/name")


class TestDefaultHost:
    """If its name cannot be resolved, but its addresses answer."""

    def look_up(self, at: dict[bytes, RawServer | Exception]) -> Callable[..., Any]:
        """A resolver that knows where the test's own servers are."""

        def look_up(host: bytes, _port: int, **options: Any) -> Any:
            if options["flags"] and host == b"metadata.google.internal":
                raise socket.gaierror(socket.EAI_NONAME, "not a number")
            found = at[host]
            if isinstance(found, Exception):
                raise found
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", found.port))]

        return look_up

    def client(self, at: dict[bytes, RawServer | Exception], host: str | None = None) -> Client:
        return Client(host, limits=NO_RETRIES, addresses=Addresses(self.look_up(at)))

    @pytest.mark.parametrize("answering_one", [b"169.254.169.254", b"fd20:ce::254"])
    def test_is_reached_by_its_addresses(self, answering_one: bytes) -> None:
        no_name = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        with RawServer(answering(NONE, NONE)) as server:
            at: dict[bytes, RawServer | Exception] = {
                b"metadata.google.internal": no_name,
                b"169.254.169.254": OSError("no such family"),
                b"fd20:ce::254": OSError("no such family"),
                answering_one: server,
            }
            with contextlib.closing(self.client(at)) as client:
                assert client.get("instance/maintenance-event").value == "NONE"
            assert b"Host: metadata.google.internal\r\n" in server.requests[0]

    def test_is_reached_by_its_name_if_it_resolves(self) -> None:
        with RawServer(answering(NONE)) as server, RawServer(answering(NONE)) as other:
            at: dict[bytes, RawServer | Exception] = {
                b"metadata.google.internal": server,
                b"169.254.169.254": other,
                b"fd20:ce::254": other,
            }
            with contextlib.closing(self.client(at)) as client:
                client.get("instance/maintenance-event")
            assert (server.connections, other.connections) == (1, 0)

    def test_error_has_its_name_and_addresses(self) -> None:
        no_name = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        at: dict[bytes, RawServer | Exception] = dict.fromkeys(
            (b"metadata.google.internal", b"169.254.169.254", b"fd20:ce::254"), no_name
        )

        with pytest.raises(MetadataUnavailable) as caught:
            self.client(at).get("instance/name")
        assert str(caught.value) == (
            "Cannot read instance/name: no answer from the metadata server at metadata.google.internal: the name "
            "metadata.google.internal could not be resolved (Name or service not known), and no connection to "
            "169.254.169.254 or fd20:ce::254. Check whether this is a Compute Engine VM, or set GCE_METADATA_HOST."
        )

    @pytest.mark.parametrize("is_argument", [True, False])
    def test_configured_host_is_used_without_fallback(self, is_argument: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        name = "metadata.google.internal"
        if not is_argument:
            monkeypatch.setenv("GCE_METADATA_HOST", name)
        no_name = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        with RawServer(answering(NONE)) as server:
            at: dict[bytes, RawServer | Exception] = {b"metadata.google.internal": no_name, b"169.254.169.254": server}
            client = self.client(at, name if is_argument else None)
            with pytest.raises(MetadataUnavailable, match="could not be resolved"):
                client.get("instance/name")
            assert server.connections == 0


@given(
    status=st.sampled_from(["200 OK", "204 No Content", "301 Moved", "400 Bad", "403 No", "404 No", "503 Not now"]),
    body=st.binary(max_size=50) | st.sampled_from([b"{}", b'{"a":', b"\xff", b"<p>no<"]),
    headers=st.fixed_dictionaries(
        {},
        optional={
            "content_type": st.sampled_from(["application/json", "text/html", "", "application/json; charset=utf-8"]),
            "metadata_flavor": st.sampled_from(["", "Gaggle"]),
            "etag": st.sampled_from(["ab", "\x7f"]),
            "location": st.sampled_from(["/", "://", "http://", f"{ROOT}a/", "//[", "http://[::1"]),
        },
    ),
)
def test_any_response_raises_only_documented_exceptions(status: str, body: bytes, headers: dict[str, str]) -> None:
    answers = [http_answer(status, body, **headers)] * 4
    with RawServer(answering(*answers)) as server, contextlib.closing(Client(server.host, limits=NO_RETRIES)) as client:
        for ask in (lambda: client.get("a"), lambda: client.wait("a", "1", 60)):
            with contextlib.suppress(MetadataError):
                assert isinstance(ask(), Answer)


def test_imports_few_modules(tmp_path: Path) -> None:
    """For the memory of a watcher: http.client alone would double that of Python."""
    package = tmp_path / "handler"
    package.mkdir()
    for wing in ("_vm", "_metadata"):
        (package / wing).symlink_to(MODULE_UTILS / wing)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import handler._vm.metadata_server; "
        "print(*{'ssl', 'email', 'http', 'urllib', 'html', 'dataclasses', 'encodings.idna'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
