"""Frequent coordinates, of which each HOGWILD thread keeps its own: their cache lines would be all that threads do.

Clicks follow a power law: of the 23 entries of a row 17 are among the 2,047 most frequent coordinates, which both of
two threads write in every few rows. Each such write fetches a line from the other core (some 100 ns, when a whole row
takes 90), so two cores that share everything do less than one. Hence a thread has a copy of those coordinates, to
which its rows' indices are renumbered once; what its copy has changed is told to the others, and what theirs have
changed is taken over, every few hundred rows. Rare coordinates are shared as ever, without locks.

Staleness is bounded: what a thread sees of a frequent coordinate lacks at most the others' changes of the last
:func:`interval` rows. It grows with the root of the rows seen, as the steps of AdaGrad and FTRL shrink with it, and is
the shorter the more frequent the coordinates are: a few dozen, on which nearly all of a margin's stale part depends,
are merged oftener than the rest, by the ratio of the two weights that :func:`interval` takes: four or five times for
the clicks of :mod:`sparklab.datasets`, ten to twenty where frequency falls with the power 0.75 to 1.25 of the rank.
Within one interval all threads together then move a margin at most about three eighths of the way on which the
gradients send it, so that no pile of stale steps overshoots.

Merging takes no lock and no atomic step, and loses nothing: a thread adds up its own changes in a place that it alone
writes, and takes over those of the others by reading theirs, however many merge at that moment and wherever one of them
loses its core. (A rare coordinate, which threads write without copies, may still lose a step where two write it at
once.)

Source: Niu, Recht, Re, Wright, "HOGWILD!", NIPS'11, section 2 (rho, what a frequent coordinate costs); Ho et al.,
NIPS'13, section 3 (reads of one's own writes, and of others' with a bound).
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sparklab.ps.prefetching import prefetch_to_read
from sparklab.train import kernels
from sparklab.train.blocks import Rows
from sparklab.train.kernels import fast, inlined
from sparklab.train.quads import LANES, held, hold

MOST: Final = 2047  # coordinates; twice as many spare no more lines than their merging moves
FEWEST_ROWS: Final = 32_768  # with fewer there is nothing to be gained
FEWEST_A_ROW: Final = 0.1  # frequent coordinates; fewer spare less than a tenth of a line, and merging costs
LONGEST_ROWS: Final = 4096  # of all
_HOTTEST: Final = 63  # with the intercept eight cache lines
_SAMPLE_ROWS: Final = 4096
_SAMPLE_PARTS: Final = 16
_SEEN_OFTEN: Final = 4  # times in the sample: in one of a thousand rows
_SLOTS: Final = 16_384
_SLOT_SHIFT: Final = 32 - 14
_NO_KEY: Final = np.uint32(0xFFFFFFFF)  # larger than any index
_ODD: Final = np.uint32(2654435769)
_LINE_ROWS: Final = 8  # of state, in a cache line
_MERGE_AHEAD: Final = 8 * 2 * _LINE_ROWS  # values
_PARTS: Final = 3  # of a thread: its copy, what of it is not its doing, the sum of its changes


class Share(NamedTuple):
    """What one thread learns with: all state up to the end of its own copy, and where merging finds what."""

    state: npt.NDArray[np.float32]
    room: npt.NDArray[np.float32]
    # First rows: of what all began with, of that with what others have changed, of the thread's own copy; how many
    # rows; first rows of the sums of changes: its own, then each other thread's.
    places: npt.NDArray[np.int64]
    hottest: int  # how many of the last rows are merged oftener
    weights: tuple[float, float]  # of the hottest coordinates and of the others, for :func:`interval`


def often_in(rows: Rows) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float64]]:
    """The coordinates that are frequent in a sample of `rows`, most frequent first; the part of the rows each is in."""
    part = max(1, min(_SAMPLE_ROWS, len(rows)) // _SAMPLE_PARTS)
    starts = np.linspace(0, len(rows) - part, _SAMPLE_PARTS).astype(np.int64)
    sample = [rows.indices[rows.indptr[start] : rows.indptr[start + part]] for start in starts]
    keys, counts = np.unique(np.concatenate(sample), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST]
    order = order[counts[order] >= _SEEN_OFTEN]
    return keys[order].astype(np.uint32), counts[order] / (part * _SAMPLE_PARTS)


class Frequent:
    """The copies of `threads` threads beside the state of all, which stands in :attr:`state` from now on.

    Parameters
    ----------
    state : float32[D + 1, 2]
        Row D is the intercept. It is copied.
    keys : uint32[n]
        The frequent coordinates, distinct, the most frequent first.
    shares : float64[n]
        In what part of all rows each is.
    threads : int
    """

    def __init__(
        self,
        state: npt.NDArray[np.float32],
        keys: npt.NDArray[np.uint32],
        shares: npt.NDArray[np.float64],
        threads: int,
    ) -> None:
        slots = (keys * _ODD) >> np.uint32(_SLOT_SHIFT)
        _, first = np.unique(slots, return_index=True)  # the more frequent one where two have a slot
        first = np.sort(first)[::-1]  # the most frequent ones beside the intercept, which is last
        self._keys = keys[first]
        self._hottest = min(_HOTTEST, len(first)) + 1
        # A step on one row moves the margin of another by the coordinates that both have: a share squared of all rows,
        # each by a step that shrinks with the root of the share.
        weights = np.append(shares[first], 1.0) ** 1.5
        self._weights = float(weights[-self._hottest :].sum()), float(weights[: -self._hottest].sum())
        self._slots = np.full(_SLOTS, _NO_KEY, np.uint32)
        self._slots[slots[first]] = self._keys
        self._rank = np.zeros(_SLOTS, np.uint32)
        self._rank[slots[first]] = np.arange(len(first), dtype=np.uint32)
        count = len(first) + 1  # and the intercept
        apart = -(-count // _LINE_ROWS) * _LINE_ROWS + _LINE_ROWS
        dimension = len(state) - 1
        self._base = dimension + 1 + _LINE_ROWS
        self._room = np.zeros((self._base + apart * (1 + _PARTS * threads), 2), np.float32)
        self.state = self._room[: dimension + 1]
        self.state[:] = state
        self._where = np.append(self._keys.astype(np.int64), dimension)
        firsts = range(self._base + apart, len(self._room), apart)
        self._own, self._theirs, self._changes = (list(firsts[part::_PARTS]) for part in range(_PARTS))
        self._hand_out()

    @staticmethod
    def fits(dimension: int, threads: int) -> bool:
        """Whether every copy can be numbered by uint32."""
        return dimension + (MOST + 3 * _LINE_ROWS) * (1 + _PARTS * threads) < int(_NO_KEY)

    def _part(self, first: int) -> npt.NDArray[np.float32]:
        return self._room[first : first + len(self._where)]

    def _hand_out(self) -> None:
        """All know what :attr:`state` has."""
        self._part(self._base)[:] = self.state[self._where]
        for own, theirs, changes in zip(self._own, self._theirs, self._changes, strict=True):
            self._part(own)[:] = self._part(theirs)[:] = self._part(self._base)
            self._part(changes)[:] = 0

    def renumber(self, rows: Rows, out: npt.NDArray[np.uint32], bounds: list[int]) -> Rows:
        """`rows` with indices, in `out`, of the copy of the thread whose they are: ``bounds[i]`` to ``bounds[i + 1]``.

        `out` may be the indices of `rows` themselves.
        """
        for thread, own in enumerate(self._own):
            part = slice(rows.indptr[bounds[thread]], rows.indptr[bounds[thread + 1]])
            _renumbered(rows.indices[part], self._slots, self._rank, own, out[part])
        return Rows(rows.indptr, out, rows.values, rows.labels)

    def share(self, thread: int) -> Share:
        """What `thread` learns with."""
        own = self._own[thread]
        others = [changes for changes in self._changes if changes != self._changes[thread]]
        places = [self._base, self._theirs[thread], own, len(self._where), self._changes[thread], *others]
        state = self._room[: own + len(self._where)]
        return Share(state, self._room.reshape(-1), np.array(places, np.int64), self._hottest, self._weights)

    def show(self) -> None:
        """:attr:`state` has what was merged so far; threads may be learning."""
        self.state[self._where] = self._part(self._base) + sum(self._part(changes) for changes in self._changes)

    def settle(self) -> None:
        """:attr:`state` has all that every thread has changed. None may be learning."""
        for own, theirs, changes in zip(self._own, self._theirs, self._changes, strict=True):
            self._part(changes)[:] = self._part(own) - self._part(theirs)
        self.show()
        self._hand_out()


@fast
def _renumbered(indices: Any, slots: Any, rank: Any, own: Any, out: Any) -> None:
    base = np.uint32(own)
    for j in range(indices.shape[0]):
        i = indices[j]
        slot = np.uint32(np.uint32(i * _ODD) >> np.uint32(_SLOT_SHIFT))
        copy = np.uint32(base + rank[slot])
        out[j] = copy if slots[slot] == i else i


@inlined
def interval(seen: Any, rate: Any, weight: Any, threads: Any) -> Any:
    """Rows of one thread from one merging to the next of coordinates of this weight, when all have seen `seen`."""
    pull = rate * weight  # 0 where there are no such coordinates
    every = min(0.75 * math.sqrt(seen) / pull, float(LONGEST_ROWS)) if pull > 0 else float(LONGEST_ROWS)
    return max(np.int64(every / threads), 1)


@fast
def _merge(room: Any, places: Any, first: Any, last: Any) -> None:
    """The others may see what this thread has changed in these rows, and its copies have what they have.

    What goes beyond `last`, to fill a quad, is merged a second time or is nobody's.
    """
    base, theirs, own, changes = 2 * places[0], 2 * places[1], 2 * places[2], 2 * places[4]
    for k in range(2 * first, 2 * last, LANES):
        change = held(room, own + k) - held(room, theirs + k)
        hold(room, changes + k, change)
        known = held(room, base + k)
        for other in range(5, places.shape[0]):
            prefetch_to_read(room, min(2 * places[other] + k + _MERGE_AHEAD, room.shape[0] - 1))
            known = known + held(room, 2 * places[other] + k)
        hold(room, theirs + k, known)
        hold(room, own + k, known + change)


@fast
def _meet(room: Any, places: Any, hottest: Any, merged: Any, row: Any, ends: Any, every: Any) -> Any:
    """The hottest are merged at `row`, the others where the thread ends or `every` rows have passed since `merged`.

    Returns the row at which the others were merged last.
    """
    count = places[3]
    _merge(room, places, count - hottest, count)
    if ends or row - merged >= every:
        _merge(room, places, 0, count - hottest)
        return row
    return merged


@fast
def adagrad(
    indptr: Any, indices: Any, values: Any, labels: Any, state: Any, room: Any, places: Any, hottest: Any,
    weights: Any, bias: Any, rate: Any, seen: Any, threads: Any, first: Any, last: Any,
) -> Any:  # fmt: skip
    """:func:`kernels.adagrad` over renumbered rows, without a penalty; `seen` by all before row `first`."""
    loss: Any = 0.0
    none = np.float32(0)
    _merge(room, places, 0, places[3])  # what others did since this thread was here
    row = merged = first
    while row < last:
        so_far = seen + threads * (row - first)
        end = min(row + interval(so_far, rate, weights[0], threads), last)
        loss += kernels.adagrad(
            indptr, indices, values, labels, state, bias, rate, None, none, none, np.uint32(0), np.uint32(1),
            row, end, last,
        )  # fmt: skip
        merged = _meet(room, places, hottest, merged, end, end == last, interval(so_far, rate, weights[1], threads))
        row = end
    return loss


@fast
def ftrl(
    indptr: Any, indices: Any, values: Any, labels: Any, state: Any, room: Any, places: Any, hottest: Any,
    weights: Any, bias: Any, rate: Any, beta: Any, l1: Any, l2: Any, seen: Any, threads: Any, first: Any, last: Any,
) -> Any:  # fmt: skip
    """:func:`kernels.ftrl` over renumbered rows; `seen` by all before row `first`."""
    loss: Any = 0.0
    _merge(room, places, 0, places[3])  # what others did since this thread was here
    row = merged = first
    while row < last:
        so_far = seen + threads * (row - first)
        end = min(row + interval(so_far, rate, weights[0], threads), last)
        loss += kernels.ftrl(indptr, indices, values, labels, state, bias, rate, beta, l1, l2, row, end, last)
        merged = _meet(room, places, hottest, merged, end, end == last, interval(so_far, rate, weights[1], threads))
        row = end
    return loss
