"""The reduce side: one partition's share of every map output, in map order, aggregated or sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Final

from sparklab import steps
from sparklab.shuffle.aggregation import LIVE_BYTES_PER_READ, Aggregation, cogrouped, combined_by
from sparklab.shuffle.bounds import Cut, even_cuts, heavy_keys, is_before, with_heavy
from sparklab.shuffle.buckets import sub_buckets
from sparklab.shuffle.combine import GROUPING, identity
from sparklab.shuffle.fetch import Fetch, Run
from sparklab.shuffle.idioms import is_addition
from sparklab.shuffle.order import sorted_order
from sparklab.shuffle.sides import NarrowSide, ShuffledSide, Side, counted
from sparklab.shuffle.spec import OpenMapOutput, Ordering, ShuffleInput, ShuffleSpec
from sparklab.storage.codec import BATCH_RECORDS, Frame

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

_WORTH_DIVIDING_BYTES: Final = 1 << 18  # of a partition's input: below, one dict fits the processor's cache
_WORTH_DIVIDING_HERE: Final = 16  # times as many where small map outputs have to be divided first, in memory


def read_reduce_input(
    spec: ShuffleSpec,
    reduce_index: int,
    shuffle_input: ShuffleInput,
    open_: OpenMapOutput,
    directory: str,
    memory_budget_bytes: int,
    task: TaskContext,
) -> Iterator[Any]:
    """Records of one reduce partition: as written, aggregated by key, or sorted; nothing is read before the first.

    The order depends on the map outputs alone. Whether the input goes through temporary files in `directory` is
    decided from its size against the budget, before it is read; those files have no name and end with the task.

    Raises
    ------
    FetchFailedError
        While iterating: a map output is missing, cut short or damaged.
    """
    read = _Reduce(spec, reduce_index, shuffle_input, open_, directory, max(1, memory_budget_bytes), task)
    return _positioned(read.batches, task)


def read_cogrouped(
    sides: Sequence[tuple[ShuffleSpec, ShuffleInput] | Iterator[Any]],
    num_partitions: int,
    reduce_index: int,
    open_: OpenMapOutput,
    directory: str,
    memory_budget_bytes: int,
    task: TaskContext,
) -> Iterator[Any]:
    """``(key, (values in side 0, values in side 1, ...))`` of one reduce partition, each a list in input order.

    Keys come in order of first appearance, the sides one after the other; where there is much, sub-bucket by
    sub-bucket. The lists are the caller's. Nothing is read before the first record is asked for.

    Parameters
    ----------
    sides : sequence
        For each side a shuffle and where its outputs are, or the pairs of a parent that is partitioned alike. The
        shuffles are written with the aggregator ``GROUPING``, by HashPlacement of `num_partitions`.

    Raises
    ------
    FetchFailedError
        While iterating: a map output is missing, cut short or damaged.
    """

    def begun() -> Iterator[list[Any]]:
        opened: list[Side] = [
            ShuffledSide(side[0], reduce_index, side[1], open_, task)
            if isinstance(side, tuple)
            else NarrowSide(side, num_partitions, max(1, memory_budget_bytes // len(sides)))
            for side in sides
        ]
        spec = next((side[0] for side in sides if isinstance(side, tuple)), None)
        grouping = Aggregation(cogrouped, tuple, directory, max(1, memory_budget_bytes), task.metrics)
        return _aggregated(spec, opened, grouping)

    return _positioned(begun, task)


def group_records(records: Iterator[Any], directory: str, memory_budget_bytes: int, task: TaskContext) -> Iterator[Any]:
    """``(key, its values)`` of pairs that are all here already, each key once. Nothing is read before the first."""

    def begun() -> Iterator[list[Any]]:
        side = NarrowSide(records, 1, max(1, memory_budget_bytes))
        grouping = Aggregation(*combined_by(GROUPING), directory, max(1, memory_budget_bytes), task.metrics)
        yield from _aggregated(None, [side], grouping)

    return chain.from_iterable(begun())


def _positioned(begin: Callable[[], Iterator[list[Any]]], task: TaskContext) -> Iterator[Any]:
    """The records of the batches, their position being the task's from the first one on."""

    def iterators() -> Iterator[Iterator[Any]]:
        task.source = type(task.source)()
        yield task.source.flatten(begin())

    return chain.from_iterable(iterators())


