# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a task runs as, out of a user database that may be far away."""

from __future__ import annotations

import os
import pwd
import subprocess

from .._vm.records import dataclass


@dataclass(frozen=True)
class Account:
    """A user, as a process needs it. `groups` are None for the user that we are, whose groups we have."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    groups: tuple[int, ...] | None = None


class NoAccount(Exception):
    """A user cannot be looked up. As text, the reason."""


def look_up(user: str, within: float) -> Account:
    """The user of that name. May take as long as the user database does, and for the groups so many seconds.

    Raises `NoAccount`, or OSError where no process can be made.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise NoAccount(f"there is no user {user!r} here") from None
    groups = None if os.geteuid() == entry.pw_uid else _groups(user, within)
    return Account(user, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell, groups)


def _groups(user: str, within: float) -> tuple[int, ...]:
    # Not by os.getgrouplist, which stops all threads of Python until the user database answers.
    try:
        asked = subprocess.run(
            ["id", "-G", "--", user], stdin=subprocess.DEVNULL, capture_output=True, timeout=within, check=False
        )
        return tuple(map(int, asked.stdout.split()))
    except (ValueError, subprocess.SubprocessError) as exc:
        raise NoAccount(f"the groups of the user {user!r} cannot be looked up: {exc}") from None
