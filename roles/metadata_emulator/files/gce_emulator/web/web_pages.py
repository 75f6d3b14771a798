# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses requests that a web page makes a browser send to its user's machine or network. Pure.

Cross-site requests have the page's `Origin`. After DNS rebinding, `Host` is a name in the public DNS.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Collection, Mapping

# Reserved, and never in the public DNS: RFC 2606, RFC 6761, and ICANN for `internal`.
_PRIVATE_ENDINGS = ("localhost", "test", "internal")
# Only Google can serve pages there.
_GOOGLE = "googleapis.com"


def refusal(headers: Mapping[str, str], hosts: Collection[str]) -> str | None:
    """Why a request with these headers is refused, or None.

    `hosts` are accepted names, in addition to addresses and names outside the public DNS.
    """
    host = headers.get("Host", "")
    name = _name_of(host)
    if not _is_private(name) and name not in {each.lower() for each in hosts}:
        return f"the host {name!r} is unknown: use an address, or add the name to hosts in the fleet file"
    origin = headers.get("Origin")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return f"requests from pages of {origin} are refused"
    return None


def _name_of(host: str) -> str:
    try:
        return (urllib.parse.urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        # Not a host, and not a local name either.
        return "."


def _is_private(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        # A name without a dot is local, or a container's.
        return "." not in name or name.rpartition(".")[2] in _PRIVATE_ENDINGS or name.endswith(f".{_GOOGLE}")
    return True
