"""Training on a static card: loss curves, the ring of servers and the filters' bytes, without a pointer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sparklab.jupyter import shapes
from sparklab.jupyter.shapes import tenths as _n
from sparklab.jupyter.twin_timeline import Canvas
from sparklab.quantities import size_text

RADIUS: Final = 44.0
SERVERS_MAX: Final = 5
_DASHES: Final = ("1 0", "6 3", "2 3", "8 3 2 3", "1 3", "12 4")
# A colour and a pattern for each server, as in the live view: grey print tells them apart.
_INKS: Final = (
    (shapes.FILLS["d"], ""), (shapes.FILLS["a"], "M0 6L6 0"), ("#56B4E9", "M0 3H6"), ("#009E73", "M2 3h2"),
    (shapes.THICK, "M3 0V6"), ("#dcdcdc", "M0 6L6 0M0 0L6 6"),
)  # fmt: skip


def draw_training(canvas: Canvas, training: Mapping[str, Any], left: float, top: float, room: float) -> float:
    """`training` stands from `left` and `top` on, `room` px wide: loss, servers, filters; returns where it ends."""
    y = _losses(canvas, training, left, top, room)
    front = training["front"]
    ends = [y]
    half = room / 2 - 8
    if front["ring"] is not None:
        ends.append(_ring(canvas, front["ring"], left, y, half if front["filters"] else room))
    if front["filters"]:
        ends.append(
            _filters(canvas, front["filters"], left + half + 16 if front["ring"] is not None else left, y, half)
        )
    return max(ends)


def _losses(canvas: Canvas, training: Mapping[str, Any], pad: float, y: float, room: float) -> float:
    """The loss of each run against its time, the newest one's drawn heavily; each is named where it ends."""
    curves = [curve for curve in training["curves"] if curve["points"]]
    if not curves:
        return y
    height, left = 120.0, pad + 44.0
    high = max(curve["points"][0][2] for curve in curves) * 1.08
    low = min(min(point[2] for curve in curves for point in curve["points"]), high * 0.98)
    far = max(point[0] for curve in curves for point in curve["points"]) or 1.0
    width = room - 44 - 140

    def at(point: Sequence[float]) -> tuple[float, float]:
        return left + width * point[0] / far, y + 8 + (height - 16) * (1 - (min(point[2], high) - low) / (high - low))

    for value in (low, high):
        level = at((0.0, 0, value))[1]
        canvas.path(f"M{_n(left)} {_n(level)}h{_n(width)}", shapes.LINE, 1)
        canvas.text(left - 6, level + 4, f"{value:.3g}", 40, 11, colour=shapes.QUIET, anchor="end")
    labels: list[tuple[float, float, str, bool]] = []
    for order, curve in enumerate(curves):
        front = curve["run"] == training["front"]["run"]
        # One that runs away ends where it leaves the chart, with a word.
        out = next((i for i, point in enumerate(curve["points"]) if point[2] > high), len(curve["points"]) - 1)
        shown = curve["points"][: out + 1]
        route = "L".join(f"{_n(x)} {_n(py)}" for x, py in map(at, shown))
        dash = "" if front else f' stroke-dasharray="{_DASHES[order % len(_DASHES)]}"'
        canvas.path(f"M{route}", shapes.TEXT if front else shapes.THICK, 2 if front else 1.2, dash)
        x, end = at(shown[-1])
        word = ": diverged" if curve["diverged"] else f" {shown[-1][2]:.3g}" if front else ""
        if curve["diverged"]:
            canvas.path(f"M{_n(x - 3)} {_n(end - 3)}l6 6M{_n(x + 3)} {_n(end - 3)}l-6 6", shapes.TEXT, 1.6)
        labels.append((x, end + 10 * curve["diverged"], f"{curve['short']}{word}", front))
    below = -math.inf
    for x, end, label, front in sorted(labels, key=lambda each: each[1]):
        below = max(end + 4, below + 13)
        canvas.text(x + 7, below, label, max(60.0, room + pad - x - 7), 11, 600 if front else 400)
    canvas.text(left + width, y + height + 8, f"loss in nats, {far:.3g} s", 200, 11, colour=shapes.QUIET, anchor="end")
    canvas.text(pad, y + height + 28, training["foot"], room, 12, colour=shapes.QUIET)
    return y + height + 44


