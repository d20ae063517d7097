"""The reduce side: one partition's share of every map output, in map order, aggregated or sorted."""

from __future__ import annotations

import os
import pickle
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import IO, TYPE_CHECKING, Any, Final

from sparklab.errors import FetchFailedError, IdentityHashError, StorageError
from sparklab.shuffle.bounds import count_up_to, even_cuts
from sparklab.shuffle.combine import combine_values, merge_combiners
from sparklab.shuffle.files import read_footer
from sparklab.shuffle.spec import ByteSource, MapLocation, OpenMapOutput, ShuffleInput, ShuffleSpec
from sparklab.shuffle.stable_hash import stable_hash, stable_hashes
from sparklab.shuffle.writer import HASHED, SORTED, sort_key
from sparklab.storage.codec import batches, dump_frames, read_batches, read_frames

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

_LIVE_BYTES_PER_READ: Final = 10  # records in dicts and lists against their frames: small pairs need this much
_MOST_SUB_BUCKETS: Final = 64
_DEEPEST_SPLIT: Final = 3


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


class _Reduce:
    def __init__(
        self,
        spec: ShuffleSpec,
        reduce_index: int,
        shuffle_input: ShuffleInput,
        open_: OpenMapOutput,
        directory: str,
        budget_bytes: int,
        task: TaskContext,
    ) -> None:
        self._spec = spec
        self._index = reduce_index
        self._input = shuffle_input
        self._open = open_
        self._directory = directory
        self._budget_bytes = budget_bytes
        self._task = task

    def batches(self) -> Iterator[list[Any]]:
        if self._spec.ordering is not None:
            return self._sorted()
        if self._spec.aggregator is not None:
            return self._aggregated()
        return self._fetched()

    # --- as written -----------------------------------------------------------------------------------

    def _fetched(self) -> Iterator[list[Any]]:
        """The partition's batches of every map output, in map order."""
        for location in self._input.locations:
            if self._expected_bytes(location) == 0:
                continue
            with _Fetch(location, self._open) as fetch:
                for start, end in fetch.segments(self._index, self._spec.num_partitions):
                    yield from self._counted(fetch, start, end)

    def _counted(self, fetch: _Fetch, start: int, end: int) -> Iterator[list[Any]]:
        metrics, check_cancelled = self._task.metrics, self._task.check_cancelled
        metrics.shuffle_bytes_read += end - start
        for batch in fetch.batches(start, end):
            metrics.records_read += len(batch)
            yield batch
            check_cancelled()

    def _expected_bytes(self, location: MapLocation) -> int:
        by_partition = memoryview(location.output.reduce_bytes).cast("Q")
        return int(by_partition[self._index])

    # --- aggregated -------------------------------------------------------------------------------------

    def _aggregated(self) -> Iterator[list[Any]]:
        total = sum(map(self._expected_bytes, self._input.locations))
        return self._aggregate(self._fetched(), total, 0)

    def _aggregate(self, fetched: Iterator[list[Any]], total_bytes: int, depth: int) -> Iterator[list[Any]]:
        """Each key once with its combiner; input over the budget goes through temporary files, part by part."""
        parts = min(_MOST_SUB_BUCKETS, -(-total_bytes * _LIVE_BYTES_PER_READ // self._budget_bytes))
        if parts <= 1 or depth >= _DEEPEST_SPLIT:
            yield from batches(self._in_memory(fetched).items())
            return
        # one more than needed, since parts are never exactly even
        files = self._split(fetched, parts + 1, depth)
        try:
            for file in files:
                # a single key cannot be split: when nearly everything fell into one part, going on is of no use
                deeper = depth + 1 if file.bytes < total_bytes * 9 // 10 else _DEEPEST_SPLIT
                yield from self._aggregate(file.batches(), file.bytes, deeper)
                file.close()
        finally:
            for file in files:
                file.close()

    def _in_memory(self, fetched: Iterator[list[Any]]) -> dict[Any, Any]:
        aggregator = self._spec.aggregator
        assert aggregator is not None
        combined: dict[Any, Any] = {}
        into = merge_combiners if aggregator.map_side else combine_values
        into(combined, chain.from_iterable(fetched), aggregator)
        return combined

    def _split(self, fetched: Iterator[list[Any]], parts: int, depth: int) -> list[_TemporaryFrames]:
        """All records in `parts` temporary files by a second hash of their key, each in input order."""
        files: list[_TemporaryFrames] = []
        try:
            for _ in range(parts):
                files.append(_TemporaryFrames(self._directory))
            waiting: list[list[Any]] = [[] for _ in range(parts)]
            appends = [bucket.append for bucket in waiting]
            for batch in fetched:
                for h, pair in zip(_hashes(batch), batch, strict=True):
                    appends[_spread(h, depth) % parts](pair)
                for file, bucket in zip(files, waiting, strict=True):
                    if len(bucket) >= 1_000:
                        file.append(bucket)
            for file, bucket in zip(files, waiting, strict=True):
                if bucket:
                    file.append(bucket)
                self._task.metrics.spilled_bytes += file.bytes
        except BaseException:
            for file in files:
                file.close()
            raise
        return files

    # --- sorted -------------------------------------------------------------------------------------------

    def _sorted(self) -> Iterator[list[Any]]:
        """The partition's records in sort order, equal keys in map order; beyond the budget, range by range."""
        bounds = self._input.bounds or []
        if self._index > len(bounds):
            return
        low = bounds[self._index - 1 : self._index] if self._index > 0 else []
        high = bounds[self._index : self._index + 1]
        ordering = self._spec.ordering
        assert ordering is not None
        ascending = ordering.ascending
        slices: list[tuple[MapLocation, _Run]] = []
        weighted: list[tuple[Any, int]] = []
        total = 0
        for location in self._input.locations:
            if location.output.records == 0:
                continue
            with _Fetch(location, self._open) as fetch:
                for run in fetch.runs():
                    first, last = run.frames(low, high, ascending)
                    if first < last:
                        slices.append((location, run))
                        total += run.offsets[last] - run.offsets[first]
                        weighted += [
                            (run.first_keys[f], run.offsets[f + 1] - run.offsets[f]) for f in range(first + 1, last)
                        ]
        parts = -(-total * _LIVE_BYTES_PER_READ // self._budget_bytes)
        ranges: list[Sequence[Any]] = [low, *([cut] for cut in even_cuts(weighted, parts, ascending)), high]
        for after, up_to in pairwise(ranges):
            yield self._sorted_range(slices, after, up_to)

    def _sorted_range(
        self, slices: list[tuple[MapLocation, _Run]], low: Sequence[Any], high: Sequence[Any]
    ) -> list[Any]:
        """The records after `low` up to `high`, sorted; runs are put one after the other, which timsort merges."""
        ordering = self._spec.ordering
        assert ordering is not None
        ascending = ordering.ascending
        by = sort_key(ordering.keyfunc)
        records: list[Any] = []
        fetch: _Fetch | None = None
        try:
            for location, run in slices:
                first, last = run.frames(low, high, ascending)
                if first == last:
                    continue
                if fetch is None or fetch.location is not location:
                    if fetch is not None:
                        fetch.close()
                    fetch = _Fetch(location, self._open)
                frames = list(self._counted(fetch, run.offsets[first], run.offsets[last]))
                if high:
                    del frames[-1][count_up_to(frames[-1], high[0], ascending, by) :]
                if low:
                    del frames[0][: count_up_to(frames[0], low[0], ascending, by)]
                for frame in frames:
                    records += frame
        finally:
            if fetch is not None:
                fetch.close()
        records.sort(key=by, reverse=not ascending)
        return records


class _Run:
    """One sorted run of a map output: offsets of its frames and of its end, and the first key of each frame."""

    def __init__(self, offsets: bytes, first_keys: list[Any]) -> None:
        self.offsets = array("Q", offsets)
        self.first_keys = first_keys

    def frames(self, low: Sequence[Any], high: Sequence[Any], ascending: bool) -> tuple[int, int]:
        """The range of frames that may hold records after `low` up to `high` (each a list of one key, or empty)."""
        first = max(0, count_up_to(self.first_keys, low[0], ascending, _itself) - 1) if low else 0
        last = count_up_to(self.first_keys, high[0], ascending, _itself) if high else len(self.first_keys)
        return first, max(first, last)


def _itself(key: Any) -> Any:
    return key


class _Fetch:
    """A map output opened for reading; whatever goes wrong with it is a FetchFailedError."""

    def __init__(self, location: MapLocation, open_: OpenMapOutput) -> None:
        self.location = location
        try:
            self._source: ByteSource = open_(location)
        except (StorageError, OSError) as error:
            raise self._failed(error) from error

    def __enter__(self) -> _Fetch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._source.close()

    def segments(self, index: int, num_partitions: int) -> list[tuple[int, int]]:
        """Offsets (start, end) of partition `index` in each segment."""
        footer = self._footer(HASHED)
        offsets = array("Q", footer[2])
        return [(offsets[at], offsets[at + 1]) for at in range(index, len(offsets), num_partitions + 1)]

    def runs(self) -> list[_Run]:
        return [_Run(offsets, first_keys) for offsets, first_keys in self._footer(SORTED)[1]]

    def _footer(self, kind: str) -> list[Any]:
        try:
            footer = read_footer(self._source)
        except (StorageError, OSError) as error:
            raise self._failed(error) from error
        if footer[0] != kind:
            raise self._failed(StorageError("", f"a {footer[0]} map output where a {kind} one should be"))
        return footer

    def batches(self, start: int, end: int) -> Iterator[list[Any]]:
        frames = read_frames(self._source.read, start, end)
        while True:
            try:
                one = next(frames, None)
            except (StorageError, OSError) as error:
                raise self._failed(error) from error
            if one is None:
                return
            yield pickle.loads(one[1])

    def _failed(self, error: Exception) -> FetchFailedError:
        at = self.location
        found = error.found if isinstance(error, StorageError) else str(error)
        return FetchFailedError(at.output.shuffle_id, at.output.map_index, at.executor, at.epoch, found)


class _TemporaryFrames:
    """Records in a file without a name, gone when it is closed or the process ends."""

    def __init__(self, directory: str) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by close()
        self.bytes = 0

    def append(self, records: list[Any]) -> None:
        """The records stand in the file; the list is empty."""
        for one in dump_frames(records):
            view = memoryview(one)
            while view:
                view = view[self._file.write(view) :]
            self.bytes += len(one)
        records.clear()

    def batches(self) -> Iterator[list[Any]]:
        fd = self._file.fileno()
        return read_batches(lambda offset, length: os.pread(fd, length, offset), 0, self.bytes)

    def close(self) -> None:
        self._file.close()


def _hashes(batch: list[Any]) -> list[int]:
    """A hash of each pair's key; 0 for keys that only a partition function of the user's own could place."""
    keys = [pair[0] for pair in batch]
    try:
        return list(stable_hashes(keys))
    except IdentityHashError:
        return list(map(_hash_or_zero, keys))


def _hash_or_zero(key: Any) -> int:
    try:
        return stable_hash(key)
    except IdentityHashError:
        return 0


def _spread(h: int, depth: int) -> int:
    """`h` mixed, otherwise at each depth, so that it does not follow ``h % n``, which all keys of a partition share."""
    h = (h + depth + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    return (h ^ (h >> 29)) * 0xBF58476D1CE4E5B9 >> 32 & 0x7FFFFFFF
