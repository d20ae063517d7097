"""The static twin of a panel: one opaque light card as an SVG in an ``<img>``, for saved notebooks and print.

It is drawn from the same model as the live panel, with nothing but Python, and shows in untrusted notebooks too.
"""

from __future__ import annotations

import base64
import html
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from sparklab.jupyter import shapes
from sparklab.jupyter.metrics import Face, fit, text_width
from sparklab.jupyter.shapes import tenths as _n
from sparklab.jupyter.twin_timeline import draw_timeline, states_in_time
from sparklab.jupyter.twin_training import draw_training

BYTES_MAX: Final = 60_000
WIDTH: Final = 600
PAD: Final = 16
_CELL: Final = 13
_SANS: Final = "-apple-system,BlinkMacSystemFont,'Segoe UI',Helvetica,Arial,sans-serif"
_MONO: Final = "Menlo,Consolas,'Liberation Mono',monospace"
_EXECUTORS: Final = 4

# In a trusted notebook whose kernel is gone, the view above the twin could only say that its model is missing.
_STYLE: Final = (
    "<style>.jp-OutputArea-child:has(+.jp-OutputArea-child .sparklab-twin):has(.jupyter-widgets)"
    ":not(:has(.sl-panel)){display:none}</style>"
)


def twin_bundle(model: Mapping[str, Any], form: str = "panel", date: str = "", view: str = "dag") -> dict[str, str]:
    """The twin of `model` as a display bundle: ``text/html`` of at most 60 kB, and ``text/plain``.

    Parameters
    ----------
    model
        A panel's model, built narrow.
    form : "panel" or "strip"
        The card, or the one line under a plain cell.
    date : str
        What stands at the foot: when this picture was made.
    view : "dag" or "timeline"
        What the card shows of the job; another view's is the DAG.
    """
    for detail in (2, 1, 0):
        picture = strip_svg(model) if form == "strip" else card_svg(model, date, detail, view)
        source = base64.b64encode(picture.encode()).decode()
        alt = html.escape(alt_text(model), quote=True)
        page = (
            f'{_STYLE}<img class="sparklab-twin" src="data:image/svg+xml;base64,{source}" alt="{alt}" '
            'style="max-width:100%;height:auto">'
        )
        if len(page) <= BYTES_MAX:
            break
    return {"text/html": page, "text/plain": alt_text(model)}


def alt_text(model: Mapping[str, Any]) -> str:
    """The headline and the summary of `model`, as plain text."""
    summary = str(model.get("summary", ""))
    head = str(model["head"])
    return summary if summary.startswith(head) else f"{head}. {summary}".strip()


class _Canvas:
    """SVG elements as they are drawn, and which shapes of which sizes they use."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.used: dict[tuple[str, float], str] = {}

    def text(
        self, x: float, y: float, text: str, room: float, size: float = 12, weight: int = 400,
        colour: str = shapes.TEXT, anchor: str = "start", mono: bool = False,
    ) -> None:  # fmt: skip
        """`text` at (x, y), cut in the middle where it is wider than `room` px."""
        face: Face = "mono" if mono else "bold" if weight >= 600 else "regular"
        shown = escape(_printable(fit(text, room, size, face)))
        more = f' text-anchor="{anchor}"' if anchor != "start" else ""
        more += ' font-weight="600"' if weight >= 600 else ""
        family = f' font-family="{_MONO}"' if mono else ""
        fill = f' fill="{colour}"' if colour != shapes.TEXT else ""
        self.parts.append(f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size:g}"{more}{family}{fill}>{shown}</text>')

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str, stroke: str = "", more: str = ""
    ) -> None:
        line = f' stroke="{stroke}"' if stroke else ""
        self.parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{fill}"{line}{more}/>'
        )

    def path(self, d: str, stroke: str, width: float, more: str = "") -> None:
        self.parts.append(f'<path d="{d}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{more}/>')

    def cell(self, state: str, size: float, x: float, y: float) -> None:
        state = "w" if state == "n" else state
        key = self.used.setdefault((state, size), f"{state}{size:g}")
        self.parts.append(f'<use href="#{key}" x="{_n(x)}" y="{_n(y)}"/>')

    def page(self, width: float, height: float, ground: bool = True) -> str:
        symbols = "".join(f'<g id="{key}">{shapes.shape(s, size)}</g>' for (s, size), key in self.used.items())
        card = (
            f'<rect x=".5" y=".5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="4" fill="{shapes.GROUND}" '
            f'stroke="{shapes.LINE}"/>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}" height="{_n(height)}" '
            f'viewBox="0 0 {_n(width)} {_n(height)}" font-family="{_SANS}" fill="{shapes.TEXT}">'
            f"<defs>{shapes.PATTERNS}{symbols}</defs>{card if ground else ''}{''.join(self.parts)}</svg>"
        )


def _printable(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return "".join(c if c.isprintable() else "�" for c in text)


def strip_svg(model: Mapping[str, Any]) -> str:
    """One line, 28 px high: the state's shape and the headline."""
    canvas = _Canvas()
    head = str(model["head"])
    room = WIDTH - 44
    canvas.cell(str((model.get("strip") or {}).get("state") or "w"), _CELL, 8, 7.5)
    canvas.text(30, 18.5, head, room, 13)
    return canvas.page(WIDTH, 28)


