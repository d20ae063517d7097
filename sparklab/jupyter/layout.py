"""Where everything of a DAG picture stands: layered from left to right, deterministic, in plain Python.

Stages are frames in columns, a stage one column before the first that reads its shuffle; inside a frame the RDDs
stand in columns too. The last RDD of a frame is placed first, each parent level with its child where it can be, so
that the main line of a job is one straight line. A shuffle edge that passes other nodes gets a lane of its own.

Source: Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures", 1981: layers,
placeholders for long edges, order by barycentre.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from sparklab.jupyter.frames import LANE, EdgeSpec, Frame, FrameSpec, Item, place_inside, stack
from sparklab.jupyter.grids import Grid, NodeSpec, grid_of
from sparklab.jupyter.metrics import text_width
from sparklab.jupyter.ranks import depths

FRAME_GAP: Final = 26  # between frames of one column
LABEL_PAD: Final = 6
BEND: Final = 40


@dataclass(frozen=True, slots=True)
class Box:
    """A placed rectangle, px."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class PlacedEdge:
    """An edge as points: level stretches, and S-bends where the height changes. The label stands over `label_x`."""

    edge: EdgeSpec
    points: tuple[tuple[float, float], ...]
    label_x: float
    labelled: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """A complete picture, its upper left corner at (0, 0)."""

    width: float
    height: float
    frames: Mapping[str, Box]
    nodes: Mapping[str, Box]
    grids: Mapping[str, Grid]
    edges: tuple[PlacedEdge, ...]


def layout(
    frames: Sequence[FrameSpec], nodes: Sequence[NodeSpec], edges: Sequence[EdgeSpec], narrow: bool = False
) -> Drawing:
    """The drawing of a DAG of `nodes` in `frames`. The same input gives the same drawing, in any process.

    Raises
    ------
    ValueError
        Where the edges make a cycle.
    """
    frame_of = {node.key: node.frame for node in nodes}
    known = [edge for edge in edges if edge.source in frame_of and edge.target in frame_of]
    across = [edge for edge in known if frame_of[edge.source] != frame_of[edge.target]]
    grids = {node.key: grid_of(node.cells, node.kind, narrow) for node in nodes}
    placed: dict[str, Frame] = {}
    for spec in frames:
        own = [node for node in nodes if node.frame == spec.key]
        if own:
            inner = [e for e in known if frame_of[e.source] == frame_of[e.target] == spec.key]
            entering = [e for e in across if frame_of[e.target] == spec.key]
            placed[spec.key] = place_inside(spec, own, inner, entering, grids, narrow)
    _rank(placed, across, frame_of)
    passes = _place_frames(placed, across, frame_of)
    return _draw(placed, known, frame_of, grids, passes, narrow)


def _rank(placed: Mapping[str, Frame], across: Sequence[EdgeSpec], frame_of: Mapping[str, str]) -> None:
    depth = depths(placed, [(frame_of[e.source], frame_of[e.target]) for e in across])
    last = max(depth.values(), default=0)
    for key, frame in placed.items():
        frame.rank = last - depth[key]


def _place_frames(
    placed: Mapping[str, Frame], across: Sequence[EdgeSpec], frame_of: Mapping[str, str]
) -> dict[tuple[int, str, str], list[float]]:
    """Frames get their heights, from the last one back; returns the heights at which long edges pass other ranks."""
    passes: dict[tuple[int, str, str], list[float]] = {}
    last = max((frame.rank for frame in placed.values()), default=0)
    for rank in range(last, -1, -1):
        wanted: list[tuple[float, int, Item, Frame | tuple[int, str, str]]] = []
        for number, frame in enumerate(placed.values()):
            if frame.rank != rank:
                continue
            exits = [e for e in across if frame_of[e.source] == frame.spec.key]
            ports = []
            for edge in exits:
                lane = (edge.shuffle, edge.source, edge.target)
                child = placed[frame_of[edge.target]]
                entry = passes[lane][0] if passes.get(lane) else child.offset + child.entry(lane)
                ports.append(entry - frame.items[edge.source].centre)
            offset = sum(ports) / len(ports) if ports else 0.0
            height = frame.bottom - frame.top
            item = Item(frame.spec.key, frame.width, height, rank)
            wanted.append((offset + (frame.top + frame.bottom) / 2, number, item, frame))
        for number, edge in enumerate(across):
            source, child = placed[frame_of[edge.source]], placed[frame_of[edge.target]]
            if source.rank < rank < child.rank:
                lane = (edge.shuffle, edge.source, edge.target)
                entry = passes[lane][0] if passes.get(lane) else child.offset + child.entry(lane)
                wanted.append((entry, len(placed) + number, Item("", 0, LANE, rank), lane))
        wanted.sort(key=lambda row: row[:2])
        items = [row[2] for row in wanted]
        stack(items, [row[0] for row in wanted], FRAME_GAP, straight=False)
        for _, _, item, what in wanted:
            if isinstance(what, Frame):
                what.offset = item.centre - (what.top + what.bottom) / 2
            else:
                passes.setdefault(what, []).insert(0, item.centre)
    return passes


