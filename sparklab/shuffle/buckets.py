"""Buckets of a hash shuffle: pairs placed by key, held in columns, packed into frames while they are still warm.

With an aggregator, each reduce partition is divided further into sub-buckets by the same hash. A reduce task then
aggregates one after the other, in dicts that fit the processor's cache: on large inputs two to three times as fast
as one dict, and in a fraction of the memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Final

from sparklab.errors import SparklabError
from sparklab.shuffle.files import OutputFile
from sparklab.shuffle.spec import ShuffleSpec
from sparklab.shuffle.stable_hash import HashPlacement
from sparklab.shuffle.tally import Tally, spread, tally_of
from sparklab.storage.codec import BATCH_RECORDS, dump_pairs

_MOST_BUCKETS: Final = 256
_MOST_SUB_BUCKETS: Final = 32
_WARM_RECORDS: Final = 32_768  # in all buckets together: about what the second-level cache holds
_SMALLEST_FRAME: Final = 250  # records; below, headers and calls outweigh what warmth saves
_LARGEST_FRAME: Final = 2_000
_WORTH_DIVIDING: Final = 1_000  # records for each reduce partition in one map task


def sub_buckets(spec: ShuffleSpec) -> int:
    """Into how many sub-buckets each reduce partition is divided: a power of two, from the spec alone."""
    if spec.aggregator is None or not isinstance(spec.partition_of, HashPlacement):
        return 1
    parts = 1
    while parts < _MOST_SUB_BUCKETS and 2 * parts * spec.num_partitions <= _MOST_BUCKETS:
        parts *= 2
    return parts


class Buckets:
    """The pairs of one map task by reduce partition and sub-bucket, in the order in which they came.

    Holds columns of what is not packed yet, and frames; ``flush`` writes both as one segment.
    """

    def __init__(self, spec: ShuffleSpec, out: OutputFile) -> None:
        self._out = out
        self._spec = spec
        self._n = spec.num_partitions
        self.packed_bytes = 0
        self.records = 0
        self.offsets = array("Q")
        # Few records need no sub-buckets, and arrive in their own order without: the first wait for more to come.
        self._waiting: list[tuple[list[Any], list[Any]]] = []
        self._undecided = sub_buckets(spec) > 1
        self._divide(1)

    def _divide(self, subs: int) -> None:
        """What comes from now on is divided into `subs` sub-buckets a partition."""
        self.subs = subs
        count = self._n * subs
        self._place = placement(self._spec, count)
        self._keys: list[list[Any]] = [[] for _ in range(count)]
        self._values: list[list[Any]] = [[] for _ in range(count)]
        self._append_key = [column.append for column in self._keys]
        self._append_value = [column.append for column in self._values]
        self._frames: list[list[bytes]] = [[] for _ in range(count)]
        self._frame_records = max(_SMALLEST_FRAME, min(_LARGEST_FRAME, _WARM_RECORDS // count))

    def add(self, keys: list[Any], values: list[Any]) -> None:
        """The pairs of `keys` and `values` are held; buckets that have become long enough are packed."""
        self.records += len(keys)
        if not self._undecided:
            self._add(keys, values)
            return
        self._waiting.append((keys, values))
        if self.records >= _WORTH_DIVIDING * self._n:
            self._decide(sub_buckets(self._spec))

    def tally_of(self, keys: list[Any], values: list[Any]) -> Tally | None:
        """The pairs as add_tally() takes them, where it can place them."""
        return tally_of(keys, values) if sub_buckets(self._spec) > 1 else None

    def add_tally(self, tally: Tally) -> None:
        """The pairs of `tally` are held, packed already where there are enough of them."""
        if self._undecided and self.records + len(tally.numbers) < _WORTH_DIVIDING * self._n:
            self.add(*tally.lists())
            return
        self.pack()  # what came before stays before
        self.records += len(tally.numbers)
        for b, frame in spread(tally, self._n * self.subs):
            self._frames[b].append(frame)
            self.packed_bytes += len(frame)

    def _decide(self, subs: int) -> None:
        """What waited is in buckets."""
        if self._undecided:
            self._undecided = False
            self._divide(subs)
            for keys, values in self._waiting:
                self._add(keys, values)
            self._waiting.clear()

    def _add(self, keys: list[Any], values: list[Any]) -> None:
        append_key, append_value = self._append_key, self._append_value
        for b, k, v in zip(self._place(keys), keys, values, strict=True):
            append_key[b](k)
            append_value[b](v)
        enough = self._frame_records
        for b, column in enumerate(self._keys):
            if len(column) >= enough:
                self._pack(b)

    def pack(self) -> None:
        """Everything held is packed."""
        self._decide(sub_buckets(self._spec))
        for b, column in enumerate(self._keys):
            if column:
                self._pack(b)

    def _pack(self, b: int) -> None:
        keys, values = self._keys[b], self._values[b]
        for start in range(0, len(keys), BATCH_RECORDS):
            frames = dump_pairs(keys[start : start + BATCH_RECORDS], values[start : start + BATCH_RECORDS])
            self._frames[b] += frames
            self.packed_bytes += sum(map(len, frames))
        keys.clear()
        values.clear()

    def flush(self, last: bool) -> int:
        """All that is held stands in the file as one segment; returns its bytes."""
        if last:
            self._decide(1)
        self.pack()
        start = self._out.bytes
        self.offsets.append(start)
        # partition by partition, and in each its sub-buckets: one reduce task's share is one range of the file
        for p in range(self._n):
            for b in range(p, self._n * self.subs, self._n):
                for one in self._frames[b]:
                    self._out.append(one)
                self._frames[b].clear()
                self.offsets.append(self._out.bytes)
        self.packed_bytes = 0
        return self._out.bytes - start

    def reduce_bytes(self) -> bytes:
        """The bytes of each reduce partition over all segments, as an ``array('Q')``."""
        totals = array("Q", bytes(8 * self._n))
        per_segment = self._n * self.subs + 1
        for base in range(0, len(self.offsets), per_segment):
            for p in range(self._n):
                first = base + p * self.subs
                totals[p] += self.offsets[first + self.subs] - self.offsets[first]
        return totals.tobytes()


def placement(spec: ShuffleSpec, count: int) -> Callable[[list[Any]], list[int]]:
    """A function from a batch of keys to buckets in range(`count`), bucket modulo the partitions being the partition.

    A partition function of the user's own is called for each key and its answers are checked.
    """
    partition_of, n = spec.partition_of, spec.num_partitions
    if isinstance(partition_of, HashPlacement):
        return HashPlacement(count).many

    def place(keys: list[Any]) -> list[int]:
        places = list(map(partition_of, keys))
        if places and not (set(map(type, places)) <= {int, bool} and min(places) >= 0 and max(places) < n):
            for key, p in zip(keys, places, strict=True):
                if type(p) not in (int, bool) or not 0 <= p < n:
                    raise SparklabError(
                        f"placing a key of type {type(key).__qualname__} in one of {n} partitions",
                        f"the partition function returned {p!r}"[:200],
                        f"return an int from 0 to {n - 1}",
                    )
        return places

    return place
