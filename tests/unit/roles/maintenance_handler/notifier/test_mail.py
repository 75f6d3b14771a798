# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mails to a real mail server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.core.notice_document import document
from maintenance_handler.core.notices import Notice
from notifier import mail
from notifier.outcome import Refused, Unavailable
from support.json_service import Certificate
from support.mail_server import MailServer
from support.raw_server import PATIENCE, RawServer, answering

VM = {"instance": "web-1", "instance_id": "123", "zone": "z", "project": "p"}
AT = 1_780_000_000.0
NOTICE = Notice(
    id="1f-migrate-failed-2", kind="failed", text="drain 'lb'\nfailed ä", at=AT, opened_at=AT, incident="1f-migrate"
)
DOCUMENT = document(NOTICE.to_dict(), VM)
LOGIN = {"user": "vm", "password": "hunter2"}
MakeServer = Callable[..., MailServer]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    made: list[MailServer] = []

    def make(*arguments: Any, **options: Any) -> MailServer:
        made.append(MailServer(*arguments, **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def target(port: int, **fields: Any) -> dict[str, Any]:
    settings = {"host": "127.0.0.1", "port": port, "from": "vm@example.com", "to": ["a@example.com", "b@example.com"]}
    return {"name": "mail", "timeout": PATIENCE, "smtp": {**settings, "security": "none", **fields}}


def test_mail_arrives_once_for_all_recipients(make_server: MakeServer) -> None:
    server = make_server()
    said = mail.send(target(server.port), DOCUMENT)
    (arrived,) = server.mails
    assert server.recipients == ["<a@example.com>", "<b@example.com>"]
    assert "failed =?utf-8?" in str(arrived["Subject"]) or "failed ä" in str(arrived["Subject"])
    assert arrived["Message-ID"] == "<123-1f-migrate-failed-2@gce-maintenance-handler>"
    assert arrived["References"] == "<123-1f-migrate@gce-maintenance-handler>"
    body = arrived.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert "kind: failed" in body.decode()
    assert "accepted" in said


def test_mail_that_was_accepted_is_not_sent_again_because_of_the_goodbye(make_server: MakeServer) -> None:
    server = make_server()
    server.replies["QUIT"] = "500 what?"
    mail.send(target(server.port), DOCUMENT)
    assert len(server.mails) == 1


def test_message_id_is_the_same_for_each_try() -> None:
    settings = target(25)["smtp"]
    assert mail.message(settings, DOCUMENT)["Message-ID"] == mail.message(settings, DOCUMENT)["Message-ID"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_password_is_sent_encrypted(make_server: MakeServer, certificate: Certificate, security: str) -> None:
    server = make_server(certificate, tls=security == "tls")
    mail.send(target(server.port, security=security, ca_file=str(certificate.file), **LOGIN), DOCUMENT)
    assert server.logins == ["\0vm\0hunter2"]
    assert len(server.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_certificate_is_verified(make_server: MakeServer, certificate: Certificate, security: str) -> None:
    server = make_server(certificate, tls=security == "tls")
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        mail.send(target(server.port, security=security, **LOGIN), DOCUMENT)
    assert server.logins == []


def test_server_without_starttls_gets_no_password(make_server: MakeServer) -> None:
    server = make_server()
    with pytest.raises(Refused, match="STARTTLS"):
        mail.send(target(server.port, security="starttls", **LOGIN), DOCUMENT)
    assert (server.logins, server.mails) == ([], [])


@pytest.mark.parametrize(
    "verb, reply, error",
    [
        ("AUTH", "535 hunter2 is wrong", Refused),
        ("AUTH", "454 try later hunter2", Unavailable),
        ("MAIL", "550 no", Refused),
        ("MAIL", "451 later", Unavailable),
        ("RCPT", "550 unknown", Refused),
        ("RCPT", "450 greylisted", Unavailable),
        ("DATA", "554 spam", Refused),
        ("DATA", "452 full", Unavailable),
        ("EHLO", "421 closing", Unavailable),
    ],
)
def test_permanent_codes_are_final(
    make_server: MakeServer, certificate: Certificate, verb: str, reply: str, error: type[Exception]
) -> None:
    server = make_server(certificate, tls=True)
    server.replies[verb] = reply
    if verb == "EHLO":
        server.replies["HELO"] = reply
    with pytest.raises(error) as caught:
        mail.send(target(server.port, security="tls", ca_file=str(certificate.file), **LOGIN), DOCUMENT)
    assert caught.type is error
    assert "hunter2" not in str(caught.value)
    assert server.mails == []


def test_server_that_is_down_is_not_final(make_server: MakeServer) -> None:
    server = make_server()
    server.stop()
    with pytest.raises(Unavailable, match="refused"):
        mail.send(target(server.port), DOCUMENT)


@pytest.mark.parametrize("garbage", [b"", b"\0\0\0\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_garbage_is_not_final(garbage: bytes) -> None:
    with RawServer(answering(garbage)) as server, pytest.raises(Unavailable):
        mail.send({**target(int(server.host.rpartition(":")[2])), "timeout": 1.0}, DOCUMENT)


def test_secret_file_of_authorities_is_not_final(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server()
    with pytest.raises(Unavailable, match="cannot be read"):
        mail.send(target(server.port, security="starttls", ca_file=str(tmp_path / "none")), DOCUMENT)
