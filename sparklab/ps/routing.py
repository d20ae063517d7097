"""Which ranges a request concerns, what of it each server gets, and what of that holds after a new layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparklab.errors import ServerLost
from sparklab.ps.frames import Kind
from sparklab.ps.keys import NO_KEYS, Array, Keys
from sparklab.ps.layout import TableLayout
from sparklab.ps.request import Request


def ranges_of(request: Request, ranges: TableLayout) -> int:
    """The ranges that `request` concerns, as bits."""
    if request.kind in (Kind.PULL_RANGE, Kind.CALL):
        return ranges.touching(request.low, request.high)
    if request.keys is None:
        return ranges.everything
    if not len(request.keys):
        return 0
    if ranges.whole:
        return ranges.everything
    mask = 0
    cuts = np.searchsorted(request.keys, ranges.bounds)
    for at, number in enumerate(ranges.ids):
        stop = cuts[at + 1] if at + 1 < len(cuts) else len(request.keys)
        if stop > cuts[at]:
            mask |= 1 << number
    return mask


def part_for(request: Request, mask: int, ranges: TableLayout) -> tuple[Keys, Array | None, Any]:
    """Keys, values and meta of the frame that asks for the ranges `mask`."""
    keys, values = request.keys, request.values
    if keys is not None and mask & request.spread != request.spread:
        chosen = ranges.chosen(keys, mask)
        keys = keys[chosen]
        values = values[chosen] if values is not None else None
    meta = {"low": request.low, "high": request.high} if request.kind == Kind.PULL_RANGE else request.meta
    return keys if keys is not None else NO_KEYS, values, meta


def carry(request: Request, old: TableLayout, new: TableLayout) -> int:
    """`request` speaks of the new ranges. Returns those of the old ones that had it, not yet safe, and are served by
    another now: they have to get it again."""
    moved = 0
    for number, chain in zip(old.ids, old.chains, strict=True):
        if request.kept >> number & 1:
            low, _ = old.interval(number)
            after = new.chains[new.position(new.range_of(low))]
            if chain[:1] != after[:1]:
                moved |= 1 << number
    request.spread = new.carried(request.spread, old)
    request.waiting = new.carried(request.waiting | moved, old)
    request.kept = new.carried(request.kept & ~moved, old)
    if request.waiting and new.shape != old.shape and request.parts and request.kind != Kind.ATTACH:
        request.parts.clear()  # of ranges that are others now: all are asked again
        request.waiting = request.spread
    return moved


def all_dead(table: str) -> ServerLost:
    """The error for a request to ranges that no server has."""
    return ServerLost(
        f"asking {table}",
        "every server of some of its key ranges is dead",
        "restore the last snapshot into a new ParameterServer; with replicas=1 one death loses nothing",
    )
