"""Counting strings, and adding up the numbers that belong to them, in columns: a third of what a dict takes.

A dict of a hundred thousand strings misses the processor's cache at every look; a table of fixed-size entries over one
stretch of text does not. Strings and sums come in the order in which a dict would have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xxhash import xxh3_64_intdigest

from sparklab.shuffle.order import numbers_in_order
from sparklab.storage.codec import BATCH_RECORDS, FRAME_LIMIT_BYTES, Frame, dump_tally
from sparklab.storage.tallies import joined

if TYPE_CHECKING:
    import numpy as np

_WORTH_TALLY: Final = 50_000  # records of one task; below, importing Arrow costs more than it saves
_COUNTED_AT_ONCE_BYTES: Final = 8 << 20
LARGEST_BYTES: Final = 1 << 28  # of the text: its offsets are of 32 bits
_LARGEST_FRAME_BYTES: Final = 2 * FRAME_LIMIT_BYTES
_LARGEST_ARRAY_BYTES: Final = (1 << 31) - 1  # the end of its text is of 32 bits
_EXACT: Final = 1 << 53  # sums below it are exact in floating point


class Tally(NamedTuple):
    """Strings, an Arrow array without nulls, and a number for each, an array of int64."""

    strings: Any
    numbers: np.ndarray

    @property
    def nbytes(self) -> int:
        """What both take."""
        return int(self.strings.nbytes + self.numbers.nbytes)

    def lists(self) -> tuple[list[str], list[int]]:
        """Both as Python's objects."""
        return self.strings.to_pylist(), self.numbers.tolist()


def tally_of(keys: list[Any], values: list[Any]) -> Tally | None:
    """The tally of `keys` and `values`; None where they are not all str and int of 64 bits."""
    if set(map(type, keys)) != {str} or set(map(type, values)) != {int}:
        return None
    import numpy as np

    strings = _array(keys)
    try:
        return None if strings is None else Tally(strings, np.fromiter(values, np.int64, len(values)))
    except OverflowError:
        return None


class Counting:
    """How often each string was added, in order of first appearance.

    Parameters
    ----------
    times : int
        What each string counts.
    """

    def __init__(self, times: int) -> None:
        self._times = times
        self._fresh: list[Any] = []
        self._fresh_bytes = 0
        self._counted: list[Tally] = []  # the first is the largest

    @property
    def nbytes(self) -> int:
        """What is held."""
        return self._fresh_bytes + sum(tally.nbytes for tally in self._counted)

    def add(self, strings: list[Any]) -> int | None:
        """All `strings` count once more; returns their bytes. None, and nothing has changed: not all are plain str."""
        if set(map(type, strings)) != {str}:
            return None
        array = _array(strings)
        if array is None:
            return None
        self._fresh.append(array)
        self._fresh_bytes += array.nbytes
        if self._fresh_bytes >= _COUNTED_AT_ONCE_BYTES:
            self._count()
        return int(array.nbytes)

    def _count(self) -> None:
        if self._fresh:
            self._counted.append(_summed(self._fresh, None))
            self._fresh, self._fresh_bytes = [], 0
        # what was counted later goes into the first when there is as much of it
        if sum(len(tally.strings) for tally in self._counted[1:]) >= len(self._counted[0].strings):
            self._merge()

    def _merge(self) -> None:
        if len(self._counted) > 1:
            strings, numbers = zip(*self._counted, strict=True)
            self._counted = [_summed(strings, numbers)]

    def take(self) -> Tally | None:
        """What was counted; nothing is, from now on. None where nothing was."""
        if not self._fresh and not self._counted:
            return None
        self._count()
        self._merge()
        (counted,), self._counted = self._counted, []
        return Tally(counted.strings, counted.numbers * self._times)


def spread(tally: Tally, buckets: int) -> list[tuple[int, bytes]]:
    """Frames of `tally`, each with its bucket: ``stable_hash % buckets``, in their order in each.

    Buckets without strings have none.
    """
    import numpy as np

    bucket = np.empty(len(tally.strings), np.uint16)
    for at in range(0, len(bucket), BATCH_RECORDS):
        some = tally.strings.slice(at, BATCH_RECORDS).to_pylist()
        hashes = np.fromiter(map(xxh3_64_intdigest, map(str.encode, some)), np.uint64, len(some))
        bucket[at : at + len(some)] = hashes % np.uint64(buckets)
    order = bucket.argsort(kind="stable")
    bounds = np.searchsorted(bucket[order], np.arange(buckets + 1)).tolist()
    strings = _in_order(tally.strings, order)
    numbers = tally.numbers[order]
    offsets, text = _parts(strings)
    frames = []
    for b, (start, end) in enumerate(pairwise(bounds)):
        if start < end:
            first, last = int(offsets[start]), int(offsets[end])
            ends = offsets[start + 1 : end + 1] - offsets[start]
            frames.append((b, dump_tally(ends, text[first:last], numbers[start:end])))
    return frames


