"""BlockStore: an executor's cached partitions - found, or computed once, kept within a budget, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from sparklab import steps
from sparklab.errors import FetchFailedError, StorageError
from sparklab.storage.codec import BatchSize, Buffer, dump_frames, load_batches
from sparklab.storage.disk import DiskBlock, DiskTier, is_disk_full
from sparklab.storage.ledger import Block, BlockChange, Flight, Ledger, StoreUsage
from sparklab.storage.level import StorageLevel
from sparklab.storage.memory import BlockId, MemoryBlock
from sparklab.storage.peers import PART_BYTES, BlockPart, BlockRequest
from sparklab.storage.representation import Batch, Held, hold

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

__all__ = ["BlockChange", "BlockStore", "StoreUsage"]

_REPR_LIMIT: Final = 200


class BlockStore:
    """The cached partitions of one executor, least recently used out first.

    A record handed out is what was computed, whatever anybody did to an earlier copy. A block wanted by two tasks
    is computed by one. Memory is charged by measured bytes and never above the budget.

    Thread-safe. Source: NSDI'12 section 5.3 (LRU at the level of RDDs).

    Parameters
    ----------
    directory : str
        For block files; made if absent, for this user alone.
    memory_budget_bytes : int
    may_grow : callable, optional
        Whether the process may take more memory now. While it may not, a block enters memory only where others leave.

    Examples
    --------
    >>> store = BlockStore(directory, 1 << 20)
    >>> list(store.get_or_compute(7, 0, StorageLevel.MEMORY_ONLY, lambda: iter("abc"), task))
    ['a', 'b', 'c']
    >>> store.drain_changes()
    [BlockChange(op='stored', rdd=7, partition=0, tier='memory', bytes=174, reason='', records=3, copies=1)]
    """

    def __init__(self, directory: str, memory_budget_bytes: int, may_grow: Callable[[], bool] = lambda: True) -> None:
        self._disk = DiskTier(directory)
        self._ledger = Ledger(self._disk, memory_budget_bytes, may_grow)

    # --- tasks -------------------------------------------------------------------------------------

    def get_or_compute(
        self,
        rdd: int,
        partition: int,
        level: StorageLevel,
        compute: Callable[[], Iterator[Any]],
        task: TaskContext,
    ) -> Iterator[Any]:
        """Records of the block; at the first step computed whole, and stored where `level` and the budget allow.

        Lazy: nothing is looked up, computed or counted before the first record is asked for. A block that does not
        fit is handed out nevertheless: what was computed, then the rest as it comes; nothing is computed twice.
        """
        return chain.from_iterable(self._iterators((rdd, partition), level, compute, task))

    def _iterators(
        self, block_id: BlockId, level: StorageLevel, compute: Callable[[], Iterator[Any]], task: TaskContext
    ) -> Iterator[Iterator[Any]]:
        # Positions in the block are counted by a source of their own: the one that the computation used stays at
        # the record it had reached, for the error text of what is still to be computed.
        below = task.source
        own = type(below)()
        yield own.flatten(self._batches(block_id, level, compute, task, below, own))

    def _batches(
        self,
        block_id: BlockId,
        level: StorageLevel,
        compute: Callable[[], Iterator[Any]],
        task: TaskContext,
        below: Any,
        own: Any,
    ) -> Iterator[Batch]:
        flight = Flight()
        try:
            found = self._find_or_claim(block_id, task, flight)
            if found is None:
                found = task.elsewhere(*block_id)
                if found is not None:
                    self._ledger.land(block_id, flight)  # a peer's block is read, not kept
            if found is None:
                task.metrics.cache_misses += 1
                stored = self._compute(block_id, level, compute, task, flight)
            else:
                task.metrics.cache_hits += 1
                stored = found
            while True:
                task.source = below
                batch = next(stored, None)
                task.source = own
                if batch is None:
                    break
                if found is not None:
                    task.metrics.records_read += len(batch)
                yield batch
                task.check_cancelled()
        finally:
            self._ledger.land(block_id, flight)

    def _find_or_claim(self, block_id: BlockId, task: TaskContext, flight: Flight) -> Iterator[Batch] | None:
        """The block's batches, or None: then `flight` computes it. Blocks while another task does."""
        while True:
            block = self._ledger.use_or_claim(block_id, flight, task.check_cancelled)
            if block is None:
                return None
            batches = self._open(block_id, block)
            if batches is not None:
                return batches

    def _open(self, block_id: BlockId, block: Block) -> Iterator[Batch] | None:
        """The block's batches; None where its file is gone or damaged, and the block was discarded."""
        if isinstance(block, MemoryBlock):
            return (held.hand_out() for held in block.batches)
        try:
            return _begun(block.batches())
        except StorageError:
            self._discard(block_id, block)
            return None

    def _discard(self, block_id: BlockId, block: DiskBlock) -> None:
        self._ledger.warn(
            f"cache of RDD {block_id[0]}",
            f"the file of partition {block_id[1]} of RDD {block_id[0]} was damaged or gone and is computed again",
        )
        self._ledger.discard(block_id, block)

    # --- computing a block and keeping it -----------------------------------------------------------

    def _compute(
        self,
        block_id: BlockId,
        level: StorageLevel,
        compute: Callable[[], Iterator[Any]],
        task: TaskContext,
        flight: Flight,
    ) -> Iterator[Batch]:
        """Yields the computed block's batches, after as much of it as fits was stored; `flight` lands before."""
        in_memory = level.useMemory or not level.useDisk
        kept: list[Held] = []
        reserved = 0
        over = False
        drawn = _drawn(compute(), task)
        try:
            if in_memory:
                for batch, size in drawn:
                    held = hold(batch)
                    size.learn(held.records, held.bytes)
                    kept.append(held)
                    if not self._ledger.reserve(block_id[0], held.bytes):
                        over = True
                        break
                    reserved += held.bytes
                else:
                    steps.at("persist")
                    self._ledger.keep_in_memory(block_id, MemoryBlock(kept, reserved, level), flight)
                    reserved = 0
            if in_memory and not over:
                batches: Iterator[Batch] = (held.hand_out() for held in kept)
            elif level.useDisk:
                batches = self._write_through(block_id, level, kept, drawn, flight)
            else:
                batches = chain(_consumed(kept), (batch for batch, _ in drawn))
        finally:
            self._ledger.release(reserved)
            self._ledger.land(block_id, flight)
        yield from batches

    def _write_through(
        self,
        block_id: BlockId,
        level: StorageLevel,
        seen: list[Held],
        drawn: Iterator[tuple[list[Any], BatchSize]],
        flight: Flight,
    ) -> Iterator[Batch]:
        """The block's batches, written to disk; where the disk is full, handed out all the same and not kept."""
        writer = self._disk.writer(*block_id)
        if writer is None:
            self._warn_disk_full(block_id)
            return chain(_consumed(seen), (batch for batch, _ in drawn))
        try:
            while seen:
                if not writer.append(seen[0].frame(), seen[0].records):
                    self._warn_disk_full(block_id)
                    return chain(writer.take_back(), _consumed(seen), (batch for batch, _ in drawn))
                del seen[0]
            for batch, size in drawn:
                frames = dump_frames(batch)
                size.learn(len(batch), sum(map(len, frames)))
                # joined, so that a batch is on disk whole or not at all
                if not writer.append(b"".join(frames), len(batch)):
                    self._warn_disk_full(block_id)
                    return chain(writer.take_back(), (batch,), (batch for batch, _ in drawn))
            try:
                block = writer.commit(level)
            except OSError as error:
                if not is_disk_full(error):
                    raise
                self._warn_disk_full(block_id)
                return writer.take_back()
        finally:
            writer.abandon()
        try:
            batches = _begun(block.batches())  # open before anybody can drop it
        except StorageError as error:
            # Nothing has been handed out: another attempt computes it, and this one's counters count for nothing.
            block.remove()
            found = f"the block of RDD {block_id[0]} was damaged as soon as it was written: {error.found}"
            raise FetchFailedError(-1, block_id[1], -1, -1, found, damaged=True) from error
        self._ledger.keep_on_disk(block_id, block, flight)
        return batches

    def _warn_disk_full(self, block_id: BlockId) -> None:
        self._ledger.warn(
            f"cache of RDD {block_id[0]}",
            f"the disk under {self._disk.directory} is full: partition {block_id[1]} of RDD {block_id[0]} is not "
            "cached and will be computed again; what was cached before stays",
        )

    # --- the driver and peers -------------------------------------------------------------------------

    def drain_changes(self) -> list[BlockChange]:
        """Every change since the last call, in order; each is returned once."""
        return self._ledger.drain_changes()

    def drain_warnings(self) -> list[tuple[str, str]]:
        """(subject, message) of what a user should know since the last call, at most one for each RDD."""
        return self._ledger.drain_warnings()

    def drop(self, rdd: int, partition: int | None = None, reason: str = "dropped") -> list[BlockChange]:
        """The block, or all blocks of `rdd`, are gone; the changes are returned and stand in the outbox as well.

        A block that a task is computing meanwhile is handed to that task and not kept.
        """
        return self._ledger.drop(rdd, partition, reason)

    def share(self, request: BlockRequest, limit_bytes: int = PART_BYTES) -> BlockPart | None:
        """What a peer asks for; None where the block, or the copy that it began with, is not here.

        A part has at least one frame where there is one, and no more once `limit_bytes` are reached. Does not count
        as use: a peer that copies a block does not keep it from being evicted.
        """
        block_id = (request.rdd, request.partition)
        block = self._ledger.get(block_id)
        if block is None or request.serial not in (0, block.serial):
            return None
        chosen: list[Buffer] = []
        total = 0
        if isinstance(block, MemoryBlock):
            at = request.start
            while at < len(block.batches) and total < limit_bytes:
                chosen.append(block.batches[at].frame())
                total += len(chosen[-1])
                at += 1
            return BlockPart(block.serial, block.level, chosen, at if at < len(block.batches) else -1)
        if request.as_file:
            return BlockPart(block.serial, block.level, (), -1, block.path, block.bytes)
        try:
            for one in block.frames(request.start):
                chosen.append(one)
                total += len(one)
                if total >= limit_bytes:
                    break
        except StorageError:
            self._discard(block_id, block)
            return None
        at = request.start + total
        return BlockPart(block.serial, block.level, chosen, at if at < block.bytes else -1)

    def put_frames(self, rdd: int, partition: int, level: StorageLevel, frames: Iterable[Buffer]) -> bool:
        """Whether the block, pushed by a peer, is held now; digests are checked and room is made as for any block.

        Raises
        ------
        StorageError
            A frame is damaged; nothing is kept then.
        """
        block_id = (rdd, partition)
        flight = Flight()
        if not self._ledger.claim(block_id, flight):
            return self._ledger.get(block_id) is not None
        records = (record for one in frames for batch in load_batches(one) for record in batch)
        try:
            # kept at the first step; what does not fit is not wanted
            next(self._compute(block_id, level, lambda: records, _NO_TASK, flight), None)
        finally:
            self._ledger.land(block_id, flight)
        return self._ledger.get(block_id) is not None

    def peek(self, rdd: int, partition: int, n: int = 10) -> list[str] | None:
        """``repr`` of the block's first `n` records, each at most 200 characters; None where it is not here."""
        block_id = (rdd, partition)
        block = self._ledger.get(block_id)
        batches = None if block is None else self._open(block_id, block)
        return None if batches is None else [_bounded_repr(r) for r in islice(chain.from_iterable(batches), n)]

    def blocks(self) -> list[tuple[int, int, str, int]]:
        """(rdd, partition, tier, bytes) of every block, sorted."""
        return self._ledger.blocks()

    def usage(self) -> StoreUsage:
        """What is held now."""
        return self._ledger.usage()

    def close(self) -> None:
        """Nothing is held and no file is left. Idempotent."""
        self._ledger.close()


class _NoTask:
    @staticmethod
    def check_cancelled() -> None:
        return None


_NO_TASK: Final[Any] = _NoTask()


def _drawn(records: Iterator[Any], task: TaskContext) -> Iterator[tuple[list[Any], BatchSize]]:
    """Yields batches with the size that the consumer adjusts for the next one."""
    size = BatchSize()
    while batch := list(islice(records, size.records)):
        yield batch, size
        task.check_cancelled()


def _begun(batches: Iterator[Batch]) -> Iterator[Batch]:
    """`batches` with its first step done: what it reads is open and verified, and is closed when it is let go."""
    first = next(batches, None)
    return iter(()) if first is None else chain((first,), batches)


def _consumed(seen: list[Held]) -> Iterator[Batch]:
    """Yields the batches and lets go of each."""
    seen.reverse()
    while seen:
        yield seen.pop().hand_out()


def _bounded_repr(record: Any) -> str:
    try:
        text = repr(record)
    except Exception as error:  # a user's __repr__ may do anything; a look into the cache must not fail for it
        text = f"<{type(record).__qualname__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= _REPR_LIMIT else text[: _REPR_LIMIT - 3] + "..."
