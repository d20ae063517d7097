"""Where a server keeps a table: dense rows addressed by key, or sparse rows that a key gets when it is first pushed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np

from sparklab.ps import kernels
from sparklab.ps.keys import KEY, Array, Keys

_FIRST_ROWS: Final = 1 << 10
_SPAN_ROWS: Final = 1024
_LOAD: Final = 0.7  # of the slots, at most: longer probes beyond

Allocate = Callable[[tuple[int, ...], np.dtype[Any]], Array]


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Zeros whose memory is taken when it is first written."""
    return np.zeros(shape, dtype)


class Store(Protocol):
    """Rows of weights, the update's states beside them, and scratch for summing. Not thread-safe."""

    weights: Array  # (rows, width)
    states: tuple[Array, ...]

    def rows(self, keys: Keys) -> Array:
        """The row of each key, -1 where there is none."""
        ...

    def rows_made(self, keys: Keys) -> Array:
        """The row of each key, made where there was none."""
        ...

    def places(self) -> Array:
        """One zero per row, for :func:`sparklab.ps.kernels.accumulate`."""
        ...

    def live(self, low: int, high: int) -> tuple[Keys, Array]:
        """The keys in [low, high) that exist, ascending, and their rows."""
        ...

    def looked_at(self, low: int, high: int) -> Array:
        """The weights of the rows [low, high), not to be written; rows that were never written still take no memory."""
        ...

    def drop(self, low: int, high: int) -> None:
        """The keys in [low, high) are as if never pushed; their memory is free."""
        ...

    @property
    def used_bytes(self) -> int:
        """Memory taken by the keys that exist, at most."""
        ...


class DenseStore:
    """A row for each key below `count`, at the position of the key.

    A server that holds a part of the keys takes memory for the pages of that part that were written, no more.
    """

    def __init__(self, count: int, width: int, dtype: np.dtype[Any], states: int, allocate: Allocate = zeros) -> None:
        self.weights = allocate((count, width), dtype)
        self.states = tuple(zeros((count, width), dtype) for _ in range(states))
        self._places: Array | None = None
        self.look: Callable[[int, int], Array] = lambda low, high: self.weights[low:high]
        self.taken: Callable[[], int] = lambda: self.weights.nbytes

    def rows(self, keys: Keys) -> Array:
        """The keys themselves, as signed numbers."""
        return keys.view(np.int64)

    def rows_made(self, keys: Keys) -> Array:
        """The keys themselves, as signed numbers."""
        return keys.view(np.int64)

    def places(self) -> Array:
        """One zero per row."""
        if self._places is None:
            self._places = np.zeros(len(self.weights), np.int32)
        return self._places

    def live(self, low: int, high: int) -> tuple[Keys, Array]:
        """All keys in [low, high)."""
        keys = np.arange(low, min(high, len(self.weights)), dtype=KEY)
        return keys, keys.view(np.int64)

    def looked_at(self, low: int, high: int) -> Array:
        """These rows, by whatever way `look` has: reading some kinds of memory takes it."""
        return self.look(low, high)

    def written(self, low: int, high: int) -> list[tuple[int, int]]:
        """The parts of [low, high) in which a weight or a state stands that is not zero, in steps of 1,024 rows.

        Nothing outside of them takes memory by being asked for, copied or dropped.
        """
        starts = np.arange(0, high - low, _SPAN_ROWS)
        if not len(starts):
            return []
        found = np.zeros(len(starts), bool)
        for rows in (self.looked_at(low, high), *(state[low:high] for state in self.states)):
            bits = np.ascontiguousarray(rows).reshape(-1).view(f"u{rows.itemsize}")  # -0.0 is no zero
            found |= np.bitwise_or.reduceat(bits, starts * rows.shape[1]) != 0
        edges = np.flatnonzero(np.diff(found, prepend=False, append=False))
        return [
            (low + int(first) * _SPAN_ROWS, min(low + int(last) * _SPAN_ROWS, high))
            for first, last in zip(edges[::2], edges[1::2], strict=True)
        ]

    def drop(self, low: int, high: int) -> None:
        """Zeros stand in [low, high)."""
        for first, last in self.written(low, high):
            for array in (self.weights, *self.states):
                array[first:last] = 0

    @property
    def used_bytes(self) -> int:
        """Of the pages that were ever written, where the system tells; else all of it, which is too much."""
        return self.taken() * (1 + len(self.states))


