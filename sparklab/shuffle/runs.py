"""Sorting within a budget: sorted runs in a spill file, merged while they are read."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from sparklab import steps
from sparklab.shuffle.spill import SpillFile
from sparklab.shuffle.writer import live_bytes
from sparklab.storage.codec import BatchSize, dump_frames

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

_READ_PARTS: Final = 64  # of a run: as many runs can be merged, each a part at a time, in the memory of one
_LEAST_READ_BYTES: Final = 1 << 16


def sort_records(
    records: Iterator[Any],
    key: Callable[[Any], Any],
    ascending: bool,
    directory: str,
    memory_budget_bytes: int,
    task: TaskContext,
) -> Iterator[Any]:
    """The records in the order of `key`, equal ones as they came; draws all before it yields the first.

    What the budget does not hold, estimated from counts and samples, is in a file without a name in `directory`.
    """
    budget = max(1, memory_budget_bytes)
    run: list[Any] = []
    live = 0
    file: SpillFile | None = None
    ranges: list[tuple[int, int]] = []
    size = BatchSize()
    while batch := list(islice(records, size.records)):
        estimate = live_bytes(batch)
        size.learn(len(batch), estimate)
        run += batch
        live += estimate
        task.check_cancelled()
        if live > budget:
            if file is None:
                file = SpillFile(directory)
            run.sort(key=key, reverse=not ascending)
            start = file.bytes
            at_once = max(1, len(run) // _READ_PARTS)
            for at in range(0, len(run), at_once):
                file.append(dump_frames(run[at : at + at_once]))
            ranges.append((start, file.bytes))
            task.metrics.spilled_bytes += file.bytes - start
            steps.at("spill")
            run, live = [], 0
    run.sort(key=key, reverse=not ascending)
    if file is None:
        yield from run
        return
    # all runs are open at the same time, each with what was read ahead and the records of a frame
    chunk_bytes = max(_LEAST_READ_BYTES, budget // _READ_PARTS // (1 + len(ranges) // 4))
    streams: list[Iterator[Any]] = [_records(file, start, end, chunk_bytes) for start, end in ranges]
    yield from heapq.merge(*streams, iter(run), key=key, reverse=not ascending)


def _records(file: SpillFile, start: int, end: int, chunk_bytes: int) -> Iterator[Any]:
    return chain.from_iterable(frame.rows() for frame in file.frames(start, end, chunk_bytes))