def ordered(keys: list[Any], values: list[Any], ascending: bool, at_once: int) -> tuple[np.ndarray, Tally] | None:
    """The positions of the pairs in the order of `keys`, and `values` with them as a tally in that order.

    None where the keys are not all int of 64 bits or the values not all str, where there are too few of them, or where
    some `at_once` in a row would be too large for a frame.
    """
    if len(keys) < _WORTH_TALLY or type(keys[0]) is not int or set(map(type, values)) != {str}:
        return None
    sorted_ = numbers_in_order(keys, ascending)
    strings = None if sorted_ is None or sorted_[0].dtype.kind != "i" else _array(values)
    if sorted_ is None or strings is None:
        return None
    numbers, order = sorted_
    strings = _in_order(strings, order)
    offsets = _parts(strings)[0]
    bounds = [*offsets[::at_once].tolist(), int(offsets[-1])]
    if any(end - start > _LARGEST_FRAME_BYTES for start, end in pairwise(bounds)):
        return None
    return order, Tally(strings, numbers[order])


def slices(tally: Tally, size: int) -> Iterator[bytes]:
    """Yields frames of `size` pairs in their order, the numbers being the keys."""
    offsets, text = _parts(tally.strings)
    for start in range(0, len(tally.numbers), size):
        end = min(start + size, len(tally.numbers))
        first, last = int(offsets[start]), int(offsets[end])
        ends = offsets[start + 1 : end + 1] - offsets[start]
        yield dump_tally(ends, text[first:last], tally.numbers[start:end], numbers_first=True)


def added_up(frames: Sequence[Any]) -> Tally | None:
    """The sum for each string of `frames`, strings by first appearance; None where lists have to be made instead."""
    if not all(type(frame) is Frame and frame.is_tally for frame in frames):
        return None
    import numpy as np

    if sum(frame.size_bytes for frame in frames) > LARGEST_BYTES:
        return None
    strings, numbers = joined([(frame.records, frame.body) for frame in frames])
    if float(np.abs(numbers.astype(np.float64)).sum()) >= _EXACT:
        return None
    return _summed([strings], [numbers])


def _summed(strings: Sequence[Any], numbers: Sequence[np.ndarray] | None) -> Tally:
    """The sums of `numbers`, or without them the counts, for each of `strings`."""
    import numpy as np
    from pyarrow import lib

    encoded = _called("dictionary_encode", lib.concat_arrays(strings, lib.system_memory_pool()))
    indices = encoded.indices  # whose to_numpy would import pandas
    places = np.frombuffer(indices.buffers()[1], np.int32)[indices.offset : indices.offset + len(indices)]
    weights = None if numbers is None else np.concatenate(numbers)
    sums = np.bincount(places, weights, minlength=len(encoded.dictionary))
    return Tally(encoded.dictionary, sums.astype(np.int64, copy=False))


def _array(strings: list[Any]) -> Any:
    """An Arrow array; None where Arrow cannot hold them.

    Made of its parts: Arrow's own way imports pandas where that is installed, 40 MiB and a quarter of a second for each
    process, and is no faster.
    """
    import numpy as np
    from pyarrow import lib

    text = "".join(strings)
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return None
    if len(data) > _LARGEST_ARRAY_BYTES:
        return None
    as_bytes = strings if len(data) == len(text) else map(str.encode, strings)
    offsets = np.zeros(len(strings) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, as_bytes), np.int32, len(strings)), out=offsets[1:])
    return lib.StringArray.from_buffers(len(strings), lib.py_buffer(offsets), lib.py_buffer(data))


def _in_order(strings: Any, order: np.ndarray) -> Any:
    import numpy as np
    from pyarrow import lib

    places = lib.py_buffer(np.ascontiguousarray(order, np.int64))
    return _called("take", strings, lib.Array.from_buffers(lib.int64(), len(order), [None, places]))


def _called(name: str, *arguments: Any) -> Any:
    """What Arrow's function `name` gives, in memory that goes back to the system when it is freed."""
    from pyarrow import _compute, lib

    return _compute.call_function(name, list(arguments), None, lib.system_memory_pool())


def _parts(strings: Any) -> tuple[np.ndarray, memoryview]:
    import numpy as np

    _, offsets, text = strings.buffers()
    first = strings.offset
    return np.frombuffer(offsets, np.int32)[first : first + len(strings) + 1], memoryview(text or b"")