class SparseStore:
    """A row for each key that was pushed, found through open addressing; any key of 64 bits.

    Slots hold the row's number plus one (4 bytes each); the keys stand in the rows.
    """

    def __init__(self, width: int, dtype: np.dtype[Any], states: int) -> None:
        self._width = width
        self._dtype = dtype
        self._state_count = states
        self._reset(0)

    def _reset(self, rows: int) -> None:
        capacity = max(_FIRST_ROWS, rows)
        self._count = 0
        self._keys = np.empty(capacity, KEY)
        self.weights = np.zeros((capacity, self._width), self._dtype)
        self.states = tuple(np.zeros((capacity, self._width), self._dtype) for _ in range(self._state_count))
        self._places: Array | None = None
        self._slots = np.zeros(_slots_for(capacity), np.uint32)

    def __len__(self) -> int:
        return self._count

    def rows(self, keys: Keys) -> Array:
        """The row of each key, -1 where there is none."""
        out = np.empty(len(keys), np.int64)
        kernels.find_rows(self._slots, self._keys, keys, out)
        return out

    def rows_made(self, keys: Keys) -> Array:
        """The row of each key, made where there was none: weights and states of zero."""
        out = np.empty(len(keys), np.int64)
        missing = kernels.find_rows(self._slots, self._keys, keys, out)
        if missing:
            self._make_room(self._count + missing)
            self._count = kernels.insert_rows(self._slots, self._keys, keys, out, self._count)
        return out

    def _make_room(self, rows: int) -> None:
        if rows > len(self._keys):
            capacity = max(rows, 2 * len(self._keys))
            self._keys = _grown(self._keys, capacity, self._count)
            self.weights = _grown(self.weights, capacity, self._count)
            self.states = tuple(_grown(state, capacity, self._count) for state in self.states)
            self._places = None
        if rows > _LOAD * len(self._slots):
            self._slots = np.zeros(_slots_for(rows), np.uint32)
            kernels.refill_slots(self._slots, self._keys, self._count)

    def places(self) -> Array:
        """One zero per row."""
        if self._places is None:
            self._places = np.zeros(len(self._keys), np.int32)
        return self._places

    def live(self, low: int, high: int) -> tuple[Keys, Array]:
        """The keys in [low, high) that were pushed, ascending, and their rows."""
        keys = self._keys[: self._count]
        within = keys >= np.uint64(low)
        if high < 1 << 64:
            within &= keys < np.uint64(high)
        rows = np.nonzero(within)[0]
        rows = rows[np.argsort(keys[rows])]
        return keys[rows], rows

    def looked_at(self, low: int, high: int) -> Array:
        """Rows that stand beside each other."""
        return self.weights[low:high]

    def drop(self, low: int, high: int) -> None:
        """The keys in [low, high) are gone; the others move together."""
        gone = np.zeros(self._count, np.bool_)
        gone[self.live(low, high)[1]] = True
        kept = np.nonzero(~gone)[0]
        keys, weights, states = self._keys[kept], self.weights[kept], [state[kept] for state in self.states]
        self._reset(len(kept))
        rows = self.rows_made(keys)
        self.weights[rows] = weights
        for state, old in zip(self.states, states, strict=True):
            state[rows] = old

    @property
    def used_bytes(self) -> int:
        """Rows and slots."""
        per_row = KEY.itemsize + self._width * self._dtype.itemsize * (1 + self._state_count)
        return len(self._keys) * per_row + self._slots.nbytes


def _slots_for(rows: int) -> int:
    return 1 << max(4, int(np.ceil(np.log2(rows / _LOAD))))


def _grown(array: Array, rows: int, used: int) -> Array:
    grown = np.zeros((rows, *array.shape[1:]), array.dtype)
    grown[:used] = array[:used]
    return grown
