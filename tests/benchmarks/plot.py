"""A plot of a run: for each workload a row, for each system a point at its CPU seconds as a multiple of the bound's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_COLOURS = {"sparklab": "#d9480f", "bound": "#495057", "pyspark": "#1971c2", "dask": "#2f9e44"}
_OTHERS = "#862e9c"
_LEFT, _RIGHT, _TOP, _ROW = 230, 30, 64, 26
_WIDTH = 900


@dataclass(frozen=True)
class Line:
    """One row of the plot: what is measured, and by system how many times the bound's cost."""

    title: str
    times_bound: dict[str, float]


def as_svg(lines: Sequence[Line], systems: Sequence[str], caption: str) -> str:
    """The plot as an SVG document; the axis is logarithmic and holds every point."""
    values = [value for line in lines for value in line.times_bound.values()]
    low = min([*values, 1.0]) / 1.2
    high = max([*values, 1.0]) * 1.2
    height = _TOP + _ROW * len(lines) + 40

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log(value / low) / math.log(high / low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        'font-size="12" role="img">',
        f"<title>{escape(caption)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-size="14">{escape(caption)}</text>',
    ]
    for i, system in enumerate(systems):
        at = _LEFT + 110 * i
        parts.append(_point(system, at, 42) + f'<text x="{at + 10}" y="46">{escape(system)}</text>')
    bottom = _TOP + _ROW * len(lines)
    for tick in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64):
        if low <= tick <= high:
            parts.append(
                f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP - 6}" y2="{bottom}" '
                f'stroke="{"#495057" if tick == 1 else "#dee2e6"}"/>'
                f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g} x</text>'
            )
    for i, line in enumerate(lines):
        y = _TOP + _ROW * i + _ROW / 2
        parts.append(f'<text x="{_LEFT - 14}" y="{y + 4:.1f}" text-anchor="end">{escape(line.title)}</text>')
        parts += [_point(system, x(value), y, f"{value:.2f} x") for system, value in line.times_bound.items()]
    return "\n".join([*parts, "</svg>", ""])


def _point(system: str, x: float, y: float, told: str = "") -> str:
    colour = _COLOURS.get(system, _OTHERS)
    title = f"<title>{escape(f'{system} {told}')}</title>" if told else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}" fill-opacity="0.85">{title}</circle>'
