"""Records that are all in one partition already, combined or kept within the budget: no shuffle, the same memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from sparklab import steps
from sparklab.shuffle.aggregation import Aggregation
from sparklab.shuffle.combine import merge_combiners
from sparklab.shuffle.groups import SpilledValues
from sparklab.shuffle.spec import Aggregator
from sparklab.shuffle.spill import SpillFile
from sparklab.shuffle.writer import deep_bytes, fill_combined
from sparklab.storage.codec import BatchSize, dump_frames, dump_pairs

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

_MEASURED: Final = 16  # records of a batch


class _Combined:
    """Combiners on their way: in memory until the first are to go, from then on in a file."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.file: SpillFile | None = None
        self.held: list[tuple[list[Any], list[Any]]] = []

    def add(self, keys: list[Any], values: list[Any]) -> None:
        self.held.append((keys, values))

    def tally_of(self, keys: list[Any], values: list[Any]) -> None:
        """These are kept as they are."""

    def add_tally(self, tally: Any) -> None:
        raise AssertionError("there are none")

    def write(self) -> int:
        """What is held stands in the file; returns its bytes."""
        if self.file is None:
            self.file = SpillFile(self._directory)
        before = self.file.bytes
        for keys, values in self.held:
            self.file.append(dump_pairs(keys, values))
        self.held.clear()
        return self.file.bytes - before


def combine_records(
    records: Iterator[Any], aggregator: Aggregator, directory: str, memory_budget_bytes: int, task: TaskContext
) -> Iterator[Any]:
    """``(key, combiner)`` of pairs that are all here already, each key once. Nothing is read before the first.

    In order of first appearance where all combiners fit in the budget. Beyond it they go to a file of `directory`,
    without a name, and are merged part by part: in another order, which the records alone decide.
    """

    def begun() -> Iterator[list[Any]]:
        budget = max(1, memory_budget_bytes)
        combined = _Combined(directory)
        for last in fill_combined(records, aggregator, combined, budget, task.check_cancelled):
            if not last or combined.file is not None:
                task.metrics.spilled_bytes += combined.write()
                steps.at("spill")
        if combined.file is None:
            yield from (list(zip(keys, values, strict=True)) for keys, values in combined.held)
            return

        def gather(sides: Sequence[Any]) -> dict[Any, Any]:
            merged: dict[Any, Any] = {}
            merge_combiners(merged, sides[0], aggregator)
            return merged

        merging = Aggregation(gather, None, directory, budget, task.metrics)
        yield from merging.batches([combined.file.frames()], combined.file.bytes)
        combined.file.close()

    return chain.from_iterable(begun())


def hold_records(records: Iterator[Any], directory: str, memory_budget_bytes: int, task: TaskContext) -> Sequence[Any]:
    """All `records`, to be gone through as often as one likes: a list within the budget, beyond it read from disk."""
    held: list[Any] = []
    file: SpillFile | None = None
    size = BatchSize()
    live = written = 0
    while batch := list(islice(records, size.records)):
        sample = batch[:: len(batch) // _MEASURED + 1]
        estimate = sum(map(deep_bytes, sample)) * len(batch) // len(sample)
        size.learn(len(batch), estimate)
        held += batch
        live += estimate
        if live > memory_budget_bytes:
            file = file or SpillFile(directory)
            file.append(dump_frames(held))
            written += len(held)
            held, live = [], 0
            steps.at("spill")
        task.check_cancelled()
    if file is None:
        return held
    task.metrics.spilled_bytes += file.bytes
    return SpilledValues(file, array("Q", (0, file.bytes)), written + len(held), held)
