"""Layouts as plain data, for a wire that carries no pickles to clients."""

from __future__ import annotations

from typing import Any

from sparklab.ps.layout import Layout, TableLayout


def layout_to_plain(layout: Layout) -> dict[str, Any]:
    """`layout` in lists, numbers and texts."""
    return {
        "epoch": layout.epoch,
        "servers": list(layout.servers),
        "gone": [list(pair) for pair in sorted(layout.gone)],
        "taus": [list(pair) for pair in layout.taus.items()],
        "tables": [
            [number, t.end, list(t.starts), list(t.ids), [list(chain) for chain in t.chains], t.shape]
            for number, t in layout.tables.items()
        ],
    }


def layout_from_plain(data: dict[str, Any]) -> Layout:
    """The layout that `data` describes."""
    return Layout(
        epoch=int(data["epoch"]),
        tables={
            number: TableLayout(end, tuple(starts), tuple(ids), tuple(map(tuple, chains)), shape)
            for number, end, starts, ids, chains, shape in data["tables"]
        },
        servers=tuple(data["servers"]),
        gone=frozenset((table, rank) for table, rank in data["gone"]),
        taus=dict(data["taus"]),
    )
