# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which texts are URLs that requests can be sent to. Pure.

Private to the collection: it may change at any time. Standard library only, without ``urllib``, which costs memory.
"""

from __future__ import annotations

import re
import socket
from typing import Any

_URL = re.compile(r"https?://(?P<host>\[[^\s\[\]/?#@]+\]|[^\s\[\]/?#:@]+)(:(?P<port>[0-9]{1,5}))?([/?#]\S*)?", re.ASCII)
_LOOPBACK = re.compile(r"localhost\.?|127(\.[0-9]{1,3}){3}|\[::1\]", re.IGNORECASE | re.ASCII)
_URL_WITH_USER = re.compile(r"https?://[^/?#]*@")


def is_web_url(value: Any) -> bool:
    """Whether it is a valid URL with http or https, a host, and neither a user nor a password.

    It may have characters that are not ASCII.
    """
    parts = _URL.fullmatch(value) if isinstance(value, str) and value.isprintable() else None
    return parts is not None and _is_host(parts["host"]) and 0 < int(parts["port"] or 80) < 65536


def has_user(value: str) -> bool:
    """Whether it is a URL with a user or a password, which are secret."""
    return _URL_WITH_USER.match(value) is not None


def is_loopback(value: str) -> bool:
    """Whether it is a URL of the machine itself, by its name or a loopback address."""
    parts = _URL.fullmatch(value)
    return parts is not None and _LOOPBACK.fullmatch(parts["host"]) is not None


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return all(0 < len(label) < 64 for label in host.rstrip(".").split("."))
    address, _percent, _zone = host[1:-1].partition("%")
    try:
        socket.inet_pton(socket.AF_INET6, address)
    except OSError:
        return False
    return True
