# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root's commands run as the handler's user.

A dedicated user of the handler owns its configuration and state. Root must not run what that user configured, and files
that root writes could not be read by the handler.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from pathlib import Path


class NotOurs(Exception):
    """Root must not act on these files. The text says who owns them."""


def become_owner(paths: Iterable[Path]) -> None:
    """Switch to the one user other than root who owns any of these paths. Missing paths are ignored.

    Does nothing unless called by root. Raises `NotOurs` and OSError.
    """
    if os.geteuid() != 0:
        return
    owners = {uid: path for path in paths for uid in _owners(path) if uid != 0}
    if len(owners) > 1:
        whose = ", ".join(f"{path} belongs to {_name(uid)}" for uid, path in owners.items())
        raise NotOurs(f"refusing to act as root on files of several users: {whose}")
    for uid in owners:
        _become(uid)


def _owners(path: Path) -> set[int]:
    try:
        # The owners of a link and of its target.
        return {os.lstat(path).st_uid, os.stat(path).st_uid}
    except OSError:
        return set()


def _become(uid: int) -> None:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise NotOurs(f"refusing to act as root on files of user {uid}, whom this machine does not know") from None
    os.setgroups(os.getgrouplist(entry.pw_name, entry.pw_gid))
    os.setgid(entry.pw_gid)
    os.setuid(uid)
    os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name, SHELL=entry.pw_shell)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
