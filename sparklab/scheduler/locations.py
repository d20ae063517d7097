"""Where things are: cached blocks and map outputs, by executor and epoch. The driver's only memory of placement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparklab.shuffle.spec import MapLocation, MapOutput, ShuffleInput, ShuffleSpec


@dataclass(slots=True)
class BlockRegistry:
    """Cached partitions of RDDs. Remembers which were held once and lost, so that recomputation can be counted."""

    # RDD -> partition -> executor -> (tier, bytes, the task number at which it was booked)
    _where: dict[int, dict[int, dict[int, tuple[str, int, int]]]] = field(default_factory=dict)
    _lost: dict[int, set[int]] = field(default_factory=dict)
    _doubted: dict[int, set[int]] = field(default_factory=dict)  # RDD -> executors that may hold more than is known
    _copies: dict[int, int] = field(default_factory=dict)  # RDD -> on how many executors its blocks are to be
    _counts: Counter[int] = field(default_factory=Counter)  # executor -> blocks
    lacking: dict[tuple[int, int], None] = field(default_factory=dict)  # blocks that may have too few copies, in order

    def is_cached(self, rdd: int, partition: int) -> bool:
        return bool(self._where.get(rdd, {}).get(partition))

    def executors(self, rdd: int, partition: int) -> Sequence[int]:
        return tuple(self._where.get(rdd, {}).get(partition, ()))

    def rdds(self) -> Collection[int]:
        """Ids of the RDDs of which blocks are cached."""
        return self._where.keys()

    def has_any(self, rdd: int) -> bool:
        return bool(self._where.get(rdd))

    def on(self, executor: int) -> list[tuple[int, int]]:
        """(rdd, partition) of the blocks that `executor` holds."""
        return [
            (rdd, partition)
            for rdd, parts in self._where.items()
            for partition, holders in parts.items()
            if executor in holders
        ]

    def copies_of(self, rdd: int) -> int:
        """On how many executors a block of `rdd` is to be."""
        return self._copies.get(rdd, 1)

    def want(self, rdd: int, partition: int, copies: int) -> None:
        """Blocks of `rdd` are to be on `copies` executors, and this one may not be yet."""
        self._copies[rdd] = copies
        self.look_at(rdd, partition)

    def look_at(self, rdd: int, partition: int) -> None:
        """The block may lack copies."""
        if self.is_cached(rdd, partition):
            self.lacking[rdd, partition] = None

    def look_at_replicated(self) -> None:
        """Every block that is to be on several executors, and is not, may lack copies."""
        for rdd, copies in self._copies.items():
            for partition, holders in self._where.get(rdd, {}).items():
                if len(holders) < copies:
                    self.lacking[rdd, partition] = None

    def count_on(self, executor: int) -> int:
        return self._counts[executor]

    def held_by(self, executor: int, rdd: int) -> int:
        return sum(executor in holders for holders in self._where.get(rdd, {}).values())

    def store(self, rdd: int, partition: int, executor: int, tier: str, size_bytes: int, since: int = 0) -> bool:
        """Remember the block; True when it had been held before and lost: it was recomputed.

        Tasks numbered `since` or above were sent after it was known.
        """
        holders = self._where.setdefault(rdd, {}).setdefault(partition, {})
        self._counts[executor] += executor not in holders
        holders[executor] = (tier, size_bytes, since)
        lost = self._lost.get(rdd)
        if lost and partition in lost:
            lost.discard(partition)
            return True
        return False

    def remove(self, rdd: int, partition: int, executor: int) -> int:
        """Forget one copy. Returns its size in bytes (0 when it was not known)."""
        holders = self._where.get(rdd, {}).get(partition)
        if holders is None or executor not in holders:
            return 0
        _, size_bytes, _ = holders.pop(executor)
        self._counts[executor] -= 1
        if not holders:
            del self._where[rdd][partition]
            self._lost.setdefault(rdd, set()).add(partition)
        return size_bytes

    def doubt(self, rdd: int, partition: int, executor: int, task: int) -> int | None:
        """Forget a copy that `task` did not find, unless it was booked after the task was sent. Returns its bytes."""
        known = self._where.get(rdd, {}).get(partition, {}).get(executor)
        if known is None or known[2] > task:
            return None
        self._doubted.setdefault(rdd, set()).add(executor)
        return self.remove(rdd, partition, executor)

    def remove_executor(self, executor: int) -> Iterator[tuple[int, int, int]]:
        """Forget all copies on `executor`: yields (rdd, partition, bytes) of each."""
        for rdd, partition in self.on(executor):
            yield rdd, partition, self.remove(rdd, partition, executor)

    def was_lost(self, rdd: int, partition: int) -> bool:
        return partition in self._lost.get(rdd, ())

    def forget_rdd(self, rdd: int) -> set[int]:
        """Forget all blocks of `rdd` for good (unpersist). Returns the executors that hold some, or may."""
        self._lost.pop(rdd, None)
        self._copies.pop(rdd, None)
        for block in [block for block in self.lacking if block[0] == rdd]:
            del self.lacking[block]
        parts = self._where.pop(rdd, {})
        doubted = self._doubted.pop(rdd, set())
        held = Counter(executor for holders in parts.values() for executor in holders)
        self._counts.subtract(held)
        return doubted.union(held)


@dataclass(slots=True)
class ShuffleOutputs:
    """The map outputs of one shuffle."""

    spec: ShuffleSpec
    locations: list[MapLocation | None]
    ever: bytearray  # 1 where the map output has been there once
    since: list[int]  # the task number at which each was booked
    wrote: set[int] = field(default_factory=set)  # executors that may have files of it, also such as nobody reads
    bounds: Sequence[Any] | None = None  # of an ordered shuffle, fixed when all maps were there for the first time

    def missing(self) -> list[int]:
        return [i for i, location in enumerate(self.locations) if location is None]

    @property
    def complete(self) -> bool:
        return None not in self.locations


@dataclass(slots=True)
class MapOutputTracker:
    """All shuffles' map outputs. A stale one (older epoch) never enters."""

    shuffles: dict[int, ShuffleOutputs] = field(default_factory=dict)

    def ensure(self, spec: ShuffleSpec) -> ShuffleOutputs:
        outputs = self.shuffles.get(spec.shuffle_id)
        if outputs is None:
            outputs = ShuffleOutputs(spec, [None] * spec.num_maps, bytearray(spec.num_maps), [0] * spec.num_maps)
            self.shuffles[spec.shuffle_id] = outputs
        return outputs

    def complete(self, shuffle: int) -> bool:
        outputs = self.shuffles.get(shuffle)
        return outputs is not None and outputs.complete

    def store(self, output: MapOutput, executor: int, epoch: int, address: str, host: str, since: int = 0) -> bool:
        """Remember a map output; True when it had been there before and was lost: it was recomputed.

        Tasks numbered `since` or above were sent after it was known.
        """
        outputs = self.shuffles[output.shuffle_id]
        outputs.since[output.map_index] = since
        outputs.locations[output.map_index] = MapLocation(output, executor, epoch, address, host)
        outputs.wrote.add(executor)
        again = bool(outputs.ever[output.map_index])
        outputs.ever[output.map_index] = 1
        return again

    def remove(self, shuffle: int, map_index: int, executor: int, epoch: int, task: int | None = None) -> bool:
        """Forget one map output if it is still where the caller says. A stale report changes nothing.

        It is stale also where the output was booked after `task`, which reports it, was sent.
        """
        outputs = self.shuffles.get(shuffle)
        location = outputs.locations[map_index] if outputs is not None else None
        if outputs is None or location is None or (location.executor, location.epoch) != (executor, epoch):
            return False
        if task is not None and outputs.since[map_index] > task:
            return False
        outputs.locations[map_index] = None
        return True

    def remove_executor(self, executor: int, epoch: int, task: int | None = None) -> Iterator[tuple[int, int]]:
        """Forget all outputs of one incarnation, booked before `task` was sent: yields (shuffle, map) of each."""
        for shuffle, outputs in self.shuffles.items():
            for i, location in enumerate(outputs.locations):
                if location is None or (location.executor, location.epoch) != (executor, epoch):
                    continue
                if task is None or outputs.since[i] <= task:
                    outputs.locations[i] = None
                    yield shuffle, i

    def input_of(self, shuffle: int) -> ShuffleInput:
        """What a reduce stage needs. Only for complete shuffles."""
        outputs = self.shuffles[shuffle]
        return ShuffleInput(tuple(location for location in outputs.locations if location is not None), outputs.bounds)

    def forget(self, shuffle: int) -> set[int]:
        """Forget the shuffle for good. Returns the executors that may hold files of it."""
        outputs = self.shuffles.pop(shuffle, None)
        return outputs.wrote if outputs is not None else set()
