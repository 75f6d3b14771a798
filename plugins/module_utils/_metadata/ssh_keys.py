# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH keys in custom metadata, line by line. Pure.

Private to the collection: it may change at any time. Standard library only.

A line is USER:KEY, and KEY is as in authorized_keys: options, type, key, comment. Keys expire by a comment, as gcloud
writes it: google-ssh {"userName":"alice@example.com","expireOn":"2026-11-27T10:00:00+0000"}.

https://cloud.google.com/compute/docs/connect/add-ssh-keys#metadata
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .custom import CustomMetadataError
from .text import as_bool

KEY = "ssh-keys"
# An instance with this key ignores the project's keys. https://cloud.google.com/compute/docs/metadata/
LEGACY_KEY = "sshKeys"
BOTH = (KEY, LEGACY_KEY)

_TYPES = (
    "ssh-rsa|ssh-dss|ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)"
    r"|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com|(?:ssh|ecdsa|sk)-[\w@.-]+-cert-v01@openssh\.com"
)
_KEY = re.compile(
    rf"(?P<options>(?:\S.*?[ \t]+)?)(?P<type>{_TYPES})[ \t]+(?P<blob>[A-Za-z0-9+/]+={{0,2}})(?:[ \t]+(?P<comment>.*))?"
)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}\$?")
_EXPIRY = "google-ssh"


@dataclass(frozen=True)
class SshKey:
    """A line, or a key without its user. Lines with the same `identity` have the same key, whatever their comments."""

    user: str
    type: str
    blob: str
    options: str = ""
    comment: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.user, self.type, self.blob

    @property
    def line(self) -> str:
        return f"{self.user}:{self.options}{self.type} {self.blob} {self.comment}".rstrip()

    def is_covered_by(self, other: SshKey) -> bool:
        """Whether another line of this key has the same options and comment, where this one has any."""
        return self.options in ("", other.options) and self.comment in ("", other.comment)


@dataclass(frozen=True)
class Wanted:
    """The keys to be present, and the keys and users to be absent."""

    present: tuple[SshKey, ...] = ()
    absent: tuple[SshKey, ...] = ()
    absent_users: frozenset[str] = frozenset()

    def refuses(self, line: str) -> bool:
        """Whether to remove a line. A key in present stays, even if its user is in absent."""
        key = parsed(line)
        if key is not None and any(key.identity == each.identity for each in self.present):
            return False
        if line.strip().partition(":")[0] in self.absent_users and ":" in line:
            return True
        return key is not None and any(
            (key.type, key.blob) == (each.type, each.blob) and each.user in ("", key.user) for each in self.absent
        )


def parsed(line: str) -> SshKey | None:
    """The key of a line of the metadata, or None if it has none."""
    user, colon, rest = line.strip().partition(":")
    match = _KEY.fullmatch(rest) if colon and user and not re.search(r"\s", user) else None
    return _key(user, match) if match else None


def wanted(present: Iterable[str], absent: Iterable[str]) -> Wanted:
    """The options, parsed. Raises CustomMetadataError for an invalid line, without repeating the line."""
    keys = tuple(dict.fromkeys(_checked(line, where) for where, line in _lines(present, "present")))
    users, gone = set(), []
    for where, line in _lines(absent, "absent"):
        if _USER.fullmatch(line):
            users.add(line)
        else:
            gone.append(_checked(line, where, needs_user=False))
    for key in gone:
        if any(key.identity == each.identity for each in keys):
            raise CustomMetadataError(f"ssh_keys: {described(key.line)} is in both present and absent.")
    return Wanted(keys, tuple(gone), frozenset(users))


def applied(values: Mapping[str, str], keys: Wanted) -> dict[str, str]:
    """Custom metadata with these SSH keys. Other lines are unchanged; metadata without any line is removed."""
    rows = {name: values[name].split("\n") for name in BOTH if name in values}
    for name, lines in rows.items():
        rows[name] = [line for line in lines if not keys.refuses(line)]
    for key in keys.present:
        _add(rows, key)
    result = dict(values)
    for name, lines in rows.items():
        if lines == values.get(name, "").split("\n") and name in values:
            continue
        if any(line.strip() for line in lines):
            result[name] = "\n".join(lines)
        else:
            result.pop(name, None)
    return result


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Descriptions of the lines that were added and removed."""
    old, new = ([line.strip() for name in BOTH for line in side.get(name, "").split("\n")] for side in (before, after))
    return (
        [described(line) for line in new if line and line not in old],
        [described(line) for line in old if line and line not in new],
    )


def described(line: str) -> str:
    """A line's user, type, fingerprint and expiry, without its comment."""
    key = parsed(line)
    if key is None:
        return "a line without a valid key"
    try:
        digest = hashlib.sha256(base64.b64decode(key.blob, validate=True)).digest()
        fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    except (binascii.Error, ValueError):
        fingerprint = "with invalid base64"
    until = _expiry(key.comment)
    return f"{key.user} {key.type} {fingerprint}" + (f" until {until}" if until else "")


