# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents encoded in user data, in all encodings of cloud-init and Ignition, within limits."""

from __future__ import annotations

import base64
import gzip
import json
import quopri
import textwrap
import tracemalloc
from collections.abc import Callable
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from urllib.parse import quote

import pytest
from ansible_collections.gce.guest.plugins.module_utils._metadata.encoded_documents import (
    LARGEST_TOTAL,
    MOST_DOCUMENTS,
    decoded,
    documents,
)
from ansible_collections.gce.guest.plugins.module_utils._metadata.legacy_endpoints import Call, calls

SCRIPT = (
    "#!/bin/sh\n# Grüße\ncurl -s http://metadata.google.internal/computeMetadata/v1beta1/instance/id\n" + "true\n" * 20
)
BETA = "/computeMetadata/v1beta1/"


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def packed(text: str) -> str:
    return b64(gzip.compress(text.encode()))


def mime(*parts: MIMEText) -> str:
    archive = MIMEMultipart()
    for part in parts:
        archive.attach(part)
    return archive.as_string()


def quoted_printable() -> str:
    script = f"logger '{'-' * 5}'; " + SCRIPT.splitlines()[2]
    return (
        "Content-Type: text/x-shellscript\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n"
        + quopri.encodestring(script.encode()).decode()
    )


def cloud_config(encoding: str, content: str) -> str:
    return f"#cloud-config\nwrite_files:\n- path: /usr/local/bin/start\n  encoding: {encoding}\n  content: {content}\n"


def ignition(source: str, **more: str) -> str:
    file = {"path": "/opt/start", "contents": {"source": source, **more}}
    return json.dumps({"ignition": {"version": "3.4.0"}, "storage": {"files": [file]}})


FORMS: dict[str, str] = {
    "a MIME part in base64": mime(MIMEText(SCRIPT, "x-shellscript", "utf-8")),
    "the second of two parts": mime(MIMEText("#cloud-config\n", "cloud-config", "us-ascii"), MIMEText(SCRIPT)),
    "a MIME archive with CRLF": mime(MIMEText(SCRIPT, "x-shellscript", "utf-8")).replace("\n", "\r\n"),
    "a MIME part in quoted-printable": quoted_printable(),
    **{
        f"write_files {encoding}": cloud_config(encoding, b64(SCRIPT))
        for encoding in ("b64", "base64", "text/plain; base64")
    },
    **{
        f"write_files {encoding}": cloud_config(encoding, packed(SCRIPT))
        for encoding in ("gz+b64", "gz+base64", "gzip+b64", "gzip+base64")
    },
    "write_files without a space": cloud_config("b64", b64(SCRIPT)).replace("content: ", "content: !!binary "),
    "write_files in quotes": cloud_config("b64", json.dumps(b64(SCRIPT))),
    "write_files on several lines": cloud_config(
        "b64", "|\n" + textwrap.indent(base64.encodebytes(SCRIPT.encode()).decode(), "    ")
    ),
    "write_files on several lines, and more after it": cloud_config(
        "gz+b64", ">-\n" + textwrap.indent("\n".join(textwrap.wrap(packed(SCRIPT), 60)), "    ") + "\n  owner: root\n"
    ),
    "write_files on lines that a backslash breaks": cloud_config(
        "b64", '"' + "\\n".join(textwrap.wrap(b64(SCRIPT), 60)) + '"'
    ),
    "write_files as JSON": "#cloud-config\n"
    + json.dumps({"write_files": [{"encoding": "b64", "content": b64(SCRIPT)}]}),
    "a slash with a backslash": cloud_config("b64", '"' + b64("??>~" + SCRIPT).replace("/", "\\/") + '"'),
    "a data URL in base64": ignition("data:text/plain;charset=utf-8;base64," + b64(SCRIPT)),
    "a data URL in base64 and gzip": ignition("data:;base64," + packed(SCRIPT), compression="gzip"),
    "a data URL in base64 and percent": ignition("data:;base64," + quote(b64(SCRIPT), safe="")),
    "a data URL in percent": ignition("data:," + quote(SCRIPT, safe="")),
    "a here-document": "base64 -d > /opt/x <<EOF\n" + base64.encodebytes(SCRIPT.encode()).decode() + "EOF\nsh /opt/x\n",
    "a pipe": f"echo {b64(SCRIPT)} | base64 -d | sh\n",
    "the alphabet of URLs": f"x='{base64.urlsafe_b64encode(SCRIPT.encode()).decode()}'",
    "a MIME part that has write_files": mime(MIMEText(cloud_config("gz+b64", packed(SCRIPT)), "cloud-config", "utf-8")),
    "gzip in two pieces": cloud_config("gz+b64", b64(gzip.compress(b"#!/bin/sh\n") + gzip.compress(SCRIPT.encode()))),
}


