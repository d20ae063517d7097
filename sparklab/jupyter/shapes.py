"""The states of a partition as SVG, in explicit colours: the static twin's share of the panel's visual language."""

from __future__ import annotations

from typing import Final

GROUND: Final = "#ffffff"
TEXT: Final = "#1a1a1a"
QUIET: Final = "#595959"
LINE: Final = "#bdbdbd"
EDGE: Final = "#333333"
THICK: Final = "#6b6b6b"
SOFT: Final = "#f5f5f5"
RUNNING: Final = "#56B4E9"
DONE: Final = "#0072B2"
HELD: Final = "#009E73"
LOST: Final = "#D55E00"
AGAIN: Final = "#E69F00"
WAITING: Final = "#757575"

NAMES: Final = {
    "w": "waiting",
    "r": "running",
    "d": "done",
    "m": "cached in memory",
    "k": "cached on disk",
    "M": "cached, two copies",
    "l": "lost",
    "a": "recomputed",
    "s": "skipped",
    "f": "failed",
    "n": "not run yet (lazy)",
}

# Where the picture beside it says that this is about caches.
SHORT: Final = {"m": "in memory", "k": "on disk", "M": "in two copies", "n": "not run yet"}

# What a crowded picture must not hide, first.
WORST: Final = "flarskmMdwn"

FILLS: Final = {
    "w": "#dcdcdc", "r": RUNNING, "d": DONE, "m": HELD, "k": HELD, "M": HELD, "l": LOST, "a": AGAIN, "s": "#dcdcdc",
    "f": TEXT, "n": "#dcdcdc",
}  # fmt: skip

STROKES: Final = (0.0, 2.5, 6.0, 9.0, 13.0)

PATTERNS: Final = (
    '<pattern id="run" width="5.2" height="5.2" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    f'<rect width="5.2" height="5.2" fill="{GROUND}"/><rect width="3" height="5.2" fill="{RUNNING}"/></pattern>'
    '<pattern id="disk" width="4" height="3.5" patternUnits="userSpaceOnUse">'
    f'<rect width="4" height="3.5" fill="{GROUND}"/><rect width="4" height="1.7" fill="{HELD}"/></pattern>'
)


def shape(state: str, size: float) -> str:
    """SVG of one partition in `state`, `size` px square, its corner at (0, 0)."""
    middle, side = size / 2, size - 1

    def box(fill: str, stroke: str, more: str = "") -> str:
        return f'<rect x=".5" y=".5" width="{side:g}" height="{side:g}" fill="{fill}" stroke="{stroke}"{more}/>'

    def dot(radius: float) -> str:
        return f'<circle cx="{middle:g}" cy="{middle:g}" r="{radius:g}" fill="{HELD}"/>'

    if state == "r":
        return box("url(#run)", EDGE)
    if state == "d":
        return box(DONE, DONE)
    if state == "m":
        return box(GROUND, HELD) + dot(round(size * 0.27, 2))
    if state == "k":
        return box("url(#disk)", HELD)
    if state == "M":
        inner = size - 6
        fill = HELD if size < 10 else "none"
        second = f'<rect x="3" y="3" width="{inner:g}" height="{inner:g}" fill="{fill}" stroke="{HELD}"/>'
        return box(GROUND, HELD) + second + (dot(round(size * 0.17, 2)) if size >= 10 else "")
    if state == "l":
        near, far = round(size * 0.24, 2), round(size * 0.76, 2)
        width = 1.6 if size < 10 else 2.4
        cross = f"M{near:g} {near:g}L{far:g} {far:g}M{far:g} {near:g}L{near:g} {far:g}"
        return box(GROUND, LOST) + f'<path d="{cross}" stroke="{LOST}" stroke-width="{width}"/>'
    if state == "a":
        scale, width = round(size / 12, 3), 1.7 if size < 14 else 1.4
        return box(AGAIN, EDGE) + (
            f'<g transform="scale({scale:g})" fill="none" stroke="#000" stroke-width="{width}">'
            '<path d="M8.9 4.1A3.5 3.5 0 1 0 9.4 7.2"/><path d="M9.5 1.3V4.6H6.2"/></g>'
        )
    if state == "s":
        return box("none", WAITING, ' stroke-dasharray="2 2"')
    if state == "f":
        left, width = round(middle - size * 0.075, 2), round(size * 0.15, 2)
        return box(TEXT, TEXT) + "".join(
            f'<rect x="{left:g}" y="{round(size * at, 2):g}" width="{width:g}" height="{round(size * high, 2):g}" '
            f'fill="{GROUND}"/>'
            for at, high in ((0.2, 0.38), (0.66, 0.15))
        )
    return box(GROUND, WAITING)


def tenths(value: float) -> str:
    """`value` as a picture writes it: as short as a tenth of a pixel allows."""
    return f"{round(value, 1):g}"
