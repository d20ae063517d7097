"""What is held where, as folded: executors, persisted RDDs and shuffles. Sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparklab.events import states


@dataclass(slots=True)
class ExecutorView:
    """An executor, in its newest incarnation."""

    executor: int
    epoch: int
    host: str
    pid: int
    slots: int
    memory_bytes: int
    cache_budget_bytes: int
    alive: bool = True
    cache_used_bytes: int = 0  # in memory
    disk_used_bytes: int = 0
    cached_partitions: int = 0
    tasks_done: int = 0  # by all incarnations
    running: int = 0  # tasks handed to it that have not ended
    reason: str = ""  # why it was lost, "" while it lives

    def count(self, tier: str, size_bytes: int, blocks: int) -> None:
        """`blocks` more (or fewer) blocks in `tier`, `size_bytes` more (or less)."""
        self.cached_partitions += blocks
        if tier == "memory":
            self.cache_used_bytes += size_bytes
        else:
            self.disk_used_bytes += size_bytes


@dataclass(slots=True)
class CachedRdd:
    """A persisted RDD: which executor holds which partition, in which tier, in how many bytes.

    Attributes
    ----------
    blocks : dict
        Partition -> executor -> (tier, bytes); only partitions that are held.
    lost : dict of int to str
        Partitions that were held and went with an executor, by hand or with a damaged file -> why, as people say it.
    evicted : set of int
        Partitions that left for lack of room: not cached, and nothing was lost.
    recomputed : set of int
        Partitions that are held again after they were lost or evicted.
    records : dict of int to int
        Partition -> records, as counted when it was stored; known still when it is held no more.
    """

    rdd: int
    name: str
    call_site: str
    level: str
    partitions: int
    blocks: dict[int, dict[int, tuple[str, int]]] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    evicted: set[int] = field(default_factory=set)
    recomputed: set[int] = field(default_factory=set)
    records: dict[int, int] = field(default_factory=dict)

    def states(self) -> str:
        """One byte per partition."""
        count = max(self.partitions, max(self.blocks, default=-1) + 1, max(self.lost, default=-1) + 1)
        return "".join(map(self.state, range(count)))

    def state(self, partition: int) -> str:
        """Waiting (not held, or evicted), held in memory, on disk or twice, or lost."""
        holders = self.blocks.get(partition)
        if not holders:
            return states.LOST if partition in self.lost else states.WAITING
        if len(holders) > 1:
            return states.COPIES
        ((tier, _),) = holders.values()
        return states.MEMORY if tier == "memory" else states.DISK

    @property
    def held(self) -> int:
        """Partitions that are held."""
        return len(self.blocks)

    def bytes(self, tier: str) -> int:
        """Bytes of all copies in `tier`."""
        return sum(size for holders in self.blocks.values() for kind, size in holders.values() if kind == tier)


@dataclass(slots=True)
class ShuffleView:
    """A shuffle's map outputs: map -> (executor, bytes) of those present, why others were lost, which were remade."""

    shuffle: int
    bytes: int = 0
    outputs: dict[int, tuple[int, int]] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    recomputed: set[int] = field(default_factory=set)
    maps: int = 0
