"""The memory tier: cached batches in order of use, and the bytes they are charged for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from typing import Final, TypeAlias

from sparklab.storage.level import StorageLevel
from sparklab.storage.representation import Held

BlockId: TypeAlias = tuple[int, int]  # RDD, partition
SERIALS: Final = count(1)  # of the forms of blocks in this process: who copies in parts must not mix two of them


class MemoryBlock:
    """One partition's batches in memory."""

    __slots__ = ("batches", "bytes", "leaving", "level", "records", "serial")

    def __init__(self, batches: Sequence[Held], bytes_: int, level: StorageLevel) -> None:
        self.batches: Final = batches
        self.bytes: Final = bytes_
        self.records: Final = sum(held.records for held in batches)
        self.level: Final = level
        self.serial: Final = next(SERIALS)
        self.leaving = False  # chosen for eviction by some thread, still readable


class MemoryTier:
    """Least recently used first; `used_bytes` includes what is reserved for blocks that are still being computed.

    Invariant: `used_bytes` <= `budget_bytes`. Batches that a task is still reading when they are evicted live on
    until it lets go of them; they are no longer charged.

    Not thread-safe by itself: every method wants the ledger's lock held.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._limit_bytes = budget_bytes
        self._grows = True
        self._blocks: OrderedDict[BlockId, MemoryBlock] = OrderedDict()

    def __contains__(self, block_id: BlockId) -> bool:
        return block_id in self._blocks

    def __len__(self) -> int:
        return len(self._blocks)

    def items(self) -> list[tuple[BlockId, MemoryBlock]]:
        """Blocks, least recently used first."""
        return list(self._blocks.items())

    def get(self, block_id: BlockId, touch: bool = True) -> MemoryBlock | None:
        """The block, now the most recently used."""
        block = self._blocks.get(block_id)
        if block is not None and touch:
            self._blocks.move_to_end(block_id)
        return block

    def fits(self, bytes_: int) -> bool:
        """Whether `bytes_` more are within the budget now, and within what :meth:`limit` leaves of it."""
        return self.used_bytes + bytes_ <= self._limit_bytes

    def limit(self, may_grow: bool) -> None:
        """While it may not grow, no more is held than when that began."""
        if may_grow:
            self._limit_bytes = self.budget_bytes
            self._grows = True
        elif self._grows:
            self._limit_bytes = self.used_bytes
            self._grows = False

    def victims(self, bytes_: int, writing_rdd: int) -> list[tuple[BlockId, MemoryBlock]] | None:
        """The fewest least recently used blocks whose leaving makes room for `bytes_`; None where that cannot be.

        Never a block of `writing_rdd`: storing one partition of an RDD by evicting another gains nothing.
        """
        missing = self.used_bytes + bytes_ - self._limit_bytes
        chosen: list[tuple[BlockId, MemoryBlock]] = []
        for block_id, block in self._blocks.items():
            if missing <= 0:
                break
            if block_id[0] != writing_rdd and not block.leaving and block.bytes > 0:
                chosen.append((block_id, block))
                missing -= block.bytes
        return chosen if missing <= 0 else None

    def add_reserved(self, block_id: BlockId, block: MemoryBlock) -> None:
        """Holds `block`, whose bytes were reserved before."""
        self._blocks[block_id] = block

    def remove(self, block_id: BlockId) -> MemoryBlock | None:
        """The block, no longer held nor charged."""
        block = self._blocks.pop(block_id, None)
        if block is not None:
            self.used_bytes -= block.bytes
        return block
