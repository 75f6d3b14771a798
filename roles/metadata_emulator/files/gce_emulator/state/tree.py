# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata tree and its forms: listings, text, JSON in camel case, etags. Pure; without HTTP."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Union

from .upcoming import UpcomingMaintenance

# Names of a directory's entries in JSON: the platform's own keys become camel case, users' names stay, and numbered
# entries become an array.
FIXED, VERBATIM, NUMBERED = "fixed", "verbatim", "numbered"

# The body of the 503 for `upcoming-maintenance` before the first notification.
NO_NOTIFICATIONS = '{ "error": "no notifications have been received yet, try again later" }'


@dataclasses.dataclass(frozen=True)
class NothingYet:
    """The value of `upcoming-maintenance` before the first notification; left out of recursive output."""


@dataclasses.dataclass(frozen=True)
class Announcement:
    """The value of `upcoming-maintenance` while a window is announced, in one of `upcoming.STYLES`."""

    window: UpcomingMaintenance
    style: str


@dataclasses.dataclass(frozen=True)
class Computed:
    """A value that is computed for each request (`token`, `identity`); left out of recursive output."""

    name: str


Value = Union[str, int, list[str], dict[str, Any], Announcement, NothingYet, Computed]


@dataclasses.dataclass
class Leaf:
    value: Value
    json_by_default: bool = False


@dataclasses.dataclass
class Directory:
    entries: dict[str, Node] = dataclasses.field(default_factory=dict)
    keys: str = FIXED


Node = Union[Leaf, Directory]


@dataclasses.dataclass(frozen=True)
class Rendered:
    body: bytes
    content_type: str
    etag: str


_encode_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class NotAllowed(Exception):
    """The node is a directory and not a leaf, or the other way round."""


def find(root: Directory, path: str) -> Node | None:
    """The node at `instance/disks/0`, or None; an empty path is the root."""
    node: Node = root
    for name in split(path):
        if not isinstance(node, Directory) or name not in node.entries:
            return None
        node = node.entries[name]
    return node


def split(path: str) -> list[str]:
    """Repeated slashes count as one, as on the real server."""
    return [name for name in path.split("/") if name]


def write(root: Directory, path: str, value: Value) -> None:
    """Set a leaf, creating directories; it keeps its default format. Raises NotAllowed."""
    *above, last = split(path)
    parent: Node = root
    for name in above:
        if not isinstance(parent, Directory):
            break
        keys = FIXED if parent.keys == FIXED else VERBATIM
        parent = parent.entries.setdefault(name, Directory(keys=keys))
    if not isinstance(parent, Directory):
        raise NotAllowed("a part of the path is a value, not a directory")
    old = parent.entries.get(last)
    if isinstance(old, Directory):
        raise NotAllowed("is a directory: set the values in it")
    parent.entries[last] = Leaf(value, old is not None and old.json_by_default)


def remove(root: Directory, path: str) -> bool:
    """Remove a leaf or a directory; False without one, and for the top directories, which stay."""
    *above, last = split(path) or [""]
    parent = find(root, "/".join(above))
    if not above or not isinstance(parent, Directory) or last not in parent.entries:
        return False
    del parent.entries[last]
    return True


def render(node: Node, path: str, *, recursive: bool = False, alt: str | None = None) -> Rendered:
    """The answer to a request for `node`. The etag depends on path and content, not on the format."""
    if isinstance(node, Leaf):
        return _render_leaf(node, path, alt)
    if not recursive:
        if alt is not None:
            raise NotAllowed("alt needs recursive=true on a directory")
        text = listing(node)
        return Rendered(text.encode(), "application/text", etag_of(path, "listing", text))
    content = to_json(dump(node))
    etag = etag_of(path, "tree", content)
    if alt == "text":
        body = "".join(f"{line}\n" for line in _text_lines(node, ""))
        return Rendered(_encode(body), "application/text", etag)
    return Rendered(_encode(content), "application/json", etag)


