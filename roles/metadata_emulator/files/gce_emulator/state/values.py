# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that are set by hand, and attributes as plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from . import custom_metadata, guest_attributes, tree


class BadValue(Exception):
    """A value or path that cannot be set; str() is a sentence."""


class Settable(Protocol):
    """An instance or a project."""

    def set(self, path: str, value: Any) -> None:
        """Set a leaf."""

    def remove(self, path: str) -> bool:
        """Remove a leaf."""


def write(root: tree.Directory, path: str, value: Any) -> None:
    """Set a leaf below `instance/` or `project/`. Raises BadValue."""
    if not path.startswith(("instance/", "project/")):
        raise BadValue(f"{path}: a path starts with instance/ or project/")
    _check_names(path, value)
    try:
        tree.write(root, path, _checked(path, value))
    except tree.NotAllowed as error:
        raise BadValue(f"{path}: {error}") from None


def attributes_at(node: tree.Node | None) -> dict[str, str]:
    """The leaves of a directory; empty for anything else."""
    entries = node.entries if isinstance(node, tree.Directory) else {}
    return {name: str(entry.value) for name, entry in entries.items() if isinstance(entry, tree.Leaf)}


def replace_attributes(owner: Settable, directory: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Change the leaves of a directory from `old` to `new`. All of `new` is written, which wakes waiters."""
    for key in old.keys() - new.keys():
        owner.remove(f"{directory}/{key}")
    for key, value in new.items():
        owner.set(f"{directory}/{key}", value)


def _check_names(path: str, value: Any) -> None:
    """Refuse names and sizes that no real VM can have, because the API or the metadata server refuses them."""
    _scope, kind, *names = path.split("/")
    if kind not in ("attributes", "guest-attributes"):
        return
    if kind == "attributes":
        problem, limit = custom_metadata.key_problem("/".join(names)), custom_metadata.LARGEST_VALUE
    else:
        problem, limit = guest_attributes.name_problem(names), guest_attributes.VALUE_LIMIT
    if problem is not None:
        raise BadValue(f"{path}: {problem}")
    if not isinstance(value, (str, bool)):
        raise BadValue(f"{path}: {value!r} is not a string")
    size = len(str(value).encode("utf-8", "surrogateescape"))
    if size > limit:
        raise BadValue(f"{path}: the value has {size} bytes; the limit is {limit}")


def _checked(path: str, value: Any) -> tree.Value:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise BadValue(f"{path}: {value!r} is not a string, a whole number or a list of strings")
