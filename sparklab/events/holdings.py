"""Who holds what, folded: executors with their caches, persisted RDDs, shuffles."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from sparklab.events import facts as f
from sparklab.events.held import CachedRdd, ExecutorView, ShuffleView
from sparklab.events.work import MAX_PARTITIONS
from sparklab.quantities import size_text

KEPT_SHUFFLES: Final = 1_000
KEPT_CACHES: Final = 1_000
KEPT_NOTES: Final = 50
KEPT_BROUGHT: Final = 10_000  # blocks that one task stores


@dataclass(slots=True)
class Note:
    """A line for people: an eviction, a loss, a warning."""

    time_s: float
    subject: str
    message: str


@dataclass(slots=True)
class Departure:
    """An executor that was lost: when, why, what went with it, and when its successor came (0.0 while none has)."""

    time_s: float
    executor: int
    reason: str
    by_user: bool
    cached_partitions: int
    map_outputs: int
    back_s: float = 0.0


class Brought(NamedTuple):
    """What a task stored before it ended."""

    kind: str  # "cache" | "shuffle"
    subject: int  # RDD or shuffle
    place: int  # partition or map
    again: bool  # it had been there before


def why_lost(reason: str, executor: int) -> str:
    """`reason` of a fact as people say it, after "lost"."""
    return {
        "executor_lost": f"with executor {executor}",
        "dropped": "dropped by hand",
        "missing": f"executor {executor} did not have it any more",
        "corrupt": f"its file on executor {executor} was damaged",
        "fetch_failed": f"executor {executor} did not send it",
    }.get(reason, f.bounded(reason))


def is_partition(index: int) -> bool:
    """Whether `index` can be that of a partition at all."""
    return 0 <= index < MAX_PARTITIONS


def sane_count(count: int) -> int:
    """`count` as a number of partitions that can be."""
    return min(max(count, 0), MAX_PARTITIONS)


class Holdings:
    """The half of :class:`~sparklab.events.views.Views` that knows what is held where.

    Invariant: an executor's ``cache_used_bytes``, ``disk_used_bytes`` and ``cached_partitions`` are the sums over the
    blocks it holds in ``cache``.
    """

    def __init__(self) -> None:
        self.time_s = 0.0
        self.executors: dict[int, ExecutorView] = {}
        self.cache: dict[int, CachedRdd] = {}
        self.shuffles: dict[int, ShuffleView] = {}
        self.evictions: deque[Note] = deque(maxlen=KEPT_NOTES)
        self.losses: deque[Note] = deque(maxlen=KEPT_NOTES)
        self.departures: deque[Departure] = deque(maxlen=KEPT_NOTES)
        # Executor -> what its task has stored so far: such facts stand before that of the task's end.
        self._brought: dict[int, list[Brought]] = {}

    # --- executors --------------------------------------------------------------------------------

    def _executor_added(self, fact: f.ExecutorAdded) -> None:
        before = self.executors.get(fact.executor)
        if before is not None and before.epoch > fact.epoch:
            return
        for gone in self.departures:
            if gone.executor == fact.executor and not gone.back_s:
                gone.back_s = self.time_s
        self._forget_blocks_on(fact.executor)
        self.executors[fact.executor] = ExecutorView(
            fact.executor,
            fact.epoch,
            fact.host,
            fact.pid,
            fact.slots,
            fact.memory_bytes,
            fact.cache_budget_bytes,
            tasks_done=before.tasks_done if before is not None else 0,
        )

    def _executor_lost(self, fact: f.ExecutorLost) -> None:
        self.losses.append(Note(self.time_s, f"executor {fact.executor}", fact.reason))
        executor = self._current(fact.executor, fact.epoch)
        if executor is not None and executor.alive:
            self.departures.append(
                Departure(
                    self.time_s, fact.executor, fact.reason, fact.by_user, fact.cached_partitions, fact.map_outputs
                )
            )
        if executor is not None:
            self._forget_blocks_on(fact.executor)
            executor.alive, executor.reason, executor.running = False, fact.reason, 0
        self._brought.pop(fact.executor, None)

    def _current(self, number: int, epoch: int) -> ExecutorView | None:
        """The executor, if it is this incarnation of it."""
        executor = self.executors.get(number)
        return executor if executor is not None and executor.epoch == epoch else None

    def _is_stale(self, number: int, epoch: int) -> bool:
        """Whether a fact speaks of an incarnation that has been replaced."""
        executor = self.executors.get(number)
        return executor is not None and executor.epoch > epoch

    def _note_brought(self, executor: int, what: Brought) -> None:
        brought = self._brought.setdefault(executor, [])
        if len(brought) < KEPT_BROUGHT:
            brought.append(what)

    # --- caches -----------------------------------------------------------------------------------

    def _rdd_persisted(self, fact: f.RddPersisted) -> None:
        cached = self.cache.get(fact.rdd)
        if cached is not None:
            cached.name, cached.level, cached.call_site = fact.name, fact.level, fact.call_site
            cached.partitions = max(cached.partitions, sane_count(fact.partitions))
            return
        self.cache[fact.rdd] = CachedRdd(fact.rdd, fact.name, fact.call_site, fact.level, sane_count(fact.partitions))
        if len(self.cache) > KEPT_CACHES:
            empty = (number for number, one in self.cache.items() if not one.blocks and number != fact.rdd)
            self._forget_cache(next(empty, next(iter(self.cache))))

    def _rdd_unpersisted(self, fact: f.RddUnpersisted) -> None:
        if fact.rdd in self.cache:
            self._forget_cache(fact.rdd)

    def _forget_cache(self, rdd: int) -> None:
        cached = self.cache[rdd]
        for partition in list(cached.blocks):
            for executor in list(cached.blocks[partition]):
                self._take_block(cached, partition, executor)
        del self.cache[rdd]

    def _block_stored(self, fact: f.BlockStored) -> None:
        cached = self.cache.get(fact.rdd)
        # A block that only moves, to disk or from another executor, was not computed.
        if not fact.copied and (cached is None or fact.executor not in cached.blocks.get(fact.partition, ())):
            self._note_brought(fact.executor, Brought("cache", fact.rdd, fact.partition, fact.recomputed))
        if cached is None or not is_partition(fact.partition) or self._is_stale(fact.executor, fact.epoch):
            return  # a task that began before unpersist() may tell of blocks that are thrown away at once
        self._take_block(cached, fact.partition, fact.executor)
        cached.blocks.setdefault(fact.partition, {})[fact.executor] = (fact.tier, fact.bytes)
        cached.lost.pop(fact.partition, None)
        cached.evicted.discard(fact.partition)
        if fact.records >= 0:
            cached.records[fact.partition] = fact.records
        if fact.recomputed:
            cached.recomputed.add(fact.partition)
        executor = self.executors.get(fact.executor)
        if executor is not None:
            executor.count(fact.tier, fact.bytes, 1)

    def _take_block(self, cached: CachedRdd, partition: int, number: int) -> None:
        """Executor `number` holds the block no more."""
        holders = cached.blocks.get(partition, {})
        held = holders.pop(number, None)
        if held is None:
            return
        if not holders:
            del cached.blocks[partition]
        executor = self.executors.get(number)
        if executor is not None:
            tier, size_bytes = held
            executor.count(tier, -size_bytes, -1)

    def _block_removed(self, fact: f.BlockRemoved) -> None:
        cached = self.cache.get(fact.rdd)
        if cached is None or not is_partition(fact.partition) or self._is_stale(fact.executor, fact.epoch):
            return
        self._take_block(cached, fact.partition, fact.executor)
        if fact.reason not in ("unpersisted", "evicted"):
            self._note_lost(cached, fact.partition, why_lost(fact.reason, fact.executor))
        if fact.reason == "evicted":
            if fact.partition not in cached.blocks and fact.partition not in cached.lost:
                cached.evicted.add(fact.partition)
                cached.recomputed.discard(fact.partition)
            text = f"evicted {cached.name}[{fact.partition}], {size_text(fact.bytes)}, LRU"
            self.evictions.append(Note(self.time_s, cached.name, text))

    @staticmethod
    def _note_lost(cached: CachedRdd, partition: int, why: str) -> None:
        if partition not in cached.blocks and partition not in cached.evicted:
            cached.lost.setdefault(partition, why)
            cached.recomputed.discard(partition)

    def _forget_blocks_on(self, number: int) -> None:
        """What the executor held is lost with it."""
        for cached in self.cache.values():
            for partition in [p for p, holders in cached.blocks.items() if number in holders]:
                self._take_block(cached, partition, number)
                self._note_lost(cached, partition, why_lost("executor_lost", number))

    # --- shuffles ---------------------------------------------------------------------------------

    def _shuffle(self, shuffle: int) -> ShuffleView:
        """The shuffle, which is now the one touched last; that touched longest ago goes when there are too many."""
        view = self.shuffles.pop(shuffle, None) or ShuffleView(shuffle)
        self.shuffles[shuffle] = view
        if len(self.shuffles) > KEPT_SHUFFLES:
            oldest = next(iter(self.shuffles))
            del self.shuffles[oldest]
        return view

    def _map_output_stored(self, fact: f.MapOutputStored) -> None:
        if fact.recomputed:
            self._note_brought(fact.executor, Brought("shuffle", fact.shuffle, fact.map, True))
        if not is_partition(fact.map) or self._is_stale(fact.executor, fact.epoch):
            return
        shuffle = self._shuffle(fact.shuffle)
        _, before_bytes = shuffle.outputs.get(fact.map, (0, 0))
        shuffle.bytes += fact.bytes - before_bytes
        shuffle.outputs[fact.map] = (fact.executor, fact.bytes)
        shuffle.lost.pop(fact.map, None)
        if fact.recomputed:
            shuffle.recomputed.add(fact.map)

    def _map_output_lost(self, fact: f.MapOutputLost) -> None:
        if not is_partition(fact.map):
            return
        shuffle = self._shuffle(fact.shuffle)
        _, before_bytes = shuffle.outputs.pop(fact.map, (0, 0))
        shuffle.bytes -= before_bytes
        shuffle.lost[fact.map] = why_lost(fact.reason, fact.executor)
        shuffle.recomputed.discard(fact.map)
