# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on hosts in batches: which batch is next, and whether the work stops. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible.utils.helpers import pct_to_int


def batches_of(hosts: Sequence[str], sizes: Sequence[int | str]) -> list[list[str]]:
    """The hosts as the keyword `serial` divides them. The last size is that of all further batches."""
    rest = list(hosts)
    batches: list[list[str]] = []
    while rest:
        size = pct_to_int(sizes[min(len(batches), len(sizes) - 1)], len(hosts)) if sizes else 0
        size = size if size > 0 else len(rest)
        batches.append(rest[:size])
        rest = rest[size:]
    return batches


def number_of(host: str, batches: Sequence[Sequence[str]]) -> int:
    """The number of the host's batch, from 1. Raises ValueError if it is in none."""
    for number, batch in enumerate(batches, 1):
        if host in batch:
            return number
    raise ValueError(f"{host} is in no batch.")


def is_too_many(failed: int, of: int, most: float) -> bool:
    """Whether more than `most` percent have failed, or all."""
    return failed > 0 and (failed == of or 100 * failed > most * of)


def one_line(text: object, longest: int = 300) -> str:
    """A message of any length for a table."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def named(hosts: Sequence[str]) -> str:
    """Such as "2: web-1, web-2", and "none"."""
    return f"{len(hosts)}: {', '.join(hosts)}" if hosts else "none"
