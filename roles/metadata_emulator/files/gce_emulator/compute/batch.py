# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of calls, as gcloud and google-api-python-client send them: an HTTP request in each part. Pure.

https://cloud.google.com/compute/docs/api/how-tos/batch
"""

from __future__ import annotations

import dataclasses
import email.message
import email.parser
import http
import re
import urllib.parse
from collections.abc import Iterable, Mapping

from multidict import CIMultiDict

from ..state.errors import ApiError
from .request import ApiRequest, Reply

PATHS = ("/batch/compute/v1", "/batch/compute/v1/", "/batch")

MOST_CALLS = 1000

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([A-Z]+) (\S+)(?: HTTP/\d\.\d)?")


@dataclasses.dataclass(frozen=True)
class Part:
    """`content_id` is None if the part has none."""

    content_id: str | None
    request: ApiRequest


def read_batch(batch: ApiRequest) -> list[Part]:
    """The calls of a batch. Headers of the batch apply to calls that lack them. Raises ApiError."""
    segments = _segments(batch.body, _boundary(batch.headers.get("Content-Type", "")))
    if not segments:
        raise _malformed("0 items")
    if len(segments) > MOST_CALLS:
        raise ApiError(400, "badRequest", f"The batch has {len(segments)} calls; the limit is {MOST_CALLS}.")
    inherited = {name: value for name, value in batch.headers.items() if not name.lower().startswith("content-")}
    return [_part(segment, inherited) for segment in segments]


def write_batch(boundary: str, replies: Iterable[tuple[str | None, Reply]]) -> Reply:
    """The answer to a batch; `replies` have the content ids of their calls."""
    body = bytearray()
    for content_id, reply in replies:
        head = [f"--{boundary}", "Content-Type: application/http"]
        if content_id is not None:
            head.append(f"Content-ID: {_response_id(content_id)}")
        head += [
            "",
            f"HTTP/1.1 {reply.status} {http.HTTPStatus(reply.status).phrase}",
            f"Content-Type: {reply.content_type}",
            f"Content-Length: {len(reply.body)}",
            "",
            "",
        ]
        body += "\r\n".join(head).encode("utf-8", "replace") + reply.body + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return Reply(200, bytes(body), f"multipart/mixed; boundary={boundary}")


def _boundary(content_type: str) -> bytes:
    message = email.message.Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary:
        raise _malformed("the Content-Type is not multipart/mixed with a boundary")
    return boundary.encode("utf-8", "replace")


def _segments(body: bytes, boundary: bytes) -> list[bytes]:
    """The text between boundaries. Python's email package ends lines with LF, others with CRLF."""
    delimiter = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|$)")
    marks = []
    for mark in delimiter.finditer(body):
        marks.append(mark)
        if mark.group(1):
            break
    # Consecutive boundaries share a line end, so that an empty part looks like none.
    return [body[mark.end() : following.start()] for mark, following in zip(marks, marks[1:])]


def _part(segment: bytes, inherited: Mapping[str, str]) -> Part:
    head, content = _split(segment)
    if head.get_content_type() != "application/http":
        raise _malformed("a part is not application/http")
    line, _unused, rest = content.partition(b"\n")
    request_line = _REQUEST_LINE.fullmatch(line.decode("utf-8", "replace").strip())
    if request_line is None:
        raise _malformed("a part does not begin with a request line")
    headers, body = _split(rest)
    method, target = request_line.groups()
    try:
        url = urllib.parse.urlsplit(target)
    except ValueError:
        raise _malformed(f"{target} is not a URL") from None
    own = {name: str(value) for name, value in headers.items()}
    names = {name.lower() for name in own}
    kept = {name: value for name, value in inherited.items() if name.lower() not in names}
    request = ApiRequest(method, url.path, url.query, CIMultiDict({**kept, **own}), body)
    content_id = head.get("Content-ID")
    return Part(None if content_id is None else str(content_id), request)


def _split(message: bytes) -> tuple[email.message.Message, bytes]:
    """Headers, and the text after the blank line."""
    if message.startswith((b"\r\n", b"\n")):
        return email.message.Message(), message.split(b"\n", 1)[1]
    blank = _BLANK_LINE.search(message)
    head, body = (message, b"") if blank is None else (message[: blank.start()], message[blank.end() :])
    return email.parser.BytesHeaderParser().parsebytes(head), body


def _response_id(content_id: str) -> str:
    inner = " ".join(content_id.split())
    return f"<response-{inner[1:]}" if inner.startswith("<") else f"response-{inner}"


def _malformed(why: str) -> ApiError:
    return ApiError(400, "badRequest", f"Failed to parse batch request, error: {why}.")
