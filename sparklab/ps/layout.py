"""Which server holds which key range, as of one epoch: the map that every request names."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from sparklab.ps.keys import END_OF_KEYS, KEY, Array, Keys, mask_of

MOST_RANGES: Final = 1024  # per table: a set of ranges is a number of so many bits


@dataclass(frozen=True)
class TableLayout:
    """The ranges of one table. They cover its keys exactly: no key without an owner, none with two.

    Parameters
    ----------
    end : int
        One past the last key of the table.
    starts : tuple of int
        First keys of the ranges, ascending, beginning with 0; each range ends where the next begins.
    ids : tuple of int
        A number per range, less than :data:`MOST_RANGES`, kept for life; splits and merges make new ones.
    chains : tuple of tuple of int
        Servers per range: the first serves, the others are its replicas in the order of the chain. Empty: lost.
    shape : int
        Counts how often ranges were split or merged.
    """

    end: int
    starts: tuple[int, ...]
    ids: tuple[int, ...]
    chains: tuple[tuple[int, ...], ...]
    shape: int = 0

    @cached_property
    def bounds(self) -> Keys:
        """`starts` as an array."""
        return np.array(self.starts, KEY)

    @cached_property
    def everything(self) -> int:
        """All ranges, as bits."""
        return mask_of(self.ids)

    @cached_property
    def lost(self) -> int:
        """Ranges without a server."""
        return mask_of(i for i, chain in zip(self.ids, self.chains, strict=True) if not chain)

    @cached_property
    def whole(self) -> bool:
        """Whether one server serves all of it."""
        return len(self.heads) == 1 and not self.lost

    @cached_property
    def only(self) -> int:
        """A server that serves ranges of it: the one, where one serves all."""
        return next(iter(self.heads), -1)

    @cached_property
    def heads(self) -> dict[int, int]:
        """For each server, the ranges that it serves."""
        masks: dict[int, int] = {}
        for number, chain in zip(self.ids, self.chains, strict=True):
            if chain:
                masks[chain[0]] = masks.get(chain[0], 0) | 1 << number
        return masks

    @cached_property
    def _successors(self) -> dict[int, dict[tuple[int, ...], int]]:
        found: dict[int, dict[tuple[int, ...], int]] = {}
        for number, chain in zip(self.ids, self.chains, strict=True):
            for at, server in enumerate(chain[:-1]):
                masks = found.setdefault(server, {})
                masks[chain[at + 1 :]] = masks.get(chain[at + 1 :], 0) | 1 << number
        return found

    def successors(self, server: int) -> dict[tuple[int, ...], int]:
        """The ends of chains that follow `server`, each with the ranges of these chains."""
        return self._successors.get(server, {})

    def held(self, server: int) -> int:
        """The ranges that `server` serves or keeps a replica of."""
        return mask_of(i for i, chain in zip(self.ids, self.chains, strict=True) if server in chain)

    @cached_property
    def owners(self) -> Array:
        """The serving server of each range, by position; -1 where it is lost."""
        return np.array([chain[0] if chain else -1 for chain in self.chains], np.int64)

    def position(self, range_id: int) -> int:
        """Where range `range_id` stands in `starts`."""
        return self.ids.index(range_id)

    def interval(self, range_id: int) -> tuple[int, int]:
        """First key of a range, and one past its last."""
        at = self.position(range_id)
        return self.starts[at], self.starts[at + 1] if at + 1 < len(self.starts) else self.end

    def split(self, range_id: int, at: int, new: tuple[int, int]) -> TableLayout:
        """The same, with range `range_id` cut in two at key `at`."""
        where = self.position(range_id)
        return replace(
            self,
            starts=(*self.starts[: where + 1], at, *self.starts[where + 1 :]),
            ids=(*self.ids[:where], *new, *self.ids[where + 1 :]),
            chains=(*self.chains[:where], self.chains[where], *self.chains[where:]),
            shape=self.shape + 1,
        )

    def merged(self, left: int, new: int) -> TableLayout:
        """The same, with range `left` and the one behind it joined."""
        where = self.position(left)
        return replace(
            self,
            starts=(*self.starts[: where + 1], *self.starts[where + 2 :]),
            ids=(*self.ids[:where], new, *self.ids[where + 2 :]),
            chains=(*self.chains[: where + 1], *self.chains[where + 2 :]),
            shape=self.shape + 1,
        )

    def range_of(self, key: int) -> int:
        """The range that `key` is in."""
        return self.ids[bisect_right(self.starts, key) - 1]

    def touching(self, low: int, high: int) -> int:
        """The ranges that have keys in [low, high)."""
        first = bisect_right(self.starts, low) - 1
        last = bisect_right(self.starts, high - 1) - 1
        return mask_of(self.ids[first : last + 1]) if high > low else 0

    def chosen(self, keys: Keys, mask: int) -> Array:
        """Which of `keys` (ascending) are in the ranges of `mask`, as booleans."""
        inside = np.zeros(len(keys), np.bool_)
        cuts = np.searchsorted(keys, self.bounds)
        for at, number in enumerate(self.ids):
            if mask >> number & 1:
                inside[cuts[at] : cuts[at + 1] if at + 1 < len(cuts) else None] = True
        return inside

    def segments(self, mask: int, low: int, high: int) -> list[tuple[int, int]]:
        """The parts of [low, high) that the ranges of `mask` cover, ascending, neighbours joined."""
        parts: list[tuple[int, int]] = []
        for at, number in enumerate(self.ids):
            if not mask >> number & 1:
                continue
            stop = self.starts[at + 1] if at + 1 < len(self.starts) else self.end
            a, b = max(self.starts[at], low), min(stop, high)
            if a >= b:
                continue
            if parts and parts[-1][1] == a:
                parts[-1] = (parts[-1][0], b)
            else:
                parts.append((a, b))
        return parts

    def carried(self, mask: int, older: TableLayout) -> int:
        """The ranges here that lie within the ranges `mask` of an `older` layout of the table."""
        if older.starts == self.starts and older.ids == self.ids:
            return mask
        found = 0
        for at, number in enumerate(self.ids):
            stop = self.starts[at + 1] if at + 1 < len(self.starts) else self.end
            if mask & older.touching(self.starts[at], stop):
                found |= 1 << number
        return found


@dataclass(frozen=True)
class Layout:
    """All tables' ranges, servers and workers as of `epoch`. A later epoch replaces an earlier one.

    Parameters
    ----------
    epoch : int
    tables : dict of int to TableLayout
    servers : tuple of int
        Those alive.
    gone : frozenset of (int, int)
        Workers, as table and rank, that the floor leaves out: they finished or were lost.
    taus : dict of int to int
        The bound of each table, -1 for none.
    extra : frozenset of (int, int)
        Workers, as table and rank, that joined beside those the table was made for.
    """

    epoch: int = 0
    tables: dict[int, TableLayout] = field(default_factory=dict)
    servers: tuple[int, ...] = ()
    gone: frozenset[tuple[int, int]] = frozenset()
    taus: dict[int, int] = field(default_factory=dict)
    extra: frozenset[tuple[int, int]] = frozenset()


def even_starts(end: int, count: int, sample: Any = None) -> tuple[int, ...]:
    """First keys of `count` ranges, or fewer: as many keys in each, or as many of the keys in `sample`.

    Examples
    --------
    >>> even_starts(100, 4)
    (0, 25, 50, 75)
    """
    count = max(1, min(count, end, MOST_RANGES))
    if sample is not None and len(sample):
        ordered = np.sort(np.asarray(sample, KEY))
        cuts = [int(ordered[len(ordered) * i // count]) for i in range(1, count)]
        return tuple(sorted({0, *cuts}))
    return tuple(end * i // count for i in range(count))


def whole(end: int | None) -> int:
    """One past the last key of a table of `end` keys, or of one that takes any key."""
    return END_OF_KEYS if end is None else end
