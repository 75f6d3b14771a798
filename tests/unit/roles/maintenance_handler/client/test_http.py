# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP requests, with real servers."""

from __future__ import annotations

import pytest

from client.errors import Unreachable
from client.http import request
from client.received import MOST
from support.endless import endless, flood, trickle
from support.recipes import PATIENCE, service

_BEGIN = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(b"", id="status line"),
        pytest.param(_BEGIN + b"X-Long: ", id="header"),
        pytest.param(_BEGIN + b"\r\n", id="body"),
        pytest.param(_BEGIN + b"Content-Length: 1000000\r\n\r\n", id="body of a known length"),
        pytest.param(_BEGIN + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n", id="chunk"),
    ],
)
def test_the_timeout_is_for_the_whole_answer(begin: bytes) -> None:
    with endless(begin, trickle) as port, pytest.raises(Unreachable, match=f"127.0.0.1:{port}/state does not answer"):
        request(f"http://127.0.0.1:{port}/state?token=secret", timeout=0.5)


def test_reads_no_more_than_the_limit() -> None:
    with endless(_BEGIN + b"\r\n", flood) as port:
        assert len(request(f"http://127.0.0.1:{port}/", timeout=PATIENCE).body) == MOST


def test_follows_no_redirect_and_uses_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with service() as local:
        local.status = 302
        assert request(f"http://127.0.0.1:{local.port}", timeout=PATIENCE).status == 302
        assert request(f"http://127.0.0.1:{local.port}/a/b?c=d&e", timeout=PATIENCE).text == "ok"
        assert local.seen == ["/", "/a/b?c=d&e"]


@pytest.mark.parametrize("url", ["http://", "http://:80/", "http://127.0.0.1:70000/", "http://127.0.0.1/a b"])
def test_refuses_what_is_not_a_url(url: str) -> None:
    with pytest.raises(Unreachable, match="does not answer: "):
        request(url, timeout=PATIENCE)
