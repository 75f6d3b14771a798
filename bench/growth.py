# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plot of times by the number of instances, as SVG. Both axes are logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 800, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 280, 20, 50
# Readable on light and on dark ground.
COLORS = ("#2b7de0", "#d9622b", "#2f9461", "#a45bd1", "#c2549b", "#8a8f98")
# Pixels between the names of two lines at least.
APART = 16

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b2430; }
.grid { stroke: #8a8f98; stroke-opacity: .3; }
.line { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) { text { fill: #e4e9ef; } }
"""

Points = Sequence[tuple[int, float]]


def plot(lines: Mapping[str, Points], caption: str) -> str:
    """The document. Each line is a sequence of instances and seconds, both above 0."""
    axis_x, axis_y = (
        _decades([x for points in lines.values() for x, _y in points]),
        _decades([y for points in lines.values() for _x, y in points]),
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>Seconds by the number of instances</title><desc>{escape(caption)}</desc><style>{STYLE}</style>",
        *_grid(axis_x, axis_y),
    ]
    heights = _apart([_y(points[-1][1], axis_y) for points in lines.values()])
    for (name, points), color, height in zip(lines.items(), COLORS, heights, strict=False):
        places = [(_x(x, axis_x), _y(y, axis_y)) for x, y in points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line" stroke="{color}" points="{joined}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        end = WIDTH - RIGHT + 12
        parts.append(
            f'<path d="M{places[-1][0] + 4:.1f} {places[-1][1]:.1f}L{end - 2} {height:.1f}" stroke="{color}"/>'
        )
        parts.append(f'<text x="{end}" y="{height + 4:.1f}">{escape(name)}, {points[-1][1]:.3g} s</text>')
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _x(value: float, axis: tuple[int, int]) -> float:
    return LEFT + (math.log10(value) - axis[0]) / (axis[1] - axis[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, axis: tuple[int, int]) -> float:
    return HEIGHT - BOTTOM - (math.log10(value) - axis[0]) / (axis[1] - axis[0]) * (HEIGHT - TOP - BOTTOM)


def _grid(axis_x: tuple[int, int], axis_y: tuple[int, int]) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for power in range(axis_x[0], axis_x[1] + 1):
        x = _x(10.0**power, axis_x)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(axis_y[0], axis_y[1] + 1):
        y = _y(10.0**power, axis_y)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 10}" text-anchor="middle">instances</text>')
    return parts


def _apart(heights: Sequence[float]) -> list[float]:
    """The heights of the names, in the order of the lines, moved down where they would overlap."""
    result = list(heights)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    for before, after in pairwise(order):
        result[after] = max(result[after], result[before] + APART)
    return result