def card_svg(model: Mapping[str, Any], date: str = "", detail: int = 2, view: str = "dag") -> str:
    """The whole card. With less `detail` the partitions of large nodes are shown as proportions (1), or all are (0)."""
    canvas = _Canvas()
    dag: Mapping[str, Any] = model["dag"]
    in_time = view == "timeline" and bool(model["timeline"]["lanes"]) and bool(dag["nodes"])
    width = max(WIDTH, dag["w"] + 2 * PAD) if dag["nodes"] and not in_time else WIDTH
    room = width - 2 * PAD
    canvas.text(PAD, 30, str(model["head"]), room, 16, 600)
    y = 46.0
    if in_time:
        y = draw_timeline(canvas, model["timeline"], PAD, y, room, detail) + 4
        canvas.text(PAD, y + 10, model["timeline"]["said"], room, 12, colour=shapes.QUIET)
        y += 24
    elif dag["nodes"]:
        canvas.parts.append(f'<g transform="translate({PAD} {y:g})">')
        _dag(canvas, dag, detail)
        canvas.parts.append("</g>")
        y += dag["h"] + 14
    elif not model.get("training"):
        canvas.text(PAD, y + 14, str(model.get("empty") or "No job has run."), room, 12, colour=shapes.QUIET)
        y += 30
    if model.get("training"):
        y = draw_training(canvas, model["training"], PAD, y, room)
    if model.get("error"):
        canvas.cell("f", _CELL, PAD, y)
        canvas.text(PAD + 20, y + 11, str(model["error"]), room - 20, 12, 600)
        y += 26
    y = _cache(canvas, model["cache"], y, room)
    y = _legend(canvas, model, y, width, in_time)
    canvas.path(f"M{PAD} {_n(y + 0.5)}H{_n(width - PAD)}", shapes.LINE, 1)
    canvas.text(PAD, y + 21, date, room / 2 - 8, 12, colour=shapes.QUIET)
    label = " ".join(part for part in (str(model.get("label", "")), str(model.get("name", ""))) if part)
    canvas.text(width - PAD, y + 21, label, room / 2 - 8, 12, colour=shapes.QUIET, anchor="end")
    return canvas.page(width, y + 34)


def _dag(canvas: _Canvas, dag: Mapping[str, Any], detail: int) -> None:
    for frame in dag["frames"]:
        x, y = frame["x"] + 0.5, frame["y"] + 0.5
        canvas.rect(x, y, frame["w"] - 1, frame["h"] - 1, shapes.SOFT, shapes.LINE, ' rx="3"')
        canvas.text(frame["x"] + 8, frame["y"] + 16, frame["t"], frame["w"] - 12, 11)
    for edge in dag["edges"]:
        _edge(canvas, edge)
    for node in dag["nodes"]:
        _node(canvas, node, detail)


