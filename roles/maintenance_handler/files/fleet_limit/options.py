# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a limit, and the rules that they must satisfy. Pure: files are read later, by those who use them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from client.errors import Refusal
from maintenance_handler._vm.web_url import is_web_url

ETCD = "etcd"
CONSUL = "consul"
FLEETLOCK = "fleetlock"

_LONGEST = 200


@dataclass(frozen=True)
class Option:
    """`is_valid` decides on a value; `rule` completes the sentence "NAME must be …"."""

    is_valid: Callable[[Any], bool]
    rule: str
    required: bool = False
    default: Any = None


def validated(limit: Any) -> dict[str, Any]:
    """The options with their defaults. Raises `Refusal` with all problems, one sentence each."""
    found = problems(limit)
    if found:
        raise Refusal("; ".join(found))
    return {name: limit.get(name, option.default) for name, option in OPTIONS[limit["backend"]].items()}


def problems(limit: Any) -> list[str]:
    """What is wrong with the options, one sentence each."""
    if not isinstance(limit, dict):
        return ["limit must be an object with the options of a backend"]
    backend = limit.get("backend")
    if not isinstance(backend, str) or backend not in OPTIONS:
        return [f"backend must be one of {', '.join(OPTIONS)}{_instead(backend)}"]
    options = OPTIONS[backend]
    found = [
        _unknown(name, backend, options) for name, value in limit.items() if name not in options and value is not None
    ]
    for name, option in options.items():
        if limit.get(name) is None:
            if option.required:
                found.append(f"{name} is missing: it must be {option.rule}")
        elif not option.is_valid(limit[name]):
            found.append(f"{name} must be {option.rule}{_instead(limit[name])}")
    return found or _conflicts(limit)


def urls(limit: Mapping[str, Any]) -> list[str]:
    """The URLs of the store, in the order in which to try them."""
    if limit["backend"] == ETCD:
        return list(limit["endpoints"])
    return [limit["address"] if limit["backend"] == CONSUL else limit["url"]]


def _unknown(name: str, backend: str, options: Mapping[str, Option]) -> str:
    if backend == FLEETLOCK and name == "slots":
        return "slots must not be given for fleetlock: its server has the number for each group"
    close = difflib.get_close_matches(str(name), options, 1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(options)}"
    return f"{backend} has no option {str(name)[:_LONGEST]!r}; {hint}"


def _instead(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value)
    # The user information of a URL may be a password.
    return "" if "@" in text else f", not {text[:_LONGEST]}"


def _conflicts(limit: Mapping[str, Any]) -> list[str]:
    """Problems of several options together, each of which is valid."""
    found = []
    for one, other in (("client_cert", "client_key"), ("username", "password_file")):
        if (limit.get(one) is None) != (limit.get(other) is None):
            found.append(f"{one} and {other} must be given together")
    if not any(url.startswith("https://") for url in urls(limit)):
        given = [name for name in ("ca_file", "client_cert") if limit.get(name) is not None]
        found.extend(f"{name} is for https, and no URL begins with https://" for name in given)
    return found


def _is_url(value: Any) -> bool:
    return is_web_url(value) and "?" not in value and "#" not in value


def _is_url_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_url, value)) and len(set(value)) == len(value)


def _is_number(lowest: int, highest: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_text(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


_URL = "a URL with http or https, without user, query and fragment"
_FILE = Option(_is_text(r"/[^\n\0]+"), "the absolute path of a file")
_NAME = "a letter or digit, and then up to 99 letters, digits, and any of"
_PREFIX = r"/?[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?"
_BACKEND = Option(lambda value: True, "")


def _semaphore(lowest_ttl: int, prefix: str) -> dict[str, Option]:
    group = Option(_is_text("[A-Za-z0-9][A-Za-z0-9._-]{0,99}"), _NAME + " . _ -", required=True)
    return {
        "backend": _BACKEND,
        "group": group,
        "slots": Option(_is_number(1, 1000), "a whole number from 1 to 1000", required=True),
        "ttl": Option(
            _is_number(lowest_ttl, 86400), f"a whole number of seconds from {lowest_ttl} to 86400", default=600
        ),
        "prefix": Option(_is_text(_PREFIX), "names of letters, digits and . _ -, separated by /", default=prefix),
        "ca_file": _FILE,
    }


OPTIONS: dict[str, dict[str, Option]] = {
    ETCD: {
        # etcd itself raises a TTL that is shorter than its election takes.
        **_semaphore(2, "/gce.guest/limit"),
        "endpoints": Option(_is_url_list, f"a list of different URLs, each {_URL}", required=True),
        "client_cert": _FILE,
        "client_key": _FILE,
        "username": Option(_is_text(r"[^\n\0]{1,100}"), "the name of a user"),
        "password_file": _FILE,
    },
    CONSUL: {
        # https://developer.hashicorp.com/consul/api-docs/session#ttl
        **_semaphore(10, "gce.guest/limit"),
        "address": Option(_is_url, _URL, required=True),
        "token_file": _FILE,
        "datacenter": Option(_is_text("[A-Za-z0-9_-]{1,100}"), "the name of a datacenter"),
    },
    FLEETLOCK: {
        "backend": _BACKEND,
        # https://coreos.github.io/zincati/development/fleetlock/protocol
        "group": Option(_is_text("[A-Za-z0-9][A-Za-z0-9.-]{0,99}"), _NAME + " . -", required=True),
        "url": Option(_is_url, _URL, required=True),
        "ca_file": _FILE,
    },
}
