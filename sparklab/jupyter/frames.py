"""Inside a frame of the DAG picture: where the RDDs of one stage stand.

Each has a column, by how many steps are left to the stage's last RDD, which is placed first; each parent is level with
its child where it can be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from sparklab.jupyter.grids import Grid, NodeSpec, size_of
from sparklab.jupyter.metrics import text_width
from sparklab.jupyter.ranks import depths

TITLE: Final = 24  # of a frame, above its nodes
PAD: Final = 8  # of a frame, around its nodes
COLUMN_GAP: Final = 16
BENT_GAP: Final = 34  # between columns where a narrow edge changes its height
ROW_GAP: Final = 14
LANE: Final = 26  # height kept free for a shuffle edge that passes by


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


@dataclass(slots=True)
class Item:
    """Something with a height in a column: a node, or a lane for a shuffle edge."""

    key: str
    width: float
    height: float
    column: int
    centre: float = 0.0
    x: float = 0.0


@dataclass(slots=True)
class Frame:
    """A stage while it is being placed; heights inside count from the centre of its last node."""

    spec: FrameSpec
    items: dict[str, Item] = field(default_factory=dict)
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


def place_inside(
    spec: FrameSpec,
    nodes: Sequence[NodeSpec],
    edges: Sequence[EdgeSpec],
    entering: Sequence[EdgeSpec],
    grids: Mapping[str, Grid],
    narrow: bool,
) -> Frame:
    """A stage's own picture: a column for each step from its inputs to its last RDD, which stands to the right."""
    frame = Frame(spec)
    depth = depths([node.key for node in nodes], [(e.source, e.target) for e in edges])
    for node in nodes:
        width, height = size_of(node, grids[node.key], narrow)
        frame.items[node.key] = Item(node.key, width, height, depth[node.key])
    last = max(depth.values())
    parents = _parents(frame, edges, entering, last)
    frame.sink = next(key for key, item in frame.items.items() if item.column == 0)
    _place_rows(frame, parents, _fed({edge.target for edge in entering}, edges), last)
    taken = _place_columns(frame, parents, last)
    frame.width = max(taken, ceil(text_width(spec.title, 11) + 2 * PAD))
    spare = (frame.width - taken) / 2
    for item in frame.items.values():
        item.x += spare
    frame.top = min(item.centre - item.height / 2 for item in frame.items.values()) - TITLE
    frame.bottom = max(item.centre + item.height / 2 for item in frame.items.values()) + PAD
    return frame


def _parents(
    frame: Frame, edges: Sequence[EdgeSpec], entering: Sequence[EdgeSpec], last: int
) -> Mapping[str, Sequence[str]]:
    """The inputs of each item, from above to below.

    A shuffle edge comes first among the inputs of its node, and reserves a lane through the columns it passes.
    """
    parents: dict[str, list[str]] = defaultdict(list)
    for edge in entering:
        lane = (edge.shuffle, edge.source, edge.target)
        stops: list[str] = []
        below = edge.target
        for column in range(frame.items[edge.target].column + 1, last + 1):
            key = f"lane {lane} {column}"
            frame.items[key] = Item(key, 0, LANE, column)
            parents[below].append(key)
            stops.insert(0, key)
            below = key
        frame.lanes[lane] = stops
    for edge in edges:
        if edge.source not in parents[edge.target]:
            parents[edge.target].append(edge.source)
    return parents


def _place_rows(frame: Frame, parents: Mapping[str, Sequence[str]], spine: set[str], last: int) -> None:
    """Every item has its height: column by column from the last RDD back, the inputs of each around it."""

    def leads(key: str) -> bool:
        return key.startswith("lane ") or key in spine

    order = sorted(key for key, item in frame.items.items() if item.column == 0)
    stack([frame.items[key] for key in order], [0.0] * len(order), ROW_GAP, straight=False)
    for column in range(1, last + 1):
        wanted: dict[str, float] = {}
        straight = False
        for child in order:
            inputs = [key for key in parents.get(child, ()) if frame.items[key].column == column and key not in wanted]
            inputs.sort(key=lambda key: not leads(key))
            centre = frame.items[child].centre
            level = any(key.startswith("lane ") for key in inputs) or (sum(map(leads, inputs)) == 1 < len(inputs))
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
        stack([frame.items[key] for key in order], [wanted[key] for key in order], ROW_GAP, straight)


def _place_columns(frame: Frame, parents: Mapping[str, Sequence[str]], last: int) -> float:
    """Every item has its place from left to right; returns how wide that is. Bent edges are given more room."""
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
    return at - gap + PAD


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


def stack(items: Sequence[Item], desired: Sequence[float], gap: float, straight: bool) -> None:
    """Items stand below one another near their desired centres; `straight` keeps the first exactly there."""
    edge = None
    for item, want in zip(items, desired, strict=True):
        item.centre = want if edge is None else max(want, edge + gap + item.height / 2)
        edge = item.centre + item.height / 2
    if not straight and items:
        shift = sum(want - item.centre for item, want in zip(items, desired, strict=True)) / len(items)
        for item in items:
            item.centre += shift
