"""The Timeline on a static card: what the live panel draws of the same model, without a pointer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from sparklab.jupyter import shapes
from sparklab.jupyter.metrics import text_width

LEFT: Final = 78.0
LANES_MAX: Final = 16
STAGES_MAX: Final = 12
_INK: Final = {"d": "#ffffff", "a": "#000000", "f": shapes.GROUND}


class Canvas(Protocol):
    """Where it is drawn: see :mod:`sparklab.jupyter.twin`."""

    parts: list[str]

    def text(
        self, x: float, y: float, text: str, room: float, size: float = 12, weight: int = 400,
        colour: str = shapes.TEXT, anchor: str = "start", mono: bool = False,
    ) -> None: ...  # fmt: skip

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str, stroke: str = "", more: str = ""
    ) -> None: ...

    def path(self, d: str, stroke: str, width: float, more: str = "") -> None: ...


def draw_timeline(canvas: Canvas, time: Mapping[str, Any], left: float, top: float, room: float, detail: int) -> float:
    """`time` stands from `left` and `top` on, `room` px wide; returns where it ends. No text in bars at 0."""
    return _Timeline(canvas, time, left, room, detail).draw(top)


def states_in_time(time: Mapping[str, Any]) -> str:
    """The states that `time` shows, for the legend."""
    found = {bar[5] for lane in time["lanes"] for bar in lane["bars"]}
    return "".join(state for state in shapes.NAMES if state in found)


class _Timeline:
    def __init__(self, canvas: Canvas, time: Mapping[str, Any], left: float, room: float, detail: int) -> None:
        self._canvas = canvas
        self._time = time
        self._left = left
        self._right = left + room
        self._detail = detail
        self._tall = 0.0
        self._from = float(time["from"])
        self._scale = (room - LEFT - 4) / max(1e-6, float(time["to"]) - self._from)
        self._taken: list[tuple[float, float, float]] = []  # where texts above lanes stand: height, from, to
        self._median = {(stage["id"], key): stage[key] for stage in time["stages"] for key in ("median", "again")}
        self._named = {(one["stage"], one["part"], one["attempt"]): one["said"] for one in time["named"]}

    def _x(self, time_s: float) -> float:
        return self._left + LEFT + (time_s - self._from) * self._scale

    def draw(self, top: float) -> float:
        lanes = self._time["lanes"][:LANES_MAX]
        tall, gap = (34.0, 18.0) if len(lanes) <= 4 else (16.0, 6.0)
        self._tall = tall
        begun, y = top, top + 30
        for lane in lanes:
            self._lane(lane, y, tall)
            y += tall + gap
        if len(self._time["lanes"]) > LANES_MAX:
            self._canvas.text(self._left, y + 4, f"and {len(self._time['lanes']) - LANES_MAX} more executors", 200, 11)
            y += 18
        stages = self._time["stages"][-STAGES_MAX:]
        bottom = y + sum(self._high(stage) for stage in stages)
        for number, kill in enumerate(self._time["kills"][:2]):
            x = self._x(kill["at"])
            width = text_width(kill["said"], 11, "bold")
            at = x + 5 if x + 5 + width < self._right else max(self._left, x - 5 - width)
            self._canvas.path(f"M{x:.1f} {begun + 12 * number:.1f}V{bottom:.1f}", shapes.LOST, 2)
            self._canvas.text(at, begun + 10 + 12 * number, kill["said"], self._right - at, 11, 600)
        for stage in stages:
            self._stage(stage, y)
            y += self._high(stage)
        return self._axis(y + 6)

    def _lane(self, lane: Mapping[str, Any], y: float, tall: float) -> None:
        canvas = self._canvas
        canvas.text(self._left, y + min(13, tall - 3), f"executor {lane['ex']}", LEFT - 6, 11, 600)
        for start, length, share, again in (band[:4] for band in lane["bands"]):
            x, width = self._x(start), max(0.8, length * self._scale)
            canvas.rect(x, y + tall * (1 - share), width, tall * share, shapes.DONE, "", ' opacity=".45"')
            if again:
                canvas.rect(x, y + tall * (1 - share * again), width, tall * share * again, shapes.AGAIN)
        for start, end in lane["gone"]:
            middle = y + tall / 2
            dashes = ' stroke-dasharray="4 3"'
            canvas.path(f"M{self._x(start) + 3:.1f} {middle:.1f}H{self._x(end) - 2:.1f}", shapes.WAITING, 1, dashes)
        row = tall / lane["rows"]
        for bar in lane["bars"]:
            self._bar(bar, y + bar[2] * row, row, y)

    def _bar(self, bar: Sequence[Any], y: float, high: float, top: float) -> None:
        stage, part, _, start, length, state, attempt, mark, times = bar
        canvas, x, width = self._canvas, self._x(start), float(length) * self._scale
        if state == "l" and width < 8:
            x, width = x - 8 + width, 8.0
        width = max(1.0, width - (0.8 if width > 3 else 0.0))
        edge = {"d": "", "f": "", "l": shapes.LOST, "s": shapes.WAITING}.get(state, shapes.EDGE)
        fill = {"r": "url(#run)", "l": shapes.GROUND, "s": shapes.GROUND}.get(state, shapes.FILLS[state])
        canvas.rect(x, y, width, high, fill, edge, ' stroke-width=".7"' if edge else "")
        middle = x + width / 2
        if state == "l":
            r, cy = min(4.0, width / 2 - 1, high / 2 - 1), y + high / 2
            cross = f"M{middle - r:.1f} {cy - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}"
            canvas.path(cross, shapes.LOST, 1.6)
        elif self._detail and high >= 12:
            wanted = (f"stage {stage}, task {part}", f"task {part}", str(stage))
            label = next((one for one in wanted if text_width(one, 10) < width - 1), "")
            if label:
                low = y + high - 6 if high >= 26 else y + high / 2 + 4
                canvas.text(middle, low, label, width + 1, 10, colour=_INK.get(state, shapes.TEXT), anchor="middle")
        if state == "a" and width >= 8 and high >= 26:
            canvas.parts.append(
                f'<g transform="translate({middle - 4:.1f} {y + 3:.1f}) scale(.68)" fill="none" stroke="#000" '
                'stroke-width="1.7"><path d="M8.9 4.1A3.5 3.5 0 1 0 9.4 7.2"/><path d="M9.5 1.3V4.6H6.2"/></g>'
            )
        if mark:
            at = y + 3 if high >= 26 else y - 5
            canvas.rect(middle - 5, at, 10, 11, shapes.GROUND, shapes.TEXT, ' stroke-width=".8"')
            glyph = "»" if mark == "c" else str(min(attempt + 1, 9))
            canvas.text(middle, at + 9, glyph, 12, 9, 600, anchor="middle")
        if times:
            usual_s = self._median.get((stage, "again" if state == "a" else "median"), 0.0)
            self._straggler(stage, part, attempt, usual_s, x, y, width, high, top)

    def _straggler(
        self, stage: int, part: int, attempt: int, usual_s: float,
        x: float, y: float, width: float, high: float, top: float,
    ) -> None:  # fmt: skip
        canvas = self._canvas
        canvas.rect(x, y - 1.5, width, high + 3, "none", shapes.TEXT, ' stroke-width="2"')
        tick = x + usual_s * self._scale
        if tick < x + width - 1:
            canvas.path(f"M{tick:.1f} {y + 1:.1f}v{high * 0.5:.1f}", shapes.GROUND, 1.2, ' stroke-dasharray="3 2"')
        said = self._named.pop((stage, part, attempt), "")
        if said and self._tall >= 26:
            room = text_width(said, 11, "bold")
            at = max(self._left + LEFT, min(x + width / 2 - room / 2, self._right - room))
            if all(row != top or at > end or at + room < start for row, start, end in self._taken):
                self._taken.append((top, at, at + room))
                canvas.text(at, top - 5, said, room + 4, 11, 600)

    def _beside(self, stage: Mapping[str, Any]) -> float | None:
        """Where there is room beside the stage's spans for what is said of it."""
        room = text_width(stage["said"], 11) + 8
        first = min((self._x(start) for start, _, _ in stage["spans"]), default=self._right)
        last = max((self._x(end) for _, end, _ in stage["spans"]), default=self._left)
        if last + room < self._right:
            return last + 7
        return first - room if first - room > self._left + LEFT else None

    def _high(self, stage: Mapping[str, Any]) -> float:
        return 18 if self._beside(stage) is not None else 31

    def _stage(self, stage: Mapping[str, Any], y: float) -> None:
        canvas = self._canvas
        canvas.text(self._left, y + 11, f"stage {stage['id']}", LEFT - 6, 11)
        for start, end, again in stage["spans"]:
            width = max(1.5, self._x(end) - self._x(start))
            fill, edge = (shapes.AGAIN, shapes.EDGE) if again else (shapes.DONE, "")
            canvas.rect(self._x(start), y + 5, width, 5, fill, edge, ' stroke-width=".5"' if edge else "")
        beside = self._beside(stage)
        at, low = (beside, y + 11) if beside is not None else (self._left + LEFT, y + 23)
        room = text_width(stage["said"], 11)
        canvas.rect(at - 2, low - 9, room, 12, shapes.GROUND)  # the line of a loss may pass here
        canvas.text(at, low, stage["said"], room, 11, colour=shapes.QUIET)

    def _axis(self, y: float) -> float:
        canvas, time = self._canvas, self._time
        marks = ticks(time["from"], time["to"], 6)
        canvas.path(f"M{self._left + LEFT:.1f} {y:.1f}H{self._right - 4:.1f}", shapes.WAITING, 1)
        for number, at in enumerate(marks):
            canvas.path(f"M{self._x(at):.1f} {y:.1f}v4", shapes.WAITING, 1)
            text = f"{at:g}{' s' if number == 0 else ''}"
            canvas.text(self._x(at), y + 16, text, 60, 11, colour=shapes.QUIET, anchor="middle")
        return y + 22


def ticks(start_s: float, end_s: float, at_most: int) -> Sequence[float]:
    """Round times from `start_s` to `end_s`, at most so many."""
    step = 10 ** math.floor(math.log10(max(end_s - start_s, 1e-6) / max(at_most, 1)))
    for factor in (1, 2, 5, 10):
        if (end_s - start_s) / (step * factor) <= at_most:
            step *= factor
            break
    first = math.ceil(start_s / step - 1e-9)
    return [round(number * step, 6) for number in range(first, int(end_s / step + 1e-9) + 1)]
