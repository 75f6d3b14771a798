# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a notice to a webhook."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from client import tls
from client.errors import Refusal, Unreachable
from client.http import Answer, request, shown
from notifier.outcome import Refused, Unavailable
from notifier.payloads import payload

# Characters of an answer that are shown.
_LONGEST = 200
# What is shorter is no secret, such as "1" in "?v=1". Short segments of a path are words, such as "alerts".
_SECRET = 4
_SECRET_SEGMENT = 8
# https://datatracker.ietf.org/doc/html/rfc9110#section-15.5.9 and RFC 6585, section 4: try again later.
_LATER = (408, 425, 429)


def send(target: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Send it. Returns what came back. Raises `Refused` or `Unavailable`."""
    body, headers = payload(target, document)
    url = target["url"]
    try:
        context = None
        if url.startswith("https:"):
            context = tls.context(target.get("ca_file"), target.get("cert_file"), target.get("key_file"))
        answer = request(
            url,
            method="POST",
            body=body,
            headers={"User-Agent": "gce-maintenance-handler", **headers, **target.get("headers", {})},
            context=context,
            timeout=target["timeout"],
        )
    except Unreachable as exc:
        raise Unavailable(str(exc).replace(shown(url), _origin(url))) from None
    except Refusal as exc:
        # A certificate that cannot be read now may be renewed.
        raise Unavailable(str(exc)) from None
    return _judged(answer, _origin(url), _excerpt(answer.text, _secrets(target)))


def _judged(answer: Answer, origin: str, excerpt: str) -> str:
    said = f"{origin} answered with status {answer.status}{excerpt}"
    if 200 <= answer.status < 300:
        return said
    if answer.status in _LATER or answer.status >= 500:
        raise Unavailable(said, _retry_after(answer.headers.get("retry-after", "")))
    if 300 <= answer.status < 400:
        # A redirect is not followed: the headers may have secrets that are for this host only.
        raise Refused(f"{said}, a redirect to {_origin(answer.headers.get('location', ''))}: give the final URL")
    raise Refused(said)


def _excerpt(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "…")
    text = " ".join(text.split())
    text = "".join(each if each.isprintable() else "?" for each in text)
    return f" ({text[:_LONGEST]})" if text else ""


def _secrets(target: Mapping[str, Any]) -> list[str]:
    """What a receiver may repeat, such as the path on a page that says "not found"; the longest come first.

    The result of a target is in the status, which everybody can read.
    """
    parts = urlsplit(target["url"])
    found = [target.get("routing_key") or ""]
    for value in target.get("headers", {}).values():
        # Also without the scheme, as in "Bearer TOKEN".
        found += [value, value.partition(" ")[2].strip()]
    found += [parts.path.strip("/"), parts.query, *(value for _name, value in parse_qsl(parts.query))]
    found += [segment for segment in parts.path.split("/") if len(segment) >= _SECRET_SEGMENT]
    spelled = {each for one in found for each in (one, unquote(one)) if len(each) >= _SECRET}
    return sorted(spelled, key=len, reverse=True)


def _retry_after(text: str) -> float | None:
    """Seconds of the header Retry-After, which has a number or a date; None if it has neither."""
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _origin(url: str) -> str:
    """Scheme and host: the paths of webhooks are secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "another URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else "another URL"