def _edge(canvas: _Canvas, edge: Mapping[str, Any]) -> None:
    points: Sequence[Sequence[float]] = edge["d"]
    if edge["sh"] < 0:
        canvas.path(route(points), shapes.THICK, 1.5)
        return
    width = shapes.STROKES[edge["w"]]
    canvas.path(route(points, width + 3), shapes.THICK, width)
    x, y = points[-1]
    back, half = width + 4, width / 2 + 3.5
    tip = f"M{_n(x - back)} {_n(y - half)}L{_n(x)} {_n(y)}L{_n(x - back)} {_n(y + half)}z"
    canvas.parts.append(f'<path d="{tip}" fill="{shapes.THICK}"/>')
    if edge["l"]:
        at = points[0][1]
        canvas.text(edge["lx"], at - 13, f"shuffle {edge['sh']}", 96, 11, colour=shapes.QUIET, anchor="middle")
        canvas.text(edge["lx"], at + 22, edge["bytes"], 96, 11, 600, anchor="middle")


def route(points: Sequence[Sequence[float]], back: float = 0.0) -> str:
    """Level stretches, and an S where the height changes; the last `back` px belong to the arrow head."""
    x, y = points[0]
    path = [f"M{_n(x)} {_n(y)}"]
    for number, (to_x, to_y) in enumerate(points[1:], 2):
        end = to_x - back if number == len(points) else to_x
        middle = (x + end) / 2
        if abs(to_y - y) < 0.5:
            path.append(f"H{_n(end)}")
        else:
            path.append(f"C{_n(middle)} {_n(y)} {_n(middle)} {_n(to_y)} {_n(end)} {_n(to_y)}")
        x, y = end, to_y
    return "".join(path)


def _node(canvas: _Canvas, node: Mapping[str, Any], detail: int) -> None:
    x, y, width, height = node["x"], node["y"], node["w"], node["h"]
    canvas.rect(x + 0.5, y + 0.5, width - 1, height - 1, shapes.GROUND, shapes.THICK, ' rx="2"')
    canvas.text(x + 8, y + 18, node["n"], width - 15, 12, 600)
    canvas.text(x + 8, y + 32, node["s"], width - 15, 11, colour=shapes.QUIET)
    kind, grid_x, grid_y, columns, size, pitch_x, pitch_y = node["g"]
    if kind == "none":
        return
    if kind == "bar" or detail == 0 or (detail == 1 and kind == "mosaic"):
        canvas.text(x + 8, y + 50, node["of"], width - 16, 11)
        _proportions(canvas, node["tally"], x + 8.5, y + 58.5, width - 17)
        return
    if kind == "mosaic":
        lost = next((f", {count:,} {shapes.NAMES[s]}" for s, count in node["tally"] if s in "fl"), "")
        canvas.text(x + 8, y + 54, f"{node['of']}{lost}", width - 16, 12, 600)
        _mosaic(canvas, node, x + grid_x, y + grid_y, columns, pitch_x)
        return
    for i, state in enumerate(node["p"]):
        cell_x, cell_y = x + grid_x + i % columns * pitch_x, y + grid_y + i // columns * pitch_y
        canvas.cell(state, size, cell_x, cell_y)
        if kind == "squares":
            canvas.text(cell_x + size / 2, cell_y + size + 11, str(i), pitch_x, 11, anchor="middle")


