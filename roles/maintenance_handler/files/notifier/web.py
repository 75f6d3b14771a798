# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a notice to a webhook."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from client import tls
from client.errors import Refusal, Unreachable
from client.http import Answer, request, shown
from notifier.outcome import Refused, Unavailable
from notifier.payloads import payload

# Characters of an answer that are shown.
_LONGEST = 200
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
    return _judged(answer, _origin(url))


def _judged(answer: Answer, origin: str) -> str:
    said = f"{origin} answered with status {answer.status}{_excerpt(answer)}"
    if 200 <= answer.status < 300:
        return said
    if answer.status in _LATER or answer.status >= 500:
        raise Unavailable(said, _retry_after(answer.headers.get("retry-after", "")))
    if 300 <= answer.status < 400:
        # A redirect is not followed: the headers may have secrets that are for this host only.
        raise Refused(f"{said}, a redirect to {_origin(answer.headers.get('location', ''))}: give the final URL")
    raise Refused(said)


def _excerpt(answer: Answer) -> str:
    text = " ".join(answer.text.split())
    text = "".join(each if each.isprintable() else "?" for each in text)
    return f" ({text[:_LONGEST]})" if text else ""


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
