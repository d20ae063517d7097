"""How large a node of the DAG is: a few generous squares, a grid, or a mosaic, by how many partitions it shows."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

from sparklab.jupyter.metrics import text_width

NODE_WIDTH: Final = 110
NODE_WIDTH_MAX: Final = 168
NODE_PAD: Final = 8.5

GridKind = Literal["none", "squares", "grid", "small", "mosaic", "bar"]
NodeKind = Literal["cells", "bar", "fold"]


@dataclass(frozen=True, slots=True)
class Grid:
    """How a node shows its partitions: `cell` px shapes, `columns` a row, at these pitches, the first at (x, y)."""

    kind: GridKind
    x: float = 0
    y: float = 0
    columns: int = 1
    cell: float = 0
    pitch_x: float = 0
    pitch_y: float = 0


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node to place: `cells` is how many partition shapes it shows (bins count as one each)."""

    key: str
    frame: str
    name: str
    site: str
    cells: int
    kind: NodeKind = "cells"


def grid_of(cells: int, kind: NodeKind = "cells", narrow: bool = False) -> Grid:
    """The grid that shows `cells` partitions: 20 px squares to 8, 13 px to 48, 8 px to 200, then 4 px, 100 a row.

    A `narrow` picture has smaller squares without numbers, and 60 of the smallest a row.
    """
    if kind != "cells":
        return Grid("bar", NODE_PAD, 58, 1, 10, 0, 0)
    if cells == 0:
        return Grid("none")
    if cells <= 8 and not narrow:
        columns = cells if cells <= 4 else (cells + 1) // 2
        return Grid("squares", 9, 40, columns, 20, 24, 36)
    if cells <= 48:
        columns = min(cells, 4) if cells <= 8 else 6 if cells <= 24 else 8
        return (
            Grid("grid", NODE_PAD, 40, columns, 11, 13.6, 13.6)
            if narrow
            else Grid("grid", NODE_PAD, 42, columns, 13, 16, 16)
        )
    if cells <= 200:
        return Grid("small", NODE_PAD, 42, 10 if cells <= 80 else 20, 8, 10, 10)
    return Grid("mosaic", NODE_PAD, 64, 60, 3, 4, 4) if narrow else Grid("mosaic", 174, 40, 100, 3, 4, 4)


def size_of(spec: NodeSpec, grid: Grid, narrow: bool = False) -> tuple[float, float]:
    """Width and height of `spec` with its partitions in `grid`, px."""
    if grid.kind == "mosaic":
        rows = -(-spec.cells // grid.columns)
        width = round(grid.columns * grid.pitch_x + 2 * NODE_PAD) if narrow else 700
        return width, max(132, grid.y + rows * grid.pitch_y + 10)
    site = text_width(spec.site, 11, "regular" if narrow else "mono")
    text = max(text_width(spec.name, 12, "bold"), site)
    least, most = (76, 120) if narrow else (NODE_WIDTH, NODE_WIDTH_MAX)
    width = max(least, min(most, ceil(text + 2 * NODE_PAD)))
    if grid.kind == "bar":
        return max(width, 94 if narrow else 126), 82
    if grid.kind == "none":
        return width, 44
    rows = -(-spec.cells // grid.columns)
    inside = grid.columns * grid.pitch_x - (grid.pitch_x - grid.cell)
    height = grid.y + rows * grid.pitch_y + (2 if grid.kind == "squares" else 8 - (grid.pitch_y - grid.cell - 3))
    return max(width, ceil(inside + 2 * NODE_PAD)), ceil(height)
