# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which texts are URLs that requests can be sent to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.web_url import has_user, is_loopback, is_web_url
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "https://web-1.example.com./",
        "http://10.0.0.2:2379/a?b=c#d",
        "https://[::1]:2379/",
        "http://[fe80::1%25eth0]",
        "https://hooks.example.com/services/T0/a@b",
        "http://münchen/ü",
        f"http://{'a' * 63}/",
    ],
)
def test_url_is_valid(url: str) -> None:
    assert is_web_url(url)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        b"http://x",
        "",
        "x",
        "ftp://x",
        "http:///path",
        "http://",
        "http://x:0",
        "http://x:99999",
        "http://x:port/",
        "http://[::1",
        "http://[zz]/",
        "http://[1.2.3.4]/",
        "http://me@x/",
        "http://me:secret@x/",
        "http://a..b/",
        f"http://{'a' * 64}/",
        "http://x/a b",
        "http://x/\r\nHost: y",
        "http://x/\n",
        "http://x/\x7f",
        "http://x/a\u00a0b",
    ],
)
def test_value_is_not_valid(value: Any) -> None:
    assert not is_web_url(value)


@pytest.mark.parametrize(
    "url, expected",
    [("http://me@x", True), ("https://me:p@x/", True), ("https://x/a@b", False), ("https://x?a@b", False)],
)
def test_user_is_found(url: str, expected: bool) -> None:
    assert has_user(url) is expected


@given(st.text(alphabet="htps:/[]@.?#1a- \n", max_size=30).map(lambda text: f"http://{text}"))
def test_valid_url_can_be_split(url: str) -> None:
    if is_web_url(url):
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.username is None
        assert parts.port != 0


@pytest.mark.parametrize(
    "url",
    ["http://localhost", "https://LocalHost.:8501/", "http://127.0.0.1:8500", "http://127.8.0.1/a", "http://[::1]:1"],
)
def test_url_is_of_this_machine(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.2:8500", "http://127.0.0.1.example.com", "http://localhost.example.com", "http://[::2]/", "x"],
)
def test_url_is_of_another_machine(url: str) -> None:
    assert not is_loopback(url)
