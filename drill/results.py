# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of the drill as tables, and what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# The handlers of a run, as the tables name them.
WITHOUT, WITH = "without", "with"
UNLIMITED, LIMITED = "with, without a limit", "with a limit of 1"

# While all VMs are off, every client fails once a second, and a boot takes longer at one time than at another.
_BOOTS_VARY = 1.1

HEADER = ("Scenario", "Notice", "Handler", "Requests", "Failed", "Lost", "Slowest", "Out of service")


@dataclass(frozen=True)
class Result:
    """The counts of one run. `lost` are acknowledged writes that are gone, None for reads; times are in seconds.

    `out` is the longest time in which no request succeeded.
    """

    tier: str
    scenario: str
    notice: str
    handler: str
    requests: int
    failed: int
    lost: int | None
    slowest: float
    out: float
    reasons: Mapping[str, int] = field(default_factory=dict)
    # False if all VMs are off at the same time whatever the handlers do.
    takes_turns: bool = True
    # What the handlers did wrong.
    mistakes: Sequence[str] = ()

    @property
    def is_safe(self) -> bool:
        """Whether nothing may be lost. Handlers without a limit can drain all backends at once."""
        return self.handler == WITH or (self.handler == LIMITED and self.takes_turns)


def problems(results: Sequence[Result]) -> Iterator[str]:
    """A sentence for each reason for which the drill has failed."""
    without = {(one.tier, one.scenario): one.failed for one in results if one.handler == WITHOUT}
    for one in results:
        where = f"{one.tier}, {one.scenario}, handler {one.handler}"
        if not one.requests:
            yield f"{where}: nothing was measured."
        if one.is_safe and one.failed:
            why = "; ".join(f"{count} x {reason}" for reason, count in one.reasons.items())
            yield f"{where}: {one.failed} of {one.requests} requests failed: {why}."
        least = without.get((one.tier, one.scenario), 0)
        if one.handler == LIMITED and not one.takes_turns and one.failed > _BOOTS_VARY * least:
            yield f"{where}: {one.failed} requests failed, more than the {least} without the handler."
        if one.is_safe and one.lost:
            yield f"{where}: {one.lost} acknowledged writes are lost."
        yield from (f"{where}: {mistake}." for mistake in one.mistakes)


def terminal(tier: str, results: Iterable[Result]) -> str:
    """The table of a tier as aligned text."""
    rows = [HEADER, *(_cells(one) for one in results if one.tier == tier)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def restructured_text(tier: str, results: Iterable[Result]) -> str:
    """The table of a tier for the guide."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (HEADER, *(_cells(one) for one in results if one.tier == tier)):
        lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(row)]
    return "\n".join(lines)


def harmless(results: Sequence[Result]) -> list[str]:
    """The scenarios in which nothing fails without the handler either."""
    return [f"{one.tier}, {one.scenario}" for one in results if one.handler == WITHOUT and not (one.failed or one.lost)]


def _cells(one: Result) -> tuple[str, ...]:
    failed = str(one.failed)
    if one.handler == WITHOUT and not (one.failed or one.lost):
        failed = "0 (none without the handler either)"
    return (
        one.scenario,
        one.notice,
        one.handler,
        str(one.requests),
        failed,
        "-" if one.lost is None else str(one.lost),
        f"{one.slowest:.1f} s",
        f"{one.out:.1f} s",
    )