def _draw(
    placed: Mapping[str, Frame],
    edges: Sequence[EdgeSpec],
    frame_of: Mapping[str, str],
    grids: Mapping[str, Grid],
    passes: Mapping[tuple[int, str, str], Sequence[float]],
    narrow: bool,
) -> Drawing:
    last = max((frame.rank for frame in placed.values()), default=0)
    across = [e for e in edges if frame_of[e.source] != frame_of[e.target]]
    left: list[float] = [0.0] * (last + 2)
    label_at = [0.0] * (last + 1)
    right = [0.0] * (last + 1)
    for rank in range(last + 1):
        members = [frame for frame in placed.values() if frame.rank == rank]
        width = max((frame.width for frame in members), default=0.0)
        right[rank] = left[rank] + width
        for frame in members:
            frame.x = left[rank] + (width - frame.width) / 2
        leaving = [e for e in across if placed[frame_of[e.source]].rank <= rank < placed[frame_of[e.target]].rank]
        here = [e for e in leaving if placed[frame_of[e.source]].rank == rank]
        label = max((_label_width(e.shuffle, narrow) for e in here), default=0)
        label_at[rank] = right[rank] + LABEL_PAD + label / 2
        bends = any(_bends(e, rank, placed, frame_of, passes) for e in leaving)
        left[rank + 1] = right[rank] + (2 * LABEL_PAD + label if here else LABEL_PAD) + (BEND if bends else 0)
    low = min((f.offset + f.top for f in placed.values()), default=0.0)
    low = min([low, *(height - LANE / 2 for heights in passes.values() for height in heights)])
    boxes = {k: Box(f.x, f.offset + f.top - low, f.width, f.bottom - f.top) for k, f in placed.items()}
    nodes = {}
    for frame in placed.values():
        for key, item in frame.items.items():
            if key in frame_of:
                top = frame.offset + item.centre - item.height / 2 - low
                nodes[key] = Box(frame.x + item.x, top, item.width, item.height)
    drawn = []
    labelled: set[tuple[str, int]] = set()
    for edge in edges:
        box, to = nodes[edge.source], nodes[edge.target]
        points = [(box.x + box.width, box.y + box.height / 2)]
        frame = placed[frame_of[edge.target]]
        if frame_of[edge.source] != frame_of[edge.target]:
            lane = (edge.shuffle, edge.source, edge.target)
            rank = placed[frame_of[edge.source]].rank
            for height in passes.get(lane, ()):
                points += _bend(points[-1], left[rank + 1], height - low)
                rank += 1
                points.append((right[rank], height - low))
            for stop in frame.lanes[lane]:
                item = frame.items[stop]
                start = left[rank + 1] if rank < frame.rank else frame.x + item.x
                points += _bend(points[-1], start, frame.offset + item.centre - low)
                points.append((frame.x + item.x + item.width, frame.offset + item.centre - low))
                rank = frame.rank
            end = left[frame.rank] if not frame.lanes[lane] else to.x
            points += _bend(points[-1], min(end, to.x), to.y + to.height / 2)
        points.append((to.x, to.y + to.height / 2))
        first = (edge.source, edge.shuffle) not in labelled
        labelled.add((edge.source, edge.shuffle))
        drawn.append(
            PlacedEdge(edge, tuple(points), label_at[placed[frame_of[edge.source]].rank], edge.shuffle >= 0 and first)
        )
    width = max((box.x + box.width for box in boxes.values()), default=0.0)
    bottom = max((box.y + box.height for box in boxes.values()), default=0.0)
    bottom = max([bottom, *(height - low + LANE / 2 for heights in passes.values() for height in heights)])
    return Drawing(width, bottom, boxes, nodes, grids, tuple(drawn))


def _bend(start: tuple[float, float], x: float, y: float) -> list[tuple[float, float]]:
    """From `start` level to `BEND` before `x`, then to (x, y)."""
    if abs(start[1] - y) < 0.5:
        return [(x, y)]
    return [(max(start[0], x - BEND), start[1]), (x, y)]


def _bends(
    edge: EdgeSpec,
    rank: int,
    placed: Mapping[str, Frame],
    frame_of: Mapping[str, str],
    passes: Mapping[tuple[int, str, str], Sequence[float]],
) -> bool:
    source, child = placed[frame_of[edge.source]], placed[frame_of[edge.target]]
    lane = (edge.shuffle, edge.source, edge.target)
    heights = [
        source.offset + source.items[edge.source].centre, *passes.get(lane, ()), child.offset + child.entry(lane)
    ]  # fmt: skip
    step = rank - source.rank
    return abs(heights[step] - heights[step + 1]) >= 0.5


def _label_width(shuffle: int, narrow: bool) -> int:
    written = "99.9 MiB" if narrow else "9.9 MiB so far"
    return ceil(max(text_width(f"shuffle {shuffle}", 11), text_width(written, 11, "bold")))
