"""Where everything of a DAG picture stands: layered from left to right, deterministic, in plain Python.

Stages are frames in columns, a stage one column before the first that reads its shuffle; inside a frame the RDDs
stand in columns too. The last RDD of a frame is placed first, each parent level with its child where it can be, so
that the main line of a job is one straight line. A shuffle edge that passes other nodes gets a lane of its own.

Source: Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures", 1981: layers,
placeholders for long edges, order by barycentre.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from sparklab.jupyter.grids import Grid, NodeSpec, grid_of, size_of
from sparklab.jupyter.metrics import text_width
from sparklab.jupyter.ranks import depths

TITLE: Final = 24  # of a frame, above its nodes
PAD: Final = 8  # of a frame, around its nodes
COLUMN_GAP: Final = 16
BENT_GAP: Final = 34  # between columns where a narrow edge changes its height
ROW_GAP: Final = 14
FRAME_GAP: Final = 26  # between frames of one column
LANE: Final = 26  # height kept free for a shuffle edge that passes by
LABEL_PAD: Final = 6
BEND: Final = 40


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """An edge to draw; `shuffle` is -1 for a narrow one."""

    source: str
    target: str
    shuffle: int = -1


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """A stage to draw around its nodes; `title` is the longest text it will ever carry."""

    key: str
    title: str


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


@dataclass(slots=True)
class _Item:
    """Something with a height in a column: a node, or a lane for a shuffle edge."""

    key: str
    width: float
    height: float
    column: int
    centre: float = 0.0
    x: float = 0.0


@dataclass(slots=True)
class _Frame:
    """A stage while it is being placed; heights inside count from the centre of its last node."""

    spec: FrameSpec
    items: dict[str, _Item] = field(default_factory=dict)
    lanes: dict[tuple[int, str, str], list[str]] = field(default_factory=dict)  # an edge's stops, left to right
    sink: str = ""
    width: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    rank: int = 0
    offset: float = 0.0
    x: float = 0.0

    def entry(self, lane: tuple[int, str, str]) -> float:
        stops = self.lanes[lane]
        return self.items[stops[0]].centre if stops else self.items[lane[2]].centre


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
    placed: dict[str, _Frame] = {}
    for spec in frames:
        own = [node for node in nodes if node.frame == spec.key]
        if own:
            inner = [e for e in known if frame_of[e.source] == frame_of[e.target] == spec.key]
            entering = [e for e in across if frame_of[e.target] == spec.key]
            placed[spec.key] = _place_inside(spec, own, inner, entering, grids, narrow)
    _rank(placed, across, frame_of)
    passes = _place_frames(placed, across, frame_of)
    return _draw(placed, known, frame_of, grids, passes, narrow)


def _stack(items: Sequence[_Item], desired: Sequence[float], gap: float, straight: bool) -> None:
    """Items stand below one another near their desired centres; `straight` keeps the first exactly there."""
    edge = None
    for item, want in zip(items, desired, strict=True):
        item.centre = want if edge is None else max(want, edge + gap + item.height / 2)
        edge = item.centre + item.height / 2
    if not straight and items:
        shift = sum(want - item.centre for item, want in zip(items, desired, strict=True)) / len(items)
        for item in items:
            item.centre += shift


def _place_inside(
    spec: FrameSpec,
    nodes: Sequence[NodeSpec],
    edges: Sequence[EdgeSpec],
    entering: Sequence[EdgeSpec],
    grids: Mapping[str, Grid],
    narrow: bool,
) -> _Frame:
    frame = _Frame(spec)
    depth = depths([node.key for node in nodes], [(e.source, e.target) for e in edges])
    for node in nodes:
        width, height = size_of(node, grids[node.key], narrow)
        frame.items[node.key] = _Item(node.key, width, height, depth[node.key])
    last = max(depth.values())
    parents: dict[str, list[str]] = defaultdict(list)
    # A shuffle edge comes first among the inputs of its node, and reserves a lane through the columns it passes.
    for edge in entering:
        lane = (edge.shuffle, edge.source, edge.target)
        stops: list[str] = []
        below = edge.target
        for column in range(depth[edge.target] + 1, last + 1):
            key = f"lane {lane} {column}"
            frame.items[key] = _Item(key, 0, LANE, column)
            parents[below].append(key)
            stops.insert(0, key)
            below = key
        frame.lanes[lane] = stops
    for edge in edges:
        if edge.source not in parents[edge.target]:
            parents[edge.target].append(edge.source)
    spine = _fed({edge.target for edge in entering}, edges)
    frame.sink = next(key for key, item in frame.items.items() if item.column == 0)
    order = sorted((key for key, item in frame.items.items() if item.column == 0))
    _stack([frame.items[key] for key in order], [0.0] * len(order), ROW_GAP, straight=False)
    for column in range(1, last + 1):
        wanted: dict[str, float] = {}
        straight = False
        for child in order:
            inputs = [key for key in parents[child] if frame.items[key].column == column and key not in wanted]
            inputs.sort(key=lambda key: not (key.startswith("lane ") or key in spine))
            centre = frame.items[child].centre
            leads = sum(key.startswith("lane ") or key in spine for key in inputs)
            level = any(key.startswith("lane ") for key in inputs) or (leads == 1 and len(inputs) > 1)
            straight = straight or (level and not wanted)
            total = sum(frame.items[key].height for key in inputs) + ROW_GAP * (len(inputs) - 1)
            at = centre - (frame.items[inputs[0]].height if level else total) / 2 if inputs else centre
            for key in inputs:
                wanted[key] = at + frame.items[key].height / 2
                at += frame.items[key].height + ROW_GAP
        # parents whose nearest child stands further right
        for key, item in frame.items.items():
            if item.column == column and key not in wanted:
                near = [frame.items[c].centre for c, keys in parents.items() if key in keys]
                wanted[key] = sum(near) / len(near) if near else 0.0
        order = sorted(wanted, key=lambda key: wanted[key])
        _stack([frame.items[key] for key in order], [wanted[key] for key in order], ROW_GAP, straight)
    at, gap = float(PAD), 0.0
    for column in range(last, -1, -1):
        members = [item for item in frame.items.values() if item.column == column]
        width = max(item.width for item in members)
        for item in members:
            item.x = at + (width - item.width) / 2 if item.width else at
            item.width = item.width or width
        leaving = [(item, frame.items[c]) for item in members for c, keys in parents.items() if item.key in keys]
        bent = any(abs(item.centre - child.centre) >= 0.5 for item, child in leaving)
        gap = BENT_GAP if bent else COLUMN_GAP
        at += width + gap
    taken = at - gap + PAD
    frame.width = max(taken, ceil(text_width(spec.title, 11) + 2 * PAD))
    spare = (frame.width - taken) / 2
    for item in frame.items.values():
        item.x += spare
    frame.top = min(item.centre - item.height / 2 for item in frame.items.values()) - TITLE
    frame.bottom = max(item.centre + item.height / 2 for item in frame.items.values()) + PAD
    return frame


def _fed(entered: set[str], edges: Sequence[EdgeSpec]) -> set[str]:
    """The nodes of a stage that a shuffle reaches: the main line goes through them."""
    fed, stack = set(entered), list(entered)
    while stack:
        at = stack.pop()
        for edge in edges:
            if edge.source == at and edge.target not in fed:
                fed.add(edge.target)
                stack.append(edge.target)
    return fed


def _rank(placed: Mapping[str, _Frame], across: Sequence[EdgeSpec], frame_of: Mapping[str, str]) -> None:
    depth = depths(placed, [(frame_of[e.source], frame_of[e.target]) for e in across])
    last = max(depth.values(), default=0)
    for key, frame in placed.items():
        frame.rank = last - depth[key]


def _place_frames(
    placed: Mapping[str, _Frame], across: Sequence[EdgeSpec], frame_of: Mapping[str, str]
) -> dict[tuple[int, str, str], list[float]]:
    """Frames get their heights, from the last one back; returns the heights at which long edges pass other ranks."""
    passes: dict[tuple[int, str, str], list[float]] = {}
    last = max((frame.rank for frame in placed.values()), default=0)
    for rank in range(last, -1, -1):
        wanted: list[tuple[float, int, _Item, _Frame | tuple[int, str, str]]] = []
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
            item = _Item(frame.spec.key, frame.width, height, rank)
            wanted.append((offset + (frame.top + frame.bottom) / 2, number, item, frame))
        for number, edge in enumerate(across):
            source, child = placed[frame_of[edge.source]], placed[frame_of[edge.target]]
            if source.rank < rank < child.rank:
                lane = (edge.shuffle, edge.source, edge.target)
                entry = passes[lane][0] if passes.get(lane) else child.offset + child.entry(lane)
                wanted.append((entry, len(placed) + number, _Item("", 0, LANE, rank), lane))
        wanted.sort(key=lambda row: row[:2])
        items = [row[2] for row in wanted]
        _stack(items, [row[0] for row in wanted], FRAME_GAP, straight=False)
        for _, _, item, what in wanted:
            if isinstance(what, _Frame):
                what.offset = item.centre - (what.top + what.bottom) / 2
            else:
                passes.setdefault(what, []).insert(0, item.centre)
    return passes


def _draw(
    placed: Mapping[str, _Frame],
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
    placed: Mapping[str, _Frame],
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
