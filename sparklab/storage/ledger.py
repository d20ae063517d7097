"""The ledger of one executor's blocks: what is held where, what it costs, who is computing it, and what has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sparklab.storage.disk import DiskBlock, DiskTier
from sparklab.storage.memory import BlockId, MemoryBlock, MemoryTier

Block: TypeAlias = MemoryBlock | DiskBlock

_LOOK_S: Final = 0.1  # how often a task that waits for another's block looks whether it was cancelled


@dataclass(frozen=True, slots=True)
class BlockChange:
    """What happened to one block of this store, for the driver to turn into a fact.

    `op` is "stored" (also when a block moved to disk: `tier` says where it is now) or "removed"; `reason` of a
    removal is "evicted", "corrupt" or what the caller of ``drop`` said.
    """

    op: str
    rdd: int
    partition: int
    tier: str  # "memory" | "disk"
    bytes: int
    reason: str = ""
    records: int = -1  # of what was stored; -1 of a removal
    copies: int = 1  # on how many executors the block is to be


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """What a store holds now; memory includes what is reserved for blocks that are being computed."""

    memory_bytes: int
    memory_budget_bytes: int
    disk_bytes: int
    memory_blocks: int
    disk_blocks: int


def _stored(block_id: BlockId, tier: str, block: Block) -> BlockChange:
    copies = block.level.replication
    return BlockChange("stored", *block_id, tier, block.bytes, records=block.records, copies=copies)


class Flight:
    """One computation of a block under way: others who want the block wait for its end."""

    __slots__ = ("dropped", "landed")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.dropped = False  # the block was dropped before it was there: hand it out, do not keep it


class Ledger:
    """Every block is in memory or on disk, in flight, or unknown; each step from one to another is one change.

    Thread-safe; the lock is never held while anything is read, written or computed.
    """

    def __init__(self, disk: DiskTier, memory_budget_bytes: int, may_grow: Callable[[], bool]) -> None:
        self._lock = threading.Lock()
        self._disk = disk
        self._memory = MemoryTier(memory_budget_bytes)
        self._may_grow = may_grow
        self._files: dict[BlockId, DiskBlock] = {}
        self._flights: dict[BlockId, Flight] = {}
        self._changes: list[BlockChange] = []
        self._warnings: dict[str, str] = {}

    # --- finding, claiming ------------------------------------------------------------------------------

    def get(self, block_id: BlockId) -> Block | None:
        """The block where it is held; does not count as use."""
        with self._lock:
            return self._memory.get(block_id, touch=False) or self._files.get(block_id)

    def use_or_claim(self, block_id: BlockId, flight: Flight, check_cancelled: Callable[[], None]) -> Block | None:
        """The block, now the most recently used, or None: then `flight` is the one that computes it.

        Blocks while another flight does.
        """
        while True:
            with self._lock:
                block = self._memory.get(block_id) or self._files.get(block_id)
                if block is not None:
                    return block
                other = self._flights.setdefault(block_id, flight)
                if other is flight:
                    return None
            while not other.landed.wait(_LOOK_S):
                check_cancelled()

    def claim(self, block_id: BlockId, flight: Flight) -> bool:
        """Whether `flight` is now the one that brings the block: nobody has it or is computing it."""
        with self._lock:
            if block_id in self._memory or block_id in self._files:
                return False
            return self._flights.setdefault(block_id, flight) is flight

    def land(self, block_id: BlockId, flight: Flight) -> None:
        """Those who wait for `flight` go on: to the block, or to compute it themselves. Idempotent."""
        with self._lock:
            if self._flights.get(block_id) is flight:
                del self._flights[block_id]
        flight.landed.set()

    # --- keeping ------------------------------------------------------------------------------------------

    def keep_in_memory(self, block_id: BlockId, block: MemoryBlock, flight: Flight) -> None:
        """`block`, whose bytes were reserved, is held, unless it was dropped meanwhile."""
        with self._lock:
            if flight.dropped:
                self._memory.used_bytes -= block.bytes
            else:
                self._memory.add_reserved(block_id, block)
                self._changes.append(_stored(block_id, "memory", block))

    def keep_on_disk(self, block_id: BlockId, block: DiskBlock, flight: Flight) -> None:
        """`block` is held, unless it was dropped meanwhile: then its file is gone."""
        with self._lock:
            if flight.dropped:
                block.remove()
            else:
                self._files[block_id] = block
                self._changes.append(_stored(block_id, "disk", block))

    def discard(self, block_id: BlockId, block: DiskBlock) -> None:
        """`block`, whose file is damaged, is not held any more."""
        with self._lock:
            if self._files.get(block_id) is block:
                del self._files[block_id]
                block.remove()
                self._changes.append(BlockChange("removed", *block_id, "disk", block.bytes, "corrupt"))

    def drop(self, rdd: int, partition: int | None, reason: str) -> list[BlockChange]:
        """The block, or all blocks of `rdd`, are gone; those in flight will not be kept."""
        with self._lock:
            known = {block_id for block_id, _ in self._memory.items()} | self._files.keys() | self._flights.keys()
            changes = []
            for block_id in sorted(known):
                if block_id[0] != rdd or partition not in (None, block_id[1]):
                    continue
                if block_id in self._flights:
                    self._flights[block_id].dropped = True
                in_memory = self._memory.remove(block_id)
                if in_memory is not None:
                    changes.append(BlockChange("removed", *block_id, "memory", in_memory.bytes, reason))
                on_disk = self._files.pop(block_id, None)
                if on_disk is not None:
                    on_disk.remove()
                    changes.append(BlockChange("removed", *block_id, "disk", on_disk.bytes, reason))
            self._changes += changes
        return changes

    # --- room ---------------------------------------------------------------------------------------------

    def reserve(self, rdd: int, bytes_: int) -> bool:
        """Whether `bytes_` more are charged now for a block of `rdd`; older blocks of others may have left for it.

        In a process that may not grow, as many bytes leave as come. Where a block that has to leave finds the disk
        full, it stays and the answer is False.
        """
        may_grow = self._may_grow()
        while True:
            with self._lock:
                self._memory.limit(may_grow)
                if self._memory.fits(bytes_):
                    self._memory.used_bytes += bytes_
                    return True
                victims = self._memory.victims(bytes_, rdd)
                if victims is None:
                    return False
                for _, block in victims:
                    block.leaving = True
            try:
                for block_id, block in victims:
                    if not self._evict(block_id, block):
                        return False
            finally:
                for _, block in victims:
                    block.leaving = False

    def release(self, bytes_: int) -> None:
        """`bytes_` that were reserved are free again."""
        with self._lock:
            self._memory.used_bytes -= bytes_

    def _evict(self, block_id: BlockId, block: MemoryBlock) -> bool:
        """Whether the block has left memory, for the disk where its level says so."""
        on_disk = None
        if block.level.useDisk:
            on_disk = self._disk.store(block_id, block)
            if on_disk is None:
                return False
        with self._lock:
            if self._memory.get(block_id, touch=False) is not block:  # dropped meanwhile
                if on_disk is not None and block_id not in self._files:
                    on_disk.remove()
                return True
            self._memory.remove(block_id)
            if on_disk is None:
                self._changes.append(BlockChange("removed", *block_id, "memory", block.bytes, "evicted"))
            else:
                self._files[block_id] = on_disk
                self._changes.append(_stored(block_id, "disk", on_disk))
        return True

    # --- telling --------------------------------------------------------------------------------------------

    def warn(self, subject: str, message: str) -> None:
        """`message` waits for the driver; a later one on the same subject takes its place."""
        with self._lock:
            self._warnings[subject] = message

    def drain_changes(self) -> list[BlockChange]:
        """Every change since the last call, in order; each is returned once."""
        with self._lock:
            changes, self._changes = self._changes, []
        return changes

    def drain_warnings(self) -> list[tuple[str, str]]:
        """(subject, message) since the last call."""
        with self._lock:
            warnings, self._warnings = self._warnings, {}
        return list(warnings.items())

    def blocks(self) -> list[tuple[int, int, str, int]]:
        """(rdd, partition, tier, bytes) of every block, sorted."""
        with self._lock:
            held = [(*block_id, "memory", block.bytes) for block_id, block in self._memory.items()]
            held += [(*block_id, "disk", block.bytes) for block_id, block in self._files.items()]
        return sorted(held)

    def usage(self) -> StoreUsage:
        with self._lock:
            return StoreUsage(
                self._memory.used_bytes,
                self._memory.budget_bytes,
                sum(block.bytes for block in self._files.values()),
                len(self._memory),
                len(self._files),
            )

    def close(self) -> None:
        """Nothing is held and no file is left; what is in flight will not be kept."""
        with self._lock:
            for block_id, _ in self._memory.items():
                self._memory.remove(block_id)
            for block in self._files.values():
                block.remove()
            self._files.clear()
            for flight in self._flights.values():
                flight.dropped = True
