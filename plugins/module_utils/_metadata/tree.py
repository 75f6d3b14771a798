# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server's tree: its directories, and the types of its own values. Pure.

Private to the collection: it may change at any time. Standard library only.

Paths are below /computeMetadata/v1/. A tree is the answer to a path with ``recursive=true``: the server's own keys are
in camel case, keys chosen by users are unchanged.
"""

from __future__ import annotations

import re
from typing import Any

# A directory without its slash is redirected, which costs a second request and does not work for a hanging GET.
# Compiled on first use; the whole tree does not need it.
_DIRECTORY = r"""
    | oslogin (/authenticate (/sessions)? )?
    | universe
    | project (/attributes)?
    | instance
    | instance/ (attributes | credentials | gce-workload-certificates | partner-attributes | scheduling
                | shutdown-details | virtual-clock)
    | instance/ (disks | licenses) (/[0-9]+)?
    | instance/ (guest-attributes | service-accounts) (/[^/]+)?
    | instance/network-interfaces (/[0-9]+ (/ (access-configs (/[0-9]+)? | forwarded-ip(v6)?s | ip-aliases))?)?
"""

# Directories whose keys and values users choose, in both spellings.
_CHOSEN_BY_USERS = {
    "instance": ("attributes", "guest-attributes", "guestAttributes", "partner-attributes", "partnerAttributes"),
    "project": ("attributes",),
}
# What the client decodes bytes to that are not UTF-8, one for each.
# Compiled on first use.
_NOT_UNICODE = "[\ud800-\udfff]"
_FREE_TEXT = ("instance", "description")
_BOOLEANS = {"TRUE": True, "FALSE": False}


def is_directory(path: str) -> bool:
    """Whether a path is a directory: the root, with a trailing slash, or with a well-known name."""
    return not path or path.endswith("/") or re.fullmatch(_DIRECTORY, path, re.VERBOSE) is not None


def canonical(path: str) -> str:
    """The path to request: with a trailing slash if it is known to be a directory."""
    return f"{path}/" if path and is_directory(path) and not path.endswith("/") else path


def split(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


def is_chosen_by_users(trail: tuple[str, ...]) -> bool:
    """Whether a place, given by the names that lead to it, is in custom metadata or guest attributes."""
    return len(trail) > 2 and trail[1] in _CHOSEN_BY_USERS.get(trail[0], ())


def typed(tree: Any, path: str = "") -> Any:
    """The tree at a path with the server's own TRUE and FALSE as booleans. Values of users are unchanged."""
    return _typed(tree, split(path))


def as_unicode(tree: Any) -> Any:
    """The tree with U+FFFD for bytes that are not UTF-8, which only guest attributes have, and Ansible rejects."""
    if isinstance(tree, dict):
        return {as_unicode(key): as_unicode(below) for key, below in tree.items()}
    if isinstance(tree, list):
        return [as_unicode(below) for below in tree]
    if isinstance(tree, str) and not _is_unicode(tree):
        return re.sub(_NOT_UNICODE, "\N{REPLACEMENT CHARACTER}", tree)
    return tree


def contains(tree: Any, trail: tuple[str, ...]) -> bool:
    """Whether a tree has the place that the names of a path lead to; they may be in camel case in the tree."""
    for name in trail:
        if isinstance(tree, list):
            tree = dict(zip(map(str, range(len(tree))), tree))
        if not isinstance(tree, dict):
            return False
        if name not in tree:
            name = _camel_case(name)
        if name not in tree:
            return False
        tree = tree[name]
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _camel_case(name: str) -> str:
    first, *others = name.split("-")
    return first + "".join(other.capitalize() for other in others)


def _typed(value: Any, trail: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _typed(below, (*trail, key)) for key, below in value.items()}
    if isinstance(value, list):
        return [_typed(below, (*trail, "")) for below in value]
    if isinstance(value, str) and not is_chosen_by_users(trail) and trail != _FREE_TEXT:
        return _BOOLEANS.get(value, value)
    return value
