# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run SQL with psql, and commands on PgBouncer's console."""

from __future__ import annotations

import re

from recipes.commands import output
from recipes.run import Refusal

# In `password=x`, and in `postgresql://user:x@host`.
_PASSWORD = re.compile(r"\bpassword\s*=|://[^/@]*:[^/@]+@")


def query(target: str, statement: str, timeout: float, *, connections: int = 1) -> str:
    """The result of a statement, its columns separated by `|`, one after the other for several connections.

    Raises `commands.Failed`, or `Refusal` without psql.
    """
    if _PASSWORD.search(target):
        raise Refusal("a password in a connection string is visible to all users of the VM: put it into ~/.pgpass")
    command = [
        "psql",
        "-XAtqw",
        "-d",
        target,
        "-c",
        statement,
        *(["-c", r"\connect", "-c", statement] * (connections - 1)),
    ]
    return output(command, timeout=max(0.1, timeout), environ={"PGCONNECT_TIMEOUT": "3"}).strip()
