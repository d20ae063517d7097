"""Groups whose values need not fit in memory: the longest lists go to disk, and are read from there in order."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, overload

from sparklab import steps
from sparklab.shuffle.spill import SpillFile
from sparklab.storage.codec import dump_frames

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskMetrics

_SPILLED_AT_ONCE: Final = 1_000  # lists looked for at a time, the largest; more go with the next frame


class SpilledValues(Sequence[Any]):
    """The values of one key, most of them on disk: as a list that is read 4 MiB at a time whenever it is gone through.

    Pickling or copying gives a list of them all. Items by index are found by reading up to them.
    """

    __slots__ = ("_count", "_file", "_ranges", "_tail")

    def __init__(self, file: SpillFile, ranges: array[int], count: int, tail: list[Any]) -> None:
        self._file = file
        self._ranges = ranges  # start and end of each stretch of frames
        self._count = count
        self._tail = tail  # the last values, never written

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return chain(chain.from_iterable(frame.rows() for frame in self._frames()), self._tail)

    def _frames(self) -> Iterator[Any]:
        for at in range(0, len(self._ranges), 2):
            yield from self._file.frames(self._ranges[at], self._ranges[at + 1])

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        place = range(self._count)[index]
        for at, value in enumerate(self):
            if at == place:
                return value
        raise AssertionError("a spill file holds fewer values than were written")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | SpilledValues):
            return NotImplemented
        return len(other) == self._count and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def __repr__(self) -> str:
        return f"<{self._count} values, {sum(self._ranges[1::2]) - sum(self._ranges[::2])} bytes of them on disk>"


class Groups:
    """``{key: (values in side 0, values in side 1, ...)}`` within a budget: beyond it the largest lists are spilled.

    The result is the same whatever was spilled: keys by first appearance, side after side, values in input order.

    Parameters
    ----------
    sides : int
    directory : str
        For a file without a name, which lives as long as a list in it.
    budget_bytes : int
        For values in memory, estimated from the bytes of their frames.
    live_bytes_per_read : int
        What a byte of a frame takes in memory.
    metrics : TaskMetrics
        Its ``spilled_bytes`` grow by what is written.
    """

    def __init__(
        self, sides: int, directory: str, budget_bytes: int, live_bytes_per_read: int, metrics: TaskMetrics
    ) -> None:
        self._directory = directory
        self._budget_bytes = budget_bytes // live_bytes_per_read
        self._metrics = metrics
        self._file: SpillFile | None = None
        self._lists: list[dict[Any, list[Any]]] = [{} for _ in range(sides)]
        self._list_bytes: list[dict[Any, int]] = [{} for _ in range(sides)]
        self._ranges: list[dict[Any, array[int]]] = [{} for _ in range(sides)]
        self._counts: list[dict[Any, int]] = [{} for _ in range(sides)]  # of spilled values
        self._held_bytes = 0

    def add(self, side: int, keys: Sequence[Any], values: Sequence[Any], bytes_: int) -> None:
        """The pairs of a frame of `bytes_` bytes are in their groups."""
        lists, list_bytes = self._lists[side], self._list_bytes[side]
        mean = bytes_ // max(1, len(keys)) + 1
        for k, v in zip(keys, values, strict=True):
            if k in lists:
                lists[k].append(v)
                list_bytes[k] += mean
            else:
                lists[k] = [v]
                list_bytes[k] = mean
        self._held_bytes += mean * len(keys)
        if self._held_bytes > self._budget_bytes:
            self._spill()

    def _spill(self) -> None:
        """Half of the budget is free again, as far as the largest lists can bring that about."""
        steps.at("spill")
        sizes = (
            (size, side, key) for side, list_bytes in enumerate(self._list_bytes) for key, size in list_bytes.items()
        )
        for size, side, key in heapq.nlargest(_SPILLED_AT_ONCE, sizes, key=itemgetter(0)):
            if self._held_bytes <= self._budget_bytes // 2 or not size:
                return
            self._write(side, key)
            self._list_bytes[side][key] = 0
            self._held_bytes -= size

    def _write(self, side: int, key: Any) -> None:
        if self._file is None:
            self._file = SpillFile(self._directory)
        values = self._lists[side][key]
        start = self._file.bytes
        self._file.append(dump_frames(values))
        self._metrics.spilled_bytes += self._file.bytes - start
        ranges = self._ranges[side].setdefault(key, array("Q"))
        if ranges and ranges[-1] == start:  # the hot key's alone: one stretch
            ranges[-1] = self._file.bytes
        else:
            ranges.extend((start, self._file.bytes))
        self._counts[side][key] = self._counts[side].get(key, 0) + len(values)
        self._lists[side][key] = []

    def items(self) -> Iterator[tuple[Any, tuple[Sequence[Any], ...]]]:
        """Yields each key once, and lets go of it."""
        sides = range(len(self._lists))
        for key in dict.fromkeys(chain.from_iterable(list(map(list, self._lists)))):
            yield key, tuple([self._taken(side, key) for side in sides])

    def _taken(self, side: int, key: Any) -> Sequence[Any]:
        tail = self._lists[side].pop(key, [])
        ranges = self._ranges[side].pop(key, None)
        if ranges is None:
            return tail
        assert self._file is not None
        return SpilledValues(self._file, ranges, self._counts[side][key] + len(tail), tail)


def grouped(sides: Iterable[Iterator[Any]], groups: Groups) -> Iterator[tuple[Any, tuple[Sequence[Any], ...]]]:
    """Yields the items of `groups` after the frames of all `sides` went into it."""
    for side, frames in enumerate(sides):
        for frame in frames:
            keys, values = frame.columns()
            groups.add(side, keys, values, frame.size_bytes)
    yield from groups.items()