@pytest.mark.parametrize("form", FORMS)
def test_encoded_documents_are_found(form: str) -> None:
    found = calls({"user-data": FORMS[form]})
    assert [(call.key, call.endpoint) for call in found] == [("user-data", BETA)]
    assert any(SCRIPT.strip() in document.text for document in documents(FORMS[form])) or "quoted" in form


@pytest.mark.parametrize("pack", [b64, packed])
def test_user_data_encoded_as_a_whole_is_decoded(pack: Callable[[str], str]) -> None:
    inner = cloud_config("b64", b64(SCRIPT))
    assert calls({"user-data": pack(inner), "user-data-encoding": "base64"}) == [Call("user-data", 5, BETA)]


def test_line_is_that_of_the_start_of_the_encoded_text() -> None:
    text = "#!/bin/sh\n\n" + f"echo {b64(SCRIPT)} | base64 -d\n"
    assert calls({"startup-script": text}) == [Call("startup-script", 3, BETA)]
    block = cloud_config("b64", "|\n" + textwrap.indent(base64.encodebytes(SCRIPT.encode()).decode(), "    "))
    assert calls({"user-data": block}) == [Call("user-data", 6, BETA)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "release: 1.4.2",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9AX5xkfQ3IDuvWj5bM8VfoTZVhS1a0jQ2nZk0pYr7B alice@example.com",
        "data:image/png;base64," + b64(bytes(range(256)) * 4),
        "H4sIAAAAAAAA/w==",
        b64(b"\x1f\x8b?" + b"x" * 40),
        b64(gzip.compress(SCRIPT.encode(), mtime=0)[:9] + b"?" * 40),
    ],
)
def test_binary_data_is_ignored(text: str) -> None:
    assert [document.text for document in documents(text)] == []


class TestBounds:
    def test_of_the_size(self) -> None:
        bomb = b64(gzip.compress(gzip.compress(b"a\n" * (128 * 1024 * 1024))))
        tracemalloc.start()
        try:
            assert sum(len(document.text) for document in documents(f"content: {bomb}")) <= LARGEST_TOTAL
            assert len(decoded(b64(gzip.compress(b"x" * (64 * 1024 * 1024)))) or "") <= LARGEST_TOTAL
            assert tracemalloc.get_traced_memory()[1] < 20 * LARGEST_TOTAL
        finally:
            tracemalloc.stop()

    def test_of_the_depth(self) -> None:
        text = SCRIPT
        for _level in range(12):
            text = f"content: {packed(text)}"
        found = list(documents(text))
        assert 0 < len(found) < 12

    def test_of_the_number(self) -> None:
        text = f"{b64('nothing to see in here')}\nx: y\n" * (2 * MOST_DOCUMENTS)
        assert len(list(documents(text))) == MOST_DOCUMENTS

    @pytest.mark.parametrize(
        "text",
        [
            "A" * 262_144,
            "ABCD\n" * 52_000,
            "ABCDEFGH=\n" * 26_000,
            "data:," * 43_000,
            "data:,%41" * 29_000,
            "\\n" * 131_000,
        ],
        ids=lambda text: repr(text[:12]),
    )
    def test_of_text_that_only_looks_like_base64(self, text: str) -> None:
        assert len(list(documents(text))) <= MOST_DOCUMENTS


def test_names_are_not_mistaken_for_calls() -> None:
    values = [
        "curl -A acme-metadata/0.1 https://example.com/",
        "User-Agent: metadata/0.1 (linux)",
        "User-Agent: acme metadata/0.1",
        "deb https://apt.example.com/repo/metadata/0.1/x.deb",
        "https://example.com/metadata/0.1/index.json",
        "gcr.io/acme/metadata/0.1",
        "gcr.io/acme/metadata:0.1",
        "https://acme-metadata/0.1/",
        "https://metadata.example.com/0.1/",
        "gs://acme/metadata/0.1/",
        "metadata/0.1",
        "//cdn/metadata/0.1/",
    ]
    assert calls({f"key-{number}": value for number, value in enumerate(values)}) == []