def _mosaic(canvas: _Canvas, node: Mapping[str, Any], x: float, y: float, columns: int, pitch: float) -> None:
    """Runs of equal states as dashed lines: a cell costs no byte of its own."""
    runs: dict[str, list[str]] = defaultdict(list)
    states: str = node["p"]
    for start in range(0, len(states), columns):
        row = states[start : start + columns]
        at = 0
        line = _n(y + start // columns * pitch + 1.5)
        while at < len(row):
            end = at
            while end < len(row) and row[end] == row[at]:
                end += 1
            runs[row[at]].append(f"M{_n(x + at * pitch)} {line}h{_n((end - at) * pitch - 1)}")
            at = end
    for state, lines in runs.items():
        canvas.path("".join(lines), shapes.FILLS.get(state, shapes.FILLS["w"]), 3, ' stroke-dasharray="3 1"')
    for part in list(node.get("losts") or ())[:8]:
        cell = part // max(1, node.get("bin", 1))
        left, top = x + cell % columns * pitch, y + cell // columns * pitch
        canvas.rect(left - 4.5, top - 4.5, 12, 12, shapes.GROUND, shapes.TEXT, ' stroke-width="2"')
        canvas.rect(left - 1.5, top - 1.5, 6, 6, shapes.LOST)


def _proportions(canvas: _Canvas, tally: Sequence[tuple[str, int]], x: float, y: float, width: float) -> None:
    canvas.rect(x, y, width, 10, shapes.GROUND, shapes.WAITING)
    total = sum(count for _, count in tally) or 1
    at = x
    for state, count in tally:
        share = width * count / total
        if state not in "wsn":
            fill = {"r": "url(#run)", "k": "url(#disk)"}.get(state, shapes.FILLS[state])
            canvas.rect(at, y, max(1.0, share), 10, fill, shapes.EDGE, ' stroke-width=".7"')
        at += share


def _cache(canvas: _Canvas, cache: Mapping[str, Any], y: float, room: float) -> float:
    """A bar for each executor that could hold something, where anything is cached."""
    if not cache["rows"]:
        return y
    canvas.text(PAD, y + 11, "Cache", 100, 12, 600)
    y += 20
    for budget in cache["budgets"][:_EXECUTORS]:
        canvas.text(PAD, y + 10, f"executor {budget['ex']}", 82, 12)
        whole = max(budget["budget"], 1e-9)
        used = min(1.0, budget["used"] / whole)
        canvas.rect(PAD + 88, y, 96 * used, 12, shapes.HELD)
        dash = "" if budget["alive"] else ' stroke-dasharray="3 2"'
        canvas.rect(PAD + 87.5, y - 0.5, 97, 13, "none", shapes.EDGE, dash)
        said = "".join(budget["said"]).removesuffix(", none on disk")
        canvas.text(PAD + 194, y + 10, said if budget["alive"] else budget.get("why") or "lost", room - 194, 12)
        y += 21
    if len(cache["budgets"]) > _EXECUTORS:
        canvas.text(PAD, y + 10, f"and {len(cache['budgets']) - _EXECUTORS} more executors", room, 12)
        y += 21
    return y + 4


def _legend(canvas: _Canvas, model: Mapping[str, Any], y: float, width: float, in_time: bool) -> float:
    canvas.path(f"M{PAD} {_n(y + 0.5)}H{_n(width - PAD)}", shapes.LINE, 1)
    y += 14
    x: float = PAD
    present = str(model["legend"]) if not in_time else states_in_time(model["timeline"])
    for state in present:
        name = shapes.NAMES[state]
        step = 19 + text_width(name, 12) + 22
        if x + step > width - PAD and x > PAD:
            x, y = PAD, y + 20
        canvas.cell(state, _CELL, x, y)
        canvas.text(x + 19, y + 11, name, step, 12)
        x += step
    if present:
        y += 22
    if in_time and model["timeline"]["named"]:
        canvas.text(
            PAD, y + 10, "outlined: more than twice its stage's median, which the dashes mark", width - 2 * PAD, 12
        )
        y += 21
    elif not in_time and any(edge["sh"] >= 0 for edge in model["dag"]["edges"]):
        canvas.path(f"M{PAD} {_n(y + 6)}h24", shapes.THICK, 6)
        canvas.text(PAD + 32, y + 10, "thick edge: a shuffle, wider with its bytes", 250, 12)
        canvas.path(f"M{PAD + 300} {_n(y + 6)}h24", shapes.THICK, 1.5)
        canvas.text(PAD + 332, y + 10, "thin edge: narrow, no data moves", width - PAD - 348, 12)
        y += 21
    note = "This picture does not change; run the cell for the live panel."
    canvas.text(PAD, y + 10, note, width - 2 * PAD, 12)
    return y + 26
