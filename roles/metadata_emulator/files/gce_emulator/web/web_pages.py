# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps out what a web page has a browser send to an address of its user's machine or network. Pure.

A page of another origin is known by `Origin` (cross-site requests), and one whose own name was made to resolve to this
address (DNS rebinding) by `Host`: it names a host that is in the public DNS.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Collection, Mapping

# Reserved, so that nobody can have them resolve to anything: RFC 2606, RFC 6761, and ICANN for `internal`.
_PRIVATE_ENDINGS = ("localhost", "test", "internal")
# Nobody but Google can have a page there.
_GOOGLE = "googleapis.com"


def refusal(headers: Mapping[str, str], hosts: Collection[str]) -> str | None:
    """Why a request with these headers is refused, a sentence; None when it is not.

    `hosts` are names by which the emulator may be called, beside addresses and names that are in no public DNS.
    """
    host = headers.get("Host", "")
    name = _name_of(host)
    if not _is_private(name) and name not in {each.lower() for each in hosts}:
        return f"the host {name!r} is not known here: call the emulator by its address, or name it in the key hosts"
    origin = headers.get("Origin")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return f"a request from a page of {origin} is not taken"
    return None


def _name_of(host: str) -> str:
    try:
        return (urllib.parse.urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        # No host at all, and not one that could be taken for the name of a local one.
        return "."


def _is_private(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        # A name without a dot is one of a local network, or of a container.
        return "." not in name or name.rpartition(".")[2] in _PRIVATE_ENDINGS or name.endswith(f".{_GOOGLE}")
    return True