def _ring(canvas: Canvas, ring: Mapping[str, Any], left: float, y: float, room: float) -> float:
    """Who serves each range as arcs, the first replica of each inside; beside it what each server does."""
    x, middle = left + RADIUS, y + RADIUS + 6
    used = sorted({server for server, _ in [*ring["heads"], *ring["backs"]] if server >= 0})
    patterns = "".join(_pattern(server) for server in used)
    canvas.parts.append(f"<defs>{patterns}</defs>")
    for runs, radius, wide in ((ring["heads"], RADIUS, 13.0), (ring["backs"], RADIUS - 17, 8.0)):
        every, at = sum(count for _, count in runs) or 1, 0
        for server, count in runs:
            if server >= 0 or radius == RADIUS:
                edge = f'stroke="{shapes.EDGE if server >= 0 else shapes.LOST}" stroke-width=".6"'
                fill = f"url(#server{server})" if server >= 0 else shapes.GROUND
                canvas.parts.append(
                    f'<path transform="translate({_n(x)} {_n(middle)})" '
                    f'd="{_arc(at / every, (at + count) / every, radius, wide)}" fill="{fill}" {edge}/>'
                )
            at += count
    beside, line = left + 2 * RADIUS + 12, y + 14
    words = room - 2 * RADIUS - 12
    for server, ranges, push, pull in ring["servers"][:SERVERS_MAX]:
        canvas.rect(beside, line - 9, 10, 10, f"url(#server{server})" if server in used else shapes.GROUND, shapes.EDGE)
        canvas.text(beside + 16, line, f"server {server}: {ranges} ranges", words - 16, 11, 600)
        canvas.text(beside + 16, line + 12, f"{push:,.0f} pushes/s, {pull:,.0f} pulls/s", words - 16, 11)
        line += 27
    more = ring["count"] - min(len(ring["servers"]), SERVERS_MAX)
    gone = f"server {', '.join(map(str, ring['dead']))} gone" if ring["dead"] else ""
    taken = f"{ring['promotions']} ranges taken over" if ring["dead"] else ""
    for said in filter(None, [f"and {more} more" if more else "", gone, taken]):
        canvas.text(beside, line, said, words, 11, colour=shapes.QUIET)
        line += 14
    return max(middle + RADIUS + 10, line)


def _filters(canvas: Canvas, filters: Sequence[Sequence[Any]], left: float, y: float, room: float) -> float:
    """What workers sent before and after each filter, on a scale of powers of ten."""
    canvas.text(left, y + 10, "what workers send, log scale", room, 11, colour=shapes.QUIET)
    sizes = [max(1, size) for _, before, after in filters for size in (before, after)]
    low, high = math.log10(min(sizes)), math.log10(max(sizes))
    line = y + 28
    for name, before, after in filters:
        words = f"{size_text(before)} to {size_text(after)}"
        canvas.text(left, line, name, room / 2 - 8, 11, 600)
        canvas.text(left + room, line, words, room / 2, 11, anchor="end")
        start, end = (
            left + 5 + (room - 10) * (math.log10(max(1, size)) - low) / max(high - low, 1e-9)
            for size in (after, before)
        )
        canvas.path(f"M{_n(start)} {_n(line + 9)}H{_n(end)}", shapes.FILLS["d"], 2.5)
        for at, fill in ((end, shapes.GROUND), (start, shapes.FILLS["d"])):
            canvas.parts.append(
                f'<circle cx="{_n(at)}" cy="{_n(line + 9)}" r="4" fill="{fill}" stroke="{shapes.FILLS["d"]}"/>'
            )
        line += 32
    return line


def _pattern(server: int) -> str:
    colour, lines = _INKS[server % len(_INKS)]
    drawn = f'<path d="{lines}" stroke="{shapes.EDGE}" stroke-width="1.6" fill="none"/>' if lines else ""
    return (
        f'<pattern id="server{server}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6" fill="{colour}"/>{drawn}</pattern>'
    )


def _arc(start: float, end: float, radius: float, wide: float) -> str:
    """A piece of a ring between two shares of the circle, which begins at the top."""
    end = min(end, start + 0.9999)
    large = int(end - start > 0.5)

    def at(share: float, away: float) -> str:
        return f"{_n(away * math.sin(math.tau * share))} {_n(-away * math.cos(math.tau * share))}"

    inner = radius - wide
    return (
        f"M{at(start, radius)}A{radius:g} {radius:g} 0 {large} 1 {at(end, radius)}"
        f"L{at(end, inner)}A{inner:g} {inner:g} 0 {large} 0 {at(start, inner)}z"
    )