def _aggregated(spec: ShuffleSpec | None, sides: Sequence[Side], aggregation: Aggregation) -> Iterator[list[Any]]:
    """Each key once: all in one dict, or sub-bucket by sub-bucket where there is much; `spec` is any side's."""
    subs = 1 if spec is None else sub_buckets(spec)
    total = sum(side.bytes for side in sides)
    budget = aggregation.budget_bytes
    undivided = 0 if subs == 1 or total < _WORTH_DIVIDING_BYTES else sum(side.undivided_bytes(subs) for side in sides)
    if (
        subs == 1
        or total < _WORTH_DIVIDING_BYTES
        or total < _WORTH_DIVIDING_BYTES * _WORTH_DIVIDING_HERE * undivided // total
        # small map outputs are divided in memory; where they are very many, the aggregation splits all by itself
        or undivided * LIVE_BYTES_PER_READ > budget
    ):
        yield from aggregation.batches([side.frames() for side in sides], total)
        return
    for side in sides:
        # read in one go where the budget allows, else the files are opened again for each sub-bucket
        side.divide(subs, hold=4 * total <= budget)
    for sub in range(subs):
        yield from aggregation.batches(
            [side.sub_frames(sub) for side in sides], sum(side.sub_bytes(sub) for side in sides)
        )


@dataclass(slots=True)
class _Reduce:
    spec: ShuffleSpec
    index: int
    input: ShuffleInput
    open: OpenMapOutput
    directory: str
    budget_bytes: int
    task: TaskContext

    def batches(self) -> Iterator[list[Any]]:
        if self.spec.ordering is not None:
            return self._sorted(self.spec.ordering)
        side = ShuffledSide(self.spec, self.index, self.input, self.open, self.task)
        if self.spec.aggregator is None:
            return map(Frame.rows, side.frames())
        aggregator = self.spec.aggregator
        aggregation = Aggregation(
            *combined_by(aggregator),
            self.directory,
            self.budget_bytes,
            self.task.metrics,
            adds=aggregator.map_side and is_addition(aggregator.merge_combiners),
        )
        return _aggregated(self.spec, [side], aggregation)

    # --- sorted -------------------------------------------------------------------------------------------

    def _sorted(self, ordering: Ordering) -> Iterator[list[Any]]:
        """The partition's records in sort order, equal keys in map order; beyond the budget, range by range."""
        bounds = self.input.bounds or []
        if self.index > len(bounds):
            return
        low = Cut(bounds[self.index - 1]) if self.index > 0 else None
        high = Cut(bounds[self.index]) if self.index < len(bounds) else None
        runs: list[tuple[Fetch, Run]] = []
        weighted: list[tuple[Any, int]] = []
        total = 0
        for location in self.input.locations:
            if location.output.records == 0:
                continue
            with Fetch(location, self.open) as fetch:
                for run in fetch.runs():
                    first, last = run.frames(low, high, ordering.ascending)
                    if first < last:
                        runs.append((fetch, run))
                        total += run.offsets[last] - run.offsets[first]
                        weighted += [
                            (key, weight)
                            for key, weight in run.weights(first, last)
                            if low is None or is_before(low.key, key, ordering.ascending)
                        ]
        parts = -(-total * LIVE_BYTES_PER_READ // self.budget_bytes)
        cuts = [Cut(key) for key in even_cuts(weighted, parts, ordering.ascending)]
        if parts > 1:
            # what one key has alone may be too much to be held together, and needs no sorting
            heavy = heavy_keys(weighted, self.budget_bytes // LIVE_BYTES_PER_READ, ordering.ascending)
            cuts = with_heavy(cuts, heavy, ordering.ascending)
        for after, up_to in pairwise([low, *cuts, high]):
            records = self._range(runs, after, up_to, ordering)
            if after is not None and up_to is not None and after.before and not up_to.before:
                # of one key: in map order as they are
                yield from (list(zip(keys, values, strict=True)) for keys, values in records)
            else:
                yield from self._sorted_together(records, ordering)

    def _sorted_together(
        self, records: Iterator[tuple[Sequence[Any], Sequence[Any]]], ordering: Ordering
    ) -> Iterator[list[Any]]:
        """The records in order; runs stand one after the other, which sorting merges."""
        keys: list[Any] = []
        values: list[Any] = []
        for some_keys, some_values in records:
            keys += some_keys
            values += some_values
        steps.at("merge")
        keyfunc = ordering.keyfunc
        order = sorted_order(keys if keyfunc is identity else [keyfunc(k) for k in keys], ordering.ascending)
        for start in range(0, len(order), BATCH_RECORDS):
            # pairs are made when they are wanted: what follows finds them in the processor's cache
            yield [(keys[i], values[i]) for i in order[start : start + BATCH_RECORDS]]

    def _range(
        self, runs: list[tuple[Fetch, Run]], low: Cut | None, high: Cut | None, ordering: Ordering
    ) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
        """Keys and values between two cuts, run by run, frame by frame."""
        keyfunc, ascending = ordering.keyfunc, ordering.ascending
        for fetch, run in runs:
            first, last = run.frames(low, high, ascending)
            if first == last:
                continue
            with fetch:
                frames = counted(fetch, run.offsets[first], run.offsets[last], self.task)
                for at, frame in enumerate(frames, first):
                    keys, values = frame.columns()
                    end = high.count(keys, ascending, keyfunc) if high is not None and at == last - 1 else len(keys)
                    begin = low.count(keys, ascending, keyfunc) if low is not None and at == first else 0
                    yield keys[begin:end], values[begin:end]
