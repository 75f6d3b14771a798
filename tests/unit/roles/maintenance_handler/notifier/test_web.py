# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webhooks: real servers that accept, refuse, hang, or answer with garbage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.core.notice_document import document
from maintenance_handler.core.notices import Notice
from notifier import web
from notifier.outcome import Refused, Unavailable
from support.json_service import Certificate
from support.raw_server import PATIENCE, RawServer, answering, http_answer
from support.receiver import Receiver

VM = {"instance": "web-1", "instance_id": "123", "zone": "z", "project": "p"}
NOTICE = Notice(
    id="1f-migrate-drained-2", kind="drained", text="drained", at=1_780_000_000.0, opened_at=1_780_000_000.0
)
DOCUMENT = document(NOTICE.to_dict(), VM)


def target(url: str, **fields: Any) -> dict[str, Any]:
    url = f"{url}/services/hunter2?token=hunter2"
    return {"name": "chat", "url": url, "timeout": PATIENCE, "on": ["drained"], **fields}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def test_document_is_posted_with_its_id_and_the_headers(receiver: Receiver) -> None:
    said = web.send(target(receiver.url, headers={"Authorization": "Bearer hunter2"}), DOCUMENT)
    (call,) = receiver.calls
    assert (call.method, call.path, call.query) == ("POST", "/services/hunter2", {"token": "hunter2"})
    assert call.body == DOCUMENT
    assert call.headers["authorization"] == "Bearer hunter2"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["idempotency-key"] == DOCUMENT["id"]
    assert "200 (ok)" in said
    assert "hunter2" not in said


def test_header_of_the_target_replaces_the_usual_one(receiver: Receiver) -> None:
    web.send(target(receiver.url, headers={"Content-Type": "application/vnd.x+json"}), DOCUMENT)
    assert receiver.calls[0].headers["content-type"] == "application/vnd.x+json"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_refusal_is_final(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, "no_service\x1b[2J")]
    with pytest.raises(Refused, match=f"status {status}") as caught:
        web.send(target(receiver.url), DOCUMENT)
    assert "no_service?[2J" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize(
    "page",
    [
        "The requested URL /services/hunter2 was not found on this server.",
        "no route for /services/hunter2?token=hunter2",
        "the token 'hunter2' is unknown",
        "you sent Authorization: Bearer  hunter2-header",
        'no such key: "hunter2 routing"',
        r'{"path": "\/services\/a b\/hunter2-segment"}',
        "no webhook hunter2-segment, nor hunter2%2Dsegment",
    ],
)
def test_receiver_that_repeats_secrets(receiver: Receiver, status: int, page: str) -> None:
    receiver.answers = [(status, page)]
    segments = "/a%20b/hunter2%2Dsegment" if "segment" in page else ""
    url = f"{receiver.url}/services{segments or '/hunter2'}?token=hunter2"
    headers = {"Authorization": "Bearer  hunter2-header"}
    try:
        said = web.send({**target(url), "url": url, "headers": headers, "routing_key": "hunter2 routing"}, DOCUMENT)
    except (Refused, Unavailable) as exc:
        said = str(exc)
    assert f"status {status} (" in said
    assert "…" in said
    assert "hunter2" not in said


def test_a_path_of_no_secret_leaves_the_answer_readable(receiver: Receiver) -> None:
    receiver.answers = [(404, "a/b is / not there")]
    with pytest.raises(Refused, match=r"\(a/b is / not there\)"):
        web.send({**target(receiver.url), "url": f"{receiver.url}/?b=b&t=th"}, DOCUMENT)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_other_errors_are_not_final(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, "busy")]
    with pytest.raises(Unavailable, match=f"status {status}") as caught:
        web.send(target(receiver.url), DOCUMENT)
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("7", 7.0),
        ("0", 0.0),
        (lambda: formatdate(time.time() + 100, usegmt=True), pytest.approx(100, abs=20)),
        (lambda: formatdate(time.time() - 100, usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("9" * 40, 999_999_999.0),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str | Callable[[], str], seconds: Any) -> None:
    value = text if isinstance(text, str) else text()
    answer = http_answer("429 Too Many Requests", b"", **{"Retry-After": value})
    with RawServer(answering(answer)) as server, pytest.raises(Unavailable) as caught:
        web.send(target(f"http://{server.host}"), DOCUMENT)
    assert caught.value.retry_after == seconds


def test_redirect_is_not_followed(receiver: Receiver) -> None:
    answer = http_answer("302 Found", b"", Location=f"{receiver.url}/hunter2")
    with RawServer(answering(answer)) as server, pytest.raises(Refused, match="a redirect to ") as caught:
        web.send(target(f"http://{server.host}"), DOCUMENT)
    assert f"a redirect to {receiver.url}: " in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert receiver.calls == []


def test_refused_connection_is_not_final(receiver: Receiver) -> None:
    receiver.stop()
    with pytest.raises(Unavailable, match="refused") as caught:
        web.send(target(receiver.url), DOCUMENT)
    assert "hunter2" not in str(caught.value)
    receiver.start()


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0" * 50,
        b"HTTP/1.1 abc\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
    ],
)
def test_garbage_is_not_final(garbage: bytes) -> None:
    with RawServer(answering(garbage)) as server, pytest.raises(Unavailable, match="does not answer"):
        # With some of it, the client waits for more.
        web.send(target(f"http://{server.host}", timeout=5.0), DOCUMENT)


def test_receiver_that_hangs_is_given_up_after_the_timeout() -> None:
    with RawServer(lambda peer: peer.hang()) as server, pytest.raises(Unavailable, match="timed out"):
        web.send(target(f"http://{server.host}", timeout=0.2), DOCUMENT)


def test_receiver_that_dribbles_is_given_up_after_the_timeout() -> None:
    def dribble(peer: Any) -> None:
        peer.read_request()
        while True:
            peer.send(b"H")
            time.sleep(0.02)

    with RawServer(dribble) as server, pytest.raises(Unavailable):
        web.send(target(f"http://{server.host}", timeout=0.3), DOCUMENT)


def test_certificates_are_verified(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    receiver = Receiver(certificate)
    try:
        with pytest.raises(Unavailable, match="certificate"):
            web.send(target(receiver.url), DOCUMENT)
        assert "200" in web.send(target(receiver.url, ca_file=str(certificate.file)), DOCUMENT)
        with pytest.raises(Unavailable, match=r"no-such\.pem"):
            web.send(target(receiver.url, ca_file=str(tmp_path / "no-such.pem")), DOCUMENT)
    finally:
        receiver.stop()
