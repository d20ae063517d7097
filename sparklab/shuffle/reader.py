"""The reduce side: one partition's share of every map output, in map order, aggregated or sorted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Final

from sparklab.shuffle.aggregation import LIVE_BYTES_PER_READ, Aggregation, LoosePairs, PairFrame
from sparklab.shuffle.bounds import count_up_to, even_cuts
from sparklab.shuffle.buckets import sub_buckets
from sparklab.shuffle.combine import sort_key
from sparklab.shuffle.fetch import Fetch, Run
from sparklab.shuffle.spec import Aggregator, MapLocation, OpenMapOutput, Ordering, ShuffleInput, ShuffleSpec
from sparklab.shuffle.stable_hash import HashPlacement
from sparklab.storage.codec import Frame

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

_WORTH_DIVIDING_BYTES: Final = 1 << 18  # of a partition's input: below, one dict fits the processor's cache


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
    return chain.from_iterable(_positioned(read, task))


def _positioned(read: _Reduce, task: TaskContext) -> Iterator[Iterator[Any]]:
    task.source = type(task.source)()
    yield task.source.flatten(read.batches())


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
        if self.spec.aggregator is not None:
            return self._aggregated(self.spec.aggregator)
        return (frame.rows() for frame in self._frames())

    def _frames(self) -> Iterator[Frame]:
        """The partition's frames of every map output, in map order."""
        for fetch in self._fetches():
            with fetch:
                for share in fetch.shares(self.index):
                    yield from self._counted(fetch, share[0], share[-1])

    def _fetches(self) -> Iterator[Fetch]:
        """The map outputs that have anything for this partition, in map order."""
        for location in self.input.locations:
            if self._expected_bytes(location):
                yield Fetch(location, self.open)

    def _expected_bytes(self, location: MapLocation) -> int:
        return int(memoryview(location.output.reduce_bytes).cast("Q")[self.index])

    def _counted(self, fetch: Fetch, start: int, end: int) -> Iterator[Frame]:
        metrics, check_cancelled = self.task.metrics, self.task.check_cancelled
        metrics.shuffle_bytes_read += end - start
        for frame in fetch.frames(start, end):
            metrics.records_read += frame.records
            yield frame
            check_cancelled()

    # --- aggregated -------------------------------------------------------------------------------------

    def _aggregated(self, aggregator: Aggregator) -> Iterator[list[Any]]:
        """Each key once with its combiner: in one dict, or sub-bucket by sub-bucket where there is much."""
        aggregation = Aggregation(aggregator, self.directory, self.budget_bytes, self.task.metrics)
        total = sum(map(self._expected_bytes, self.input.locations))
        parts = [(self._frames(), total)] if total < _WORTH_DIVIDING_BYTES else self._divided(total)
        for frames, bytes_ in parts:
            yield from aggregation.batches(frames, bytes_)

    def _divided(self, total_bytes: int) -> Iterator[tuple[Iterator[PairFrame], int]]:
        """Yields (frames, their bytes) that have no key in common: of each sub-bucket, or of the whole partition."""
        subs = sub_buckets(self.spec)
        fetches = list(self._fetches())
        whole = [fetch for fetch in fetches if fetch.sub_buckets() < subs]
        # small map outputs are divided here, in memory; where they are very many, the aggregation splits all by itself
        if subs == 1 or sum(map(self._bytes_of, whole)) * LIVE_BYTES_PER_READ > self.budget_bytes:
            for fetch in fetches:
                fetch.close()
            yield self._frames(), total_bytes
            return
        loose = {id(fetch): self._loose(fetch, subs) for fetch in whole}
        for fetch in fetches:
            # what is read in so many pieces is read in one go where the budget allows, else opened again for each
            if 4 * total_bytes <= self.budget_bytes:
                fetch.hold([(share[0], share[-1]) for share in fetch.shares(self.index)])
            else:
                fetch.close()
        for sub in range(subs):
            bytes_ = sum(self._bytes_of(fetch) // subs for fetch in whole) + sum(
                share[sub + 1] - share[sub]
                for fetch in fetches
                if id(fetch) not in loose
                for share in fetch.shares(self.index)
            )
            yield self._sub_frames(fetches, loose, sub), bytes_

    def _bytes_of(self, fetch: Fetch) -> int:
        return self._expected_bytes(fetch.location)

    def _loose(self, fetch: Fetch, subs: int) -> list[LoosePairs]:
        """The pairs of an undivided map output by sub-bucket."""
        n = self.spec.num_partitions
        place = HashPlacement(n * subs)
        parts = [LoosePairs([], []) for _ in range(subs)]
        for share in fetch.shares(self.index):
            for frame in self._counted(fetch, share[0], share[-1]):
                keys, values = frame.columns()
                for bucket, k, v in zip(place.many(list(keys)), keys, values, strict=True):
                    part = parts[bucket // n]
                    part.keys.append(k)
                    part.values.append(v)
        return parts

    def _sub_frames(self, fetches: list[Fetch], loose: dict[int, list[LoosePairs]], sub: int) -> Iterator[PairFrame]:
        for fetch in fetches:
            parts = loose.get(id(fetch))
            if parts is not None:
                yield parts[sub]
                continue
            for share in fetch.shares(self.index):
                if share[sub] < share[sub + 1]:
                    yield from self._counted(fetch, share[sub], share[sub + 1])
            if not fetch.held:
                fetch.close()

    # --- sorted -------------------------------------------------------------------------------------------

    def _sorted(self, ordering: Ordering) -> Iterator[list[Any]]:
        """The partition's records in sort order, equal keys in map order; beyond the budget, range by range."""
        bounds = self.input.bounds or []
        if self.index > len(bounds):
            return
        low = list(bounds[self.index - 1 : self.index]) if self.index > 0 else []
        high = list(bounds[self.index : self.index + 1])
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
                        weighted += run.weights(first + 1, last)
        parts = -(-total * LIVE_BYTES_PER_READ // self.budget_bytes)
        ranges = [low, *([cut] for cut in even_cuts(weighted, parts, ordering.ascending)), high]
        for after, up_to in pairwise(ranges):
            yield self._sorted_range(runs, after, up_to, ordering)

    def _sorted_range(
        self, runs: list[tuple[Fetch, Run]], low: list[Any], high: list[Any], ordering: Ordering
    ) -> list[Any]:
        """The records after `low` up to `high`, sorted; runs are put one after the other, which timsort merges."""
        by = sort_key(ordering.keyfunc)
        records: list[Any] = []
        for fetch, run in runs:
            first, last = run.frames(low, high, ordering.ascending)
            if first == last:
                continue
            frames = [f.rows() for f in self._counted(fetch, run.offsets[first], run.offsets[last])]
            fetch.close()
            if high:
                del frames[-1][count_up_to(frames[-1], high[0], ordering.ascending, by) :]
            if low:
                del frames[0][: count_up_to(frames[0], low[0], ordering.ascending, by)]
            for frame in frames:
                records += frame
        records.sort(key=by, reverse=not ordering.ascending)
        return records
