# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user that a task runs as, from a user database that may be slow."""

from __future__ import annotations

import os
import pwd
import subprocess

from .._vm.records import dataclass


@dataclass(frozen=True)
class Account:
    """A user. `groups` is None for the handler's own user, whose groups a process inherits."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    groups: tuple[int, ...] | None = None


class NoAccount(Exception):
    """A user cannot be looked up. The text is the reason."""


def look_up(user: str, within: float) -> Account:
    """The user of that name. The user database may block; the groups are looked up `within` seconds.

    Raises `NoAccount`, or OSError where no process can be made.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise NoAccount(f"there is no user {user!r} here") from None
    groups = None if os.geteuid() == entry.pw_uid else _groups(user, within)
    return Account(user, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell, groups)


def name_of(uid: int, within: float) -> str:
    """The name of a user, or its number if the user database does not tell `within` seconds."""
    try:
        # Not by `pwd`, which cannot be given up.
        asked = subprocess.run(
            ["id", "-un", "--", f"+{uid}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=within, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return f"user {uid}"
    return asked.stdout.decode(errors="replace").strip() or f"user {uid}"


def _groups(user: str, within: float) -> tuple[int, ...]:
    # os.getgrouplist would block all threads until the user database answers.
    try:
        asked = subprocess.run(
            ["id", "-G", "--", user], stdin=subprocess.DEVNULL, capture_output=True, timeout=within, check=False
        )
        return tuple(map(int, asked.stdout.split()))
    except (ValueError, subprocess.SubprocessError) as exc:
        raise NoAccount(f"the groups of the user {user!r} cannot be looked up: {exc}") from None