def listing(directory: Directory) -> str:
    """One entry a line, directories with a slash."""
    return "".join(
        f"{name}/\n" if isinstance(entry, Directory) else f"{name}\n" for name, entry in _sorted_entries(directory)
    )


def dump(node: Node) -> Any:
    """A subtree as JSON content."""
    if isinstance(node, Leaf):
        return _leaf_in_tree(node.value)
    shown = [(name, dump(entry)) for name, entry in _sorted_entries(node) if not _is_hidden(entry)]
    if node.keys == NUMBERED:
        return [content for _unused, content in shown]
    if node.keys == FIXED:
        return {camel_case(name): content for name, content in shown}
    return dict(shown)


@functools.lru_cache(maxsize=1024)
def camel_case(name: str) -> str:
    """`networkInterfaces` for `network-interfaces`; other names, such as e-mail addresses, stay."""
    if "@" in name or "." in name:
        return name
    first, *others = name.split("-")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def to_json(content: Any) -> str:
    """Compact and sorted JSON, as on the wire."""
    return _encode_json(content)


def etag_of(path: str, kind: str, content: Any) -> str:
    """A 64-bit hash of the content in lower-case hex, not padded, as real etags look."""
    digest = hashlib.blake2b(_encode(to_json([path, kind, content])), digest_size=8).digest()
    return format(int.from_bytes(digest, "big"), "x")


def _render_leaf(leaf: Leaf, path: str, alt: str | None) -> Rendered:
    as_json = leaf.json_by_default if alt is None else alt == "json"
    value = leaf.value
    etag = etag_of(path, "leaf", _leaf_in_tree(value))
    if isinstance(value, Announcement) and value.style != "snake":
        as_json = True
    if as_json:
        return Rendered(_encode(_leaf_json(value)), "application/json", etag)
    return Rendered(_encode(_leaf_text(value)), "application/text", etag)


def _leaf_json(value: Value) -> str:
    if isinstance(value, Announcement):
        # In the documented order.
        return json.dumps(value.window.to_json(value.style), ensure_ascii=False)
    if value == {}:
        return "{ }"
    return to_json(value)


def _leaf_text(value: Value) -> str:
    if isinstance(value, Announcement):
        return value.window.to_text()
    if isinstance(value, list):
        return "".join(f"{item}\n" for item in value)
    if isinstance(value, dict):
        return _leaf_json(value)
    return str(value)


def _leaf_in_tree(value: Value) -> Any:
    return value.window.to_api() if isinstance(value, Announcement) else value


def _is_hidden(node: Node) -> bool:
    return isinstance(node, Leaf) and isinstance(node.value, (Computed, NothingYet))


def _text_lines(node: Node, prefix: str) -> Iterator[str]:
    if isinstance(node, Directory):
        for name, entry in _sorted_entries(node):
            if not _is_hidden(entry):
                yield from _text_lines(entry, f"{prefix}/{name}" if prefix else name)
    elif isinstance(node.value, list):
        for item in node.value:
            yield f"{prefix} {item}"
    elif isinstance(node.value, Announcement):
        for line in node.value.window.to_text().splitlines():
            yield f"{prefix}/{line}"
    else:
        yield f"{prefix} {_leaf_text(node.value)}"


def _sorted_entries(directory: Directory) -> list[tuple[str, Node]]:
    if directory.keys == NUMBERED:
        return sorted(directory.entries.items(), key=lambda entry: int(entry[0]))
    return sorted(directory.entries.items())


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def directory(entries: Mapping[str, Value | Node], keys: str = FIXED) -> Directory:
    """A directory from plain values and nodes."""
    return Directory(
        {name: entry if isinstance(entry, (Leaf, Directory)) else Leaf(entry) for name, entry in entries.items()}, keys
    )


def numbered(nodes: list[Directory]) -> Directory:
    return Directory({str(number): node for number, node in enumerate(nodes)}, NUMBERED)