def ignored(layers: Mapping[str, Mapping[str, str]], scope: str) -> str | None:
    """Why an instance ignores the SSH keys of a scope; None if it does not.

    `layers` are the metadata of the instance, the zone and the project, the nearest first.
    """

    def value(key: str) -> str | None:
        return next((values[key] for values in layers.values() if key in values), None)

    if as_bool(value("enable-oslogin")):
        return "enable-oslogin is TRUE, so that SSH keys in metadata are ignored"
    if scope == "instance":
        return None
    own = layers.get("instance", {})
    if as_bool(value("block-project-ssh-keys")):
        return "block-project-ssh-keys is TRUE"
    if own.get(LEGACY_KEY, "").strip():
        return f"it has keys of its own in {LEGACY_KEY}, instead of the project's"
    return None


def _add(rows: dict[str, list[str]], key: SshKey) -> None:
    """Add a line for this key, in place of other lines for it."""
    same = [
        (name, number, found)
        for name, lines in rows.items()
        for number, line in enumerate(lines)
        if (found := parsed(line)) is not None and found.identity == key.identity
    ]
    if any(key.is_covered_by(found) for _name, _number, found in same):
        return
    if same:
        name, number, _found = same[0]
        rows[name][number] = key.line
        return
    lines = rows.setdefault(KEY, [])
    # Before the last line's end, if it has one.
    lines.insert(len(lines) - (bool(lines) and not lines[-1].strip()), key.line)


def _lines(entries: Iterable[str], option: str) -> list[tuple[str, str]]:
    """The lines of an option, whose entries may have several, each with its place."""
    return [
        (f"entry {number} of ssh_keys.{option}", line.strip())
        for number, entry in enumerate(entries, start=1)
        for line in entry.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]


def _checked(line: str, where: str, *, needs_user: bool = True) -> SshKey:
    if "PRIVATE KEY" in line:
        raise CustomMetadataError(f"{where} is a private key. Write the public key, as USER:KEY.")
    bare = _KEY.fullmatch(line)
    if bare and ":" not in bare["options"]:
        if needs_user:
            raise CustomMetadataError(
                f"{where} is a key without its user. Write USER:KEY, such as alice:{bare['type']} ..."
            )
        return _key("", bare)
    user, colon, rest = line.partition(":")
    if not colon:
        raise CustomMetadataError(f"{where} is not an SSH key. Write USER:KEY, such as alice:ssh-ed25519 AAAA...")
    if not _USER.fullmatch(user):
        raise CustomMetadataError(
            f"{where} has no valid Linux user name before its first colon. Write USER:KEY, such as "
            "alice:ssh-ed25519 AAAA..."
        )
    match = _KEY.fullmatch(rest.strip())
    if not match:
        raise CustomMetadataError(
            f"{where}, for {user}, is not a public SSH key: after the user comes a type, such as "
            "ssh-ed25519, and then the key in base64."
        )
    key = _key(user, match)
    if _EXPIRY in key.comment.split() and _expiry(key.comment) is None:
        raise CustomMetadataError(
            f"{where}, for {user}, has no valid expiry: after {_EXPIRY} comes "
            '{"userName":"...","expireOn":"2026-12-31T23:59:59+0000"}.'
        )
    return key


def _key(user: str, match: re.Match[str]) -> SshKey:
    return SshKey(user, match["type"], match["blob"], match["options"], (match["comment"] or "").strip())


def _expiry(comment: str) -> str | None:
    _before, found, document = comment.partition(_EXPIRY)
    if not found:
        return None
    try:
        until = json.loads(document)["expireOn"]
    except (ValueError, KeyError, TypeError):
        return None
    return until if isinstance(until, str) and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", until) else None


def names_them(keys: Collection[str]) -> bool:
    """Whether metadata sets the keys with SSH keys as a whole."""
    return any(name in keys for name in BOTH)
