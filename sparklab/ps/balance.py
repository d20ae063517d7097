"""What makes the servers' loads even: which range to split, to move or to merge, from how often keys are asked for.

Source: Li et al. 2014, section 4.3 (ranges that balance the load).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sparklab.ps.layout import MOST_RANGES, TableLayout

UNEVEN: Final = 1.25  # times the mean: a server with more is relieved
FEWEST: Final = 1000  # keys asked for: below that nobody knows what is hot
COLD: Final = 0.25  # of a range's mean share: two neighbours with less together become one


@dataclass(frozen=True)
class Heat:
    """How often keys of a range were asked for, and a key that halves it, or -1."""

    count: float
    cut: int = -1


@dataclass(frozen=True)
class Split:
    """Range `range` becomes two, the second of which begins with key `at`."""

    range: int
    at: int


@dataclass(frozen=True)
class Shift:
    """Server `to` serves `range` from now on."""

    range: int
    to: int


@dataclass(frozen=True)
class Merge:
    """Range `left` and its neighbour `right` become one."""

    left: int
    right: int


Step = Split | Shift | Merge


def next_step(table: TableLayout, heats: Mapping[int, Heat], servers: Sequence[int], fewest_ranges: int) -> Step | None:
    """What to do next, None where the loads are even and no neighbours are cold.

    Parameters
    ----------
    table : TableLayout
    heats : mapping of int to Heat
        By range.
    servers : sequence of int
        Those that may serve.
    fewest_ranges : int
        The table does not get fewer.

    Examples
    --------
    >>> table = TableLayout(100, (0, 50), (0, 1), ((7,), (8,)))
    >>> next_step(table, {0: Heat(9000, 20), 1: Heat(1000, 60)}, (7, 8), 2)
    Split(range=0, at=20)
    """
    total = sum(heat.count for heat in heats.values())
    if total < FEWEST or not servers:
        return None
    loads = dict.fromkeys(servers, 0.0)
    for number, chain in zip(table.ids, table.chains, strict=True):
        if chain and chain[0] in loads and number in heats:
            loads[chain[0]] += heats[number].count
    busy = max(loads, key=lambda server: loads[server])
    idle = min(loads, key=lambda server: loads[server])
    if loads[busy] > UNEVEN * total / len(servers):
        found = _relief(table, heats, busy, idle, loads[busy] - loads[idle])
        if found is not None:
            return found
    return _coldest(table, heats, total, fewest_ranges)


def _relief(table: TableLayout, heats: Mapping[int, Heat], busy: int, idle: int, gap: float) -> Step | None:
    own = [
        (heats[number].count, number)
        for number, chain in zip(table.ids, table.chains, strict=True)
        if chain and chain[0] == busy and number in heats
    ]
    fitting = [(count, number) for count, number in own if gap / 8 <= count <= gap * 5 / 8]
    if fitting:
        _, number = min(fitting, key=lambda each: (abs(each[0] - gap / 2), each[1]))
        if idle not in table.chains[table.position(number)]:
            return Shift(number, idle)
    count, number = max(own)
    low, high = table.interval(number)
    if count > gap * 5 / 8 and low < heats[number].cut < high and len(table.ids) < MOST_RANGES // 2:
        return Split(number, heats[number].cut)
    movable = [(count, number) for count, number in own if count <= gap / 2]
    if movable and idle not in table.chains[table.position(max(movable)[1])]:
        return Shift(max(movable)[1], idle)
    return None


def _coldest(table: TableLayout, heats: Mapping[int, Heat], total: float, fewest_ranges: int) -> Step | None:
    if len(table.ids) <= fewest_ranges:
        return None
    pairs: list[tuple[float, Step]] = []
    for (left, one), (right, other) in pairwise(zip(table.ids, table.chains, strict=True)):
        count = sum(heats[number].count for number in (left, right) if number in heats)
        if not one or not other or count >= COLD * total / len(table.ids):
            continue
        if one == other:
            pairs.append((count, Merge(left, right)))
        elif len(one) == len(other) == 1:  # to one server first; with replicas that alone would not make them alike
            pairs.append((count, Shift(right, one[0])))
    return min(pairs, key=lambda pair: pair[0])[1] if pairs else None
