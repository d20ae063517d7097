"""Compiled loops over arrays: checks, gathers, sums. All of them release the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np

from sparklab.ps.prefetching import prefetch_to_read

AHEAD: Final = 64  # rows whose cache lines are on their way, where rows are far from each other
FEWEST_FAR: Final = 4_096  # rows; fewer are mostly in the cache
_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """`function` in machine code, kept on disk for the next process; compiled at the first call with given types."""
    return cast(_F, numba.njit(cache=True, nogil=True)(function))


@compiled
def strictly_increasing(keys: Any) -> int:
    """The first position whose successor is not larger, or -1."""
    for i in range(len(keys) - 1):
        if keys[i] >= keys[i + 1]:
            return i
    return -1


@compiled
def ascending_to(keys: Any, last: Any) -> bool:
    """Whether `keys`, one at least, ascend without repetition and end at `last` or before."""
    wrong = False
    for i in range(len(keys) - 1):
        wrong |= keys[i] >= keys[i + 1]
    return not wrong and keys[len(keys) - 1] <= last


@compiled
def copied(values: Any, out: Any) -> bool:
    """``out[...] = values``; whether all of them are finite."""
    finite = True
    for i in range(len(values)):
        value = values[i]
        out[i] = value
        finite &= np.isfinite(value)
    return finite


@compiled
def all_finite(values: Any) -> bool:
    """Whether none of them is NaN or infinite."""
    finite = True
    for i in range(len(values)):
        finite &= np.isfinite(values[i])
    return finite


@compiled
def _gather(values: Any, rows: Any, out: Any, width: int) -> None:
    for i in range(len(rows)):
        row = rows[i]
        if row < 0:
            for j in range(width):
                out[i, j] = 0
        else:
            for j in range(width):
                out[i, j] = values[row, j]


@compiled
def gather(values: Any, rows: Any, out: Any) -> None:
    """``out[i] = values[rows[i]]``, 0 where the row is negative (a key that is not there)."""
    width = values.shape[1]
    if width == 1:  # compiled apart, as 2 is: a loop over few values costs more than its body
        _gather(values, rows, out, 1)
    elif width == 2:
        _gather(values, rows, out, 2)
    else:
        _gather(values, rows, out, width)


@compiled
def gather_one(values: Any, keys: Any, out: Any, limit: int) -> bool:
    """`gather` of a dense table of width 1; False, with `out` half done, where a key is not below `limit`."""
    for i in range(len(keys)):
        key = keys[i]
        if key >= limit:
            return False
        out[i] = values[key]
    return True


@compiled
def read_shared(header: Any, weights: Any, keys: Any, places: Any, out: Any, epoch: int, floor: int) -> bool:
    """``out[places[i]] = weights[keys[i]]`` as of one moment in which epoch and floor were right; False where not.

    The header counts writes: odd while one is going on. Another process writes it.
    """
    width = weights.shape[1]
    for _ in range(200):
        before = header[0]
        if before & 1:
            continue
        if header[1] != epoch or header[2] < floor:
            return False
        for i in range(len(keys)):
            row = keys[i]
            for j in range(width):
                out[places[i], j] = weights[row, j]
        if header[0] == before:
            return True
    return False


@compiled
def _copy_rows(weights: Any, keys: Any, out: Any, width: int) -> None:
    count = len(keys)
    if count < FEWEST_FAR:  # a loop of its own, which is compiled to gather several at a time
        for i in range(count):
            row = keys[i]
            for j in range(width):
                out[i, j] = weights[row, j]
        return
    for i in range(count):
        if i + AHEAD < count:
            prefetch_to_read(weights, keys[i + AHEAD] * np.uint64(width))
        row = keys[i]
        for j in range(width):
            out[i, j] = weights[row, j]


@compiled
def read_shared_all(header: Any, weights: Any, keys: Any, out: Any, epoch: int, floor: int) -> bool:
    """``out[i] = weights[keys[i]]``: the same where all of them are at one server."""
    width = weights.shape[1]
    for _ in range(200):
        before = header[0]
        if before & 1:
            continue
        if header[1] != epoch or header[2] < floor:
            return False
        if width == 1:
            _copy_rows(weights, keys, out, 1)
        elif width == 2:
            _copy_rows(weights, keys, out, 2)
        else:
            _copy_rows(weights, keys, out, width)
        if header[0] == before:
            return True
    return False


@compiled
def accumulate(rows: Any, gradients: Any, place: Any, out_rows: Any, out: Any, count: int) -> int:
    """`gradients` are added to the sums of their rows, in this order; returns how many rows have sums now.

    ``place[row]`` is 1 + the position of `row` in `out_rows`, or 0; the caller clears it afterwards.
    """
    width = gradients.shape[1]
    for i in range(len(rows)):
        row = rows[i]
        at = place[row]
        if at == 0:
            out_rows[count] = row
            for j in range(width):
                out[count, j] = gradients[i, j]
            count += 1
            place[row] = count
        else:
            for j in range(width):
                out[at - 1, j] += gradients[i, j]
    return count


@compiled
def clear_places(place: Any, rows: Any) -> None:
    """``place[rows] = 0``."""
    for i in range(len(rows)):
        place[rows[i]] = 0


@compiled
def owners_of(keys: Any, bounds: Any, owners: Any, out: Any, counts: Any) -> None:
    """``out[i]`` is the owner of the range that ``keys[i]`` is in; ``counts[owner]`` grows. Keys ascend."""
    at = 0
    last = len(bounds) - 1
    for i in range(len(keys)):
        while at < last and keys[i] >= bounds[at + 1]:
            at += 1
        owner = owners[at]
        out[i] = owner
        counts[owner] += 1


@compiled
def hash_of(key: Any) -> Any:
    """A good mix of the 64 bits of `key`."""
    x = np.uint64(key)
    x ^= x >> np.uint64(32)
    x *= np.uint64(0xD6E8FEB86659FD93)
    x ^= x >> np.uint64(32)
    x *= np.uint64(0xD6E8FEB86659FD93)
    x ^= x >> np.uint64(32)
    return x


@compiled
def find_rows(slots: Any, row_keys: Any, keys: Any, out: Any) -> int:
    """``out[i]`` is the row of ``keys[i]`` or -1; returns how many are missing. `slots` hold 1 + row, 0 is free."""
    last = np.uint64(len(slots) - 1)
    missing = 0
    for i in range(len(keys)):
        key = keys[i]
        slot = hash_of(key) & last
        while True:
            row = np.int64(slots[slot]) - 1
            if row < 0:
                out[i] = -1
                missing += 1
                break
            if row_keys[row] == key:
                out[i] = row
                break
            slot = (slot + np.uint64(1)) & last
    return missing


@compiled
def insert_rows(slots: Any, row_keys: Any, keys: Any, rows: Any, count: int) -> int:
    """Each of `keys` whose row is -1 gets the next free row; returns the number of rows."""
    last = np.uint64(len(slots) - 1)
    for i in range(len(keys)):
        if rows[i] >= 0:
            continue
        key = keys[i]
        slot = hash_of(key) & last
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & last
        row_keys[count] = key
        rows[i] = count
        count += 1
        slots[slot] = count
    return count


@compiled
def refill_slots(slots: Any, row_keys: Any, count: int) -> None:
    """Empty `slots` hold the first `count` rows."""
    last = np.uint64(len(slots) - 1)
    for row in range(count):
        slot = hash_of(row_keys[row]) & last
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & last
        slots[slot] = row + 1
