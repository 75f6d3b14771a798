# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of the demo: animated on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .cases import CASES, Case
from .evidence import DRAIN, RESTORE, Evidence
from .scenes import Scene
from .timeline import HANDLER, PLATFORM, Row, rows
from .verdict import Figures, figures

# Columns, if the output is not a terminal. A line of a timeline fits.
WIDTH = 80
CELLS = 6
BAR = 16

_LEGEND = """\
acts after      from the announcement to the first line of the first task
drained in      from the announcement to the end of the last drain
notice left     from there to the event
restored after  from the end of the event, or the boot, to the last restore
requests lost   those to the VM, with the handler, by a balancer that it leaves,
                and without, by one that it stays in"""

_STYLES = {PLATFORM: "magenta", HANDLER: "bold", DRAIN: "yellow", RESTORE: "green"}


class Screen:
    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = WIDTH

    def heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def line(self, text: str) -> None:
        self._console.print(Text(f"  {text}"))

    @contextlib.contextmanager
    def busy(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show a long operation. Call the result to show its progress."""
        if not self._console.is_interactive:
            self.line(f"{text} …")
            yield lambda word: None
            return
        with self._console.status(f"{text} …") as status:
            yield lambda word: status.update(f"{text}\n  {word}")

    @contextlib.contextmanager
    def watching(self, notice: Mapping[str, float]) -> Iterator[Callable[[Mapping[str, Scene]], None]]:
        """Show the events. Call the result with the current scene of each VM."""
        if not self._console.is_interactive:
            yield _Lines(self).show
            return
        with Live(console=self._console, transient=True, refresh_per_second=10) as live:
            yield lambda scenes: live.update(_stage(scenes, notice, time.time()))

    def timeline(self, evidence: Evidence) -> None:
        case = evidence.case
        self.heading(f"{case.host}: {case.name}, {evidence.notice:g} s notice")
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("seconds", justify="right")
        table.add_column("notice left")
        table.add_column("who")
        table.add_column("what", overflow="fold")
        table.add_column("took", justify="right")
        for row in rows(evidence):
            table.add_row(*_cells(row, evidence.notice))
        self._console.print(Padding(table, (0, 0, 0, 2)))

    def table(self, evidences: Sequence[Evidence], problems: Mapping[str, Sequence[str]]) -> None:
        self._console.print()
        table = Table(header_style="bold", box=SIMPLE_HEAD, padding=0)
        for name in (
            "host",
            "event",
            "acts\nafter",
            "drained\nin",
            "notice\nleft",
            "restored\nafter",
            "requests lost\nwith, without",
            "result",
        ):
            table.add_column(name, justify="right" if "\n" in name else "left")
        for evidence in evidences:
            wrong = bool(problems[evidence.case.host])
            verdict = Text("failed", style="bold red") if wrong else Text("ok", style="bold green")
            table.add_row(
                evidence.case.host,
                evidence.case.name,
                *_figures(figures(evidence), evidence.notice),
                f"{evidence.lost_with}, {evidence.lost_without}",
                verdict,
            )
        self._console.print(table)
        self._console.print(Text(_LEGEND, style="dim"))

    def success(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="green"), soft_wrap=True)

    def problem(self, text: str) -> None:
        self._console.print(Text(text, style="red"), soft_wrap=True)


class _Lines:
    """Print a line for a VM whenever its activity changes."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._began = time.monotonic()
        self._last = {case.host: "in service" for case in CASES}

    def show(self, scenes: Mapping[str, Scene]) -> None:
        for host, scene in scenes.items():
            if self._last[host] != scene.text:
                self._last[host] = scene.text
                self._screen.line(f"{time.monotonic() - self._began:5.1f} s  {host:<7} {scene.text}")


def _stage(scenes: Mapping[str, Scene], notice: Mapping[str, float], now: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for case in CASES:
        scene = scenes[case.host]
        table.add_row(f"  {case.host:<7}", *_countdown(case, scene, notice[case.event], now), scene.text)
    return table


def _countdown(case: Case, scene: Scene, notice: float, now: float) -> tuple[ProgressBar | str, str]:
    if scene.ends_at is None:
        return " " * BAR, " " * len(" 0.0 s left")
    left = max(0.0, scene.ends_at - now)
    return ProgressBar(
        total=notice, completed=left, width=BAR, complete_style="cyan", finished_style="cyan"
    ), f"{left:4.1f} s left"


def _cells(row: Row, notice: float) -> tuple[Text | str, ...]:
    took = "" if row.seconds is None else f"{row.seconds:.2f} s"
    what = Text(row.what)
    if row.remark:
        what.append(f"  {row.remark}", style="bold red")
    return f"{row.at:.3f}", _gauge(row.left, notice), Text(row.who, style=_STYLES[row.who]), what, took


def _gauge(left: float | None, notice: float) -> Text:
    if left is None:
        return Text()
    full = round(CELLS * min(1.0, max(0.0, left) / notice))
    gauge = Text("━" * full, style="cyan")
    gauge.append("╌" * (CELLS - full), style="dim")
    return gauge.append(f" {left:4.1f} s", style="default")


def _figures(figures: Figures, notice: float) -> tuple[str, ...]:
    heard = "-" if figures.heard_after is None else f"{figures.heard_after * 1000:.0f} ms"
    left = "-" if figures.notice_left is None else f"{figures.notice_left:.1f}/{notice:g} s"
    return heard, _seconds(figures.drained_after), left, _seconds(figures.restored_after)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"
