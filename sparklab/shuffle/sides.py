"""The sides of an aggregation: pairs by key from one shuffle, or from a parent that is partitioned alike already."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain, groupby, islice, pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

from sparklab.shuffle.aggregation import LIVE_BYTES_PER_READ, LoosePairs, PairFrame
from sparklab.shuffle.combine import columns_of
from sparklab.shuffle.fetch import Fetch
from sparklab.shuffle.spec import MapLocation, OpenMapOutput, ShuffleInput, ShuffleSpec
from sparklab.shuffle.stable_hash import HashPlacement
from sparklab.shuffle.writer import live_bytes
from sparklab.storage.codec import BatchSize, Frame

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

_FAR_TOO_MANY: Final = 1_000  # times the budget: split into as many files as ever


class Side(Protocol):
    """Pairs of one partition, in order: all at once, or sub-bucket by sub-bucket once they are divided."""

    bytes: int  # as frames, known before the frames are asked for

    def frames(self) -> Iterator[PairFrame]: ...

    def undivided_bytes(self, subs: int) -> int:
        """Of `bytes`, those that ``divide`` would have to take into memory to divide them."""
        ...

    def divide(self, subs: int, hold: bool) -> None:
        """The pairs can be had by sub-bucket. With `hold` the files are read now, in one go, else piece by piece."""
        ...

    def sub_frames(self, sub: int) -> Iterator[PairFrame]: ...

    def sub_bytes(self, sub: int) -> int: ...


class ShuffledSide:
    """One partition's share of every map output of a shuffle, in map order."""

    def __init__(
        self,
        spec: ShuffleSpec,
        index: int,
        shuffle_input: ShuffleInput,
        open_: OpenMapOutput,
        task: TaskContext,
    ) -> None:
        self._index = index
        self._partitions = spec.num_partitions
        self._task = task
        self._fetches = [Fetch(at, open_) for at in shuffle_input.locations if _expected_bytes(at, index)]
        self._parts: list[Fetch | list[LoosePairs]] = []  # in map order, after divide(): files, or what it divided
        self._sub_bytes: list[int] = []
        self.bytes = sum(_expected_bytes(fetch.location, index) for fetch in self._fetches)

    def frames(self) -> Iterator[Frame]:
        return chain.from_iterable(map(self._frames_of, self._fetches))

    def _frames_of(self, fetch: Fetch) -> Iterator[Frame]:
        with fetch:
            for share in fetch.shares(self._index):
                yield from counted(fetch, share[0], share[-1], self._task)

    def undivided_bytes(self, subs: int) -> int:
        locations = (fetch.location for fetch in self._fetches)
        return sum(_expected_bytes(at, self._index) for at in locations if at.output.sub_buckets < subs)

    def divide(self, subs: int, hold: bool) -> None:
        self._sub_bytes = [0] * subs
        for undivided, run in groupby(self._fetches, lambda fetch: fetch.location.output.sub_buckets < subs):
            fetches = list(run)
            if undivided:  # one after the other, so many at once: small map outputs are often very many
                loose = divided(chain.from_iterable(map(self._frames_of, fetches)), self._partitions, subs)
                self._parts.append(loose)
                self._sub_bytes = [had + part.size_bytes for had, part in zip(self._sub_bytes, loose, strict=True)]
                continue
            for fetch in fetches:
                shares = fetch.shares(self._index)
                if hold:
                    fetch.hold([(share[0], share[-1]) for share in shares])
                else:
                    fetch.close()
                self._parts.append(fetch)
                for share in shares:
                    for sub, (start, end) in enumerate(pairwise(share)):
                        self._sub_bytes[sub] += end - start

    def sub_frames(self, sub: int) -> Iterator[PairFrame]:
        for part in self._parts:
            if not isinstance(part, Fetch):
                # let go of as soon as it is read
                loose, part[sub] = part[sub], LoosePairs([], [])
                yield loose
                continue
            for share in part.shares(self._index):
                if share[sub] < share[sub + 1]:
                    yield from counted(part, share[sub], share[sub + 1], self._task)
            if not part.held:
                part.close()

    def sub_bytes(self, sub: int) -> int:
        return self._sub_bytes[sub]


class NarrowSide:
    """The records of a parent's partition that holds the same keys: they need no shuffle.

    Up to `budget_bytes` of them, estimated, are drawn at once, to know what they amount to; where there are more, the
    others are drawn as they are asked for, and `bytes` says that they are far too many.
    """

    def __init__(self, records: Iterator[Any], num_partitions: int, budget_bytes: int) -> None:
        self._partitions = num_partitions
        self._loose: list[LoosePairs] = []
        self._drawn: deque[LoosePairs] = deque()
        self._rest = _loose_pairs(records)
        self.bytes = 0
        for pairs in self._rest:
            self._drawn.append(pairs)
            self.bytes += pairs.size_bytes
            if self.bytes * LIVE_BYTES_PER_READ > budget_bytes:
                self.bytes = budget_bytes * _FAR_TOO_MANY
                break

    def frames(self) -> Iterator[LoosePairs]:
        while self._drawn:
            yield self._drawn.popleft()
        yield from self._rest

    def undivided_bytes(self, subs: int) -> int:
        return self.bytes

    def divide(self, subs: int, hold: bool) -> None:
        self._loose = divided(self.frames(), self._partitions, subs)

    def sub_frames(self, sub: int) -> Iterator[LoosePairs]:
        # let go of as soon as it is read
        loose, self._loose[sub] = self._loose[sub], LoosePairs([], [])
        yield loose

    def sub_bytes(self, sub: int) -> int:
        return self._loose[sub].size_bytes


def _loose_pairs(records: Iterator[Any]) -> Iterator[LoosePairs]:
    size = BatchSize()
    while batch := list(islice(records, size.records)):
        live = live_bytes(batch)
        size.learn(len(batch), live)
        # as a frame, which readers multiply to estimate what it takes in memory
        yield LoosePairs(*columns_of(batch), live // LIVE_BYTES_PER_READ + 1)


def divided(frames: Iterator[PairFrame], partitions: int, subs: int) -> list[LoosePairs]:
    """The pairs of one of `partitions` partitions, in memory, by sub-bucket."""
    parts = [LoosePairs([], []) for _ in range(subs)]
    append_key = [part.keys.append for part in parts]
    append_value = [part.values.append for part in parts]
    place = HashPlacement(partitions * subs)
    total = 0
    for frame in frames:
        total += frame.size_bytes
        keys, values = frame.columns()
        for bucket, k, v in zip(place.many(list(keys)), keys, values, strict=True):
            sub = bucket // partitions
            append_key[sub](k)
            append_value[sub](v)
    records = max(1, sum(len(part.keys) for part in parts))
    return [LoosePairs(part.keys, part.values, total * len(part.keys) // records) for part in parts]


def counted(fetch: Fetch, start: int, end: int, task: TaskContext) -> Iterator[Frame]:
    """Yields the frames at offsets [start, end) of a map output, counted in the task's metrics."""
    metrics, check_cancelled = task.metrics, task.check_cancelled
    metrics.shuffle_bytes_read += end - start
    for frame in fetch.frames(start, end):
        metrics.records_read += frame.records
        yield frame
        check_cancelled()


def _expected_bytes(location: MapLocation, index: int) -> int:
    return int(memoryview(location.output.reduce_bytes).cast("Q")[index])
