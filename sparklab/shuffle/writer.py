"""The map side: one map task's records combined, bucketed and written as one file."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sparklab.errors import SparklabError
from sparklab.shuffle.combine import chunks, combine_values, identity, pairs_of
from sparklab.shuffle.files import OutputFile, output_path
from sparklab.shuffle.spec import MapOutput, Ordering, ShuffleSpec
from sparklab.storage.codec import BATCH_RECORDS, FRAME_LIMIT_BYTES, BatchSize, dump_batch, dump_frames, encode

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskMetrics

HASHED: Final = "hashed"
SORTED: Final = "sorted"

_SAMPLE: Final = 64
_LOOK_RECORDS: Final = 10_000  # how many records are combined between looks at the combiners, at least
_LIVE_BYTES_PER_PICKLED: Final = 4  # small objects in memory against their pickled form, besides the fixed part
_LIVE_BYTES_PER_RECORD: Final = 120


def write_map_output(
    records: Iterator[Any],
    spec: ShuffleSpec,
    map_index: int,
    directory: str,
    memory_budget_bytes: int,
    metrics: TaskMetrics,
    check_cancelled: Callable[[], None] = lambda: None,
) -> MapOutput:
    """The records stand in one file in `directory`, grouped by reduce partition; the handle says where.

    Blocks until all is written. When the estimated memory of what is held reaches the budget (decided from counts
    and samples, so the same records give the same file), it is appended as a further segment. The file gets its
    name when it is complete; after an error nothing of it is left.

    Raises
    ------
    SparklabError
        A record is no pair, or a key's partition is out of range.
    StorageError
        A record cannot be pickled.
    """
    out = OutputFile(output_path(directory, spec.shuffle_id, map_index))
    budget = max(1, memory_budget_bytes)
    try:
        if spec.ordering is not None:
            output = _write_sorted(records, spec, map_index, out, budget, metrics, check_cancelled)
        else:
            output = _write_hashed(records, spec, map_index, out, budget, metrics, check_cancelled)
    finally:
        out.abandon()
    metrics.shuffle_bytes_written += output.bytes
    return output


def live_bytes(records: list[Any]) -> int:
    """An estimate of the memory that `records` take, from the pickled size of 64 of them."""
    if not records:
        return 0
    sample = records[:: len(records) // _SAMPLE + 1]
    pickled = len(encode(sample))
    return len(records) * (_LIVE_BYTES_PER_RECORD + _LIVE_BYTES_PER_PICKLED * pickled // len(sample))


def drawn(records: Iterator[Any], check_cancelled: Callable[[], None]) -> Iterator[tuple[list[Any], int]]:
    """Yields batches of pairs with the estimate of their memory; large records come in small batches."""
    size = BatchSize()
    while batch := list(islice(records, size.records)):
        pairs = pairs_of(batch)
        estimate = live_bytes(pairs)
        yield pairs, estimate
        size.learn(len(pairs), estimate)
        check_cancelled()


# --- hashed: one bucket for each reduce partition ----------------------------------------------------------


class _Segments:
    """What one map task has written so far: frames grouped by reduce partition, once for each flush."""

    def __init__(self, out: OutputFile, num_partitions: int) -> None:
        self._out = out
        self._frames: list[list[bytes]] = [[] for _ in range(num_partitions)]
        self.held_bytes = 0
        self.offsets = array("Q")
        self.records = 0

    def pack(self, buckets: list[list[Any]]) -> None:
        """The buckets' records are held as frames; the buckets are empty."""
        for frames, bucket in zip(self._frames, buckets, strict=True):
            if bucket:
                packed = dump_frames(bucket)
                frames += packed
                self.held_bytes += sum(map(len, packed))
                self.records += len(bucket)
                bucket.clear()

    def flush(self) -> int:
        """The frames held stand in the file as one segment; returns its bytes."""
        start = self._out.bytes
        self.offsets.append(start)
        for frames in self._frames:
            for one in frames:
                self._out.append(one)
            frames.clear()
            self.offsets.append(self._out.bytes)
        self.held_bytes = 0
        return self._out.bytes - start


def _write_hashed(
    records: Iterator[Any],
    spec: ShuffleSpec,
    map_index: int,
    out: OutputFile,
    budget_bytes: int,
    metrics: TaskMetrics,
    check_cancelled: Callable[[], None],
) -> MapOutput:
    segments = _Segments(out, spec.num_partitions)
    fill = _fill_combined if spec.aggregator is not None and spec.aggregator.map_side else _fill_plain
    for segment_is_full in fill(records, spec, segments, budget_bytes, check_cancelled):
        written = segments.flush()
        if segment_is_full:
            metrics.spilled_bytes += written
    n = spec.num_partitions
    reduce_bytes = array("Q", bytes(8 * n))
    offsets = segments.offsets
    for base in range(0, len(offsets), n + 1):
        for p in range(n):
            reduce_bytes[p] += offsets[base + p + 1] - offsets[base + p]
    out.commit([HASHED, n, offsets.tobytes()])
    return MapOutput(
        spec.shuffle_id, map_index, out.path, out.bytes, segments.records, reduce_bytes=reduce_bytes.tobytes()
    )


def _fill_plain(
    records: Iterator[Any],
    spec: ShuffleSpec,
    segments: _Segments,
    budget_bytes: int,
    check_cancelled: Callable[[], None],
) -> Iterator[bool]:
    """Yields True each time the segment is to be flushed because of the budget, at last False."""
    place = placement(spec)
    buckets: list[list[Any]] = [[] for _ in range(spec.num_partitions)]
    appends = [bucket.append for bucket in buckets]
    half = budget_bytes // 2  # for records, the other for the frames made of them
    live = 0
    for batch, estimate in drawn(records, check_cancelled):
        for p, pair in zip(place([pair[0] for pair in batch]), batch, strict=True):
            appends[p](pair)
        live += estimate
        if live > half:
            segments.pack(buckets)
            live = 0
            if segments.held_bytes > half:
                yield True
    segments.pack(buckets)
    yield False


def _fill_combined(
    records: Iterator[Any],
    spec: ShuffleSpec,
    segments: _Segments,
    budget_bytes: int,
    check_cancelled: Callable[[], None],
) -> Iterator[bool]:
    """Yields True each time the combiners reached the budget and are to be flushed, at last False."""
    assert spec.aggregator is not None
    place = placement(spec)
    combined: dict[Any, Any] = {}
    count, look_at = 0, _LOOK_RECORDS
    for chunk in chunks(records, _LOOK_RECORDS):
        combine_values(combined, chunk, spec.aggregator)
        check_cancelled()
        count += _LOOK_RECORDS
        if count < look_at:
            continue
        sample = list(islice(combined.items(), 0, None, len(combined) // _SAMPLE + 1))
        estimate = live_bytes(sample) * len(combined) // len(sample)
        if estimate > budget_bytes:
            segments.pack(_buckets(combined, spec.num_partitions, place))
            combined.clear()
            count, look_at = 0, _LOOK_RECORDS
            yield True
        else:
            # combiners may grow without new keys: look again at half as many more, or when the budget may be reached
            look_at = count + min(count // 2, count * (budget_bytes - estimate) // estimate)
    segments.pack(_buckets(combined, spec.num_partitions, place))
    yield False


def _buckets(combined: dict[Any, Any], n: int, place: Callable[[list[Any]], list[int]]) -> list[list[Any]]:
    buckets: list[list[Any]] = [[] for _ in range(n)]
    appends = [bucket.append for bucket in buckets]
    for p, pair in zip(place(list(combined)), combined.items(), strict=True):
        appends[p](pair)
    return buckets


def placement(spec: ShuffleSpec) -> Callable[[list[Any]], list[int]]:
    """A function from a batch of keys to their partitions, checked to be in range.

    Uses ``partition_of.many`` where the partition function has one (HashPlacement), else calls it for each key.
    """
    many: Callable[[list[Any]], list[int]] | None = getattr(spec.partition_of, "many", None)
    if many is not None:
        return many
    partition_of, n = spec.partition_of, spec.num_partitions

    def place(keys: list[Any]) -> list[int]:
        places = list(map(partition_of, keys))
        if places and not (set(map(type, places)) <= {int, bool} and min(places) >= 0 and max(places) < n):
            for key, p in zip(keys, places, strict=True):
                if type(p) not in (int, bool) or not 0 <= p < n:
                    raise SparklabError(
                        f"placing a key of type {type(key).__qualname__} in one of {n} partitions",
                        f"the partition function returned {p!r}"[:200],
                        f"return an int from 0 to {n - 1}",
                    )
        return places

    return place


# --- sorted: runs with an index of first keys -----------------------------------------------------------------


def _write_sorted(
    records: Iterator[Any],
    spec: ShuffleSpec,
    map_index: int,
    out: OutputFile,
    budget_bytes: int,
    metrics: TaskMetrics,
    check_cancelled: Callable[[], None],
) -> MapOutput:
    assert spec.ordering is not None
    samples = _Samples(max(100, 30 * spec.num_partitions // max(1, spec.num_maps)))
    runs: list[tuple[bytes, list[Any]]] = []
    run: list[Any] = []
    live = written = 0
    for batch, estimate in drawn(records, check_cancelled):
        run += batch
        live += estimate
        if live > budget_bytes:
            written += len(run)
            start = out.bytes
            runs.append(_write_run(run, live, spec.ordering, out, samples))
            metrics.spilled_bytes += out.bytes - start
            run = []
            live = 0
    if run:
        written += len(run)
        runs.append(_write_run(run, live, spec.ordering, out, samples))
    out.commit([SORTED, runs])
    sample = encode([samples.keys, samples.stride]) if samples.keys else b""
    return MapOutput(spec.shuffle_id, map_index, out.path, out.bytes, written, samples=sample)


class _Samples:
    """Every `stride`-th key of the runs in sort order; the first run decides the stride."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.stride = 0
        self.keys: list[Any] = []

    def take(self, run: list[Any], keyfunc: Callable[[Any], Any]) -> None:
        self.stride = self.stride or max(1, len(run) // self._wanted)
        # from the middle of each stride, so that a key stands for the records around it
        self.keys += [keyfunc(pair[0]) for pair in run[self.stride // 2 :: self.stride]]


def _write_run(
    run: list[Any], live: int, ordering: Ordering, out: OutputFile, samples: _Samples
) -> tuple[bytes, list[Any]]:
    """The run stands in the file, sorted; returns the offsets of its frames and of its end, and their first keys."""
    keyfunc = ordering.keyfunc
    run.sort(key=sort_key(keyfunc), reverse=not ordering.ascending)
    samples.take(run, keyfunc)
    size = max(1, min(BATCH_RECORDS, FRAME_LIMIT_BYTES * len(run) // live))
    offsets = array("Q", [out.bytes])
    first_keys = []
    for at in range(0, len(run), size):
        first_keys.append(keyfunc(run[at][0]))
        out.append(dump_batch(run[at : at + size]))
        offsets.append(out.bytes)
    return offsets.tobytes(), first_keys


def sort_key(keyfunc: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The key function for pairs whose keys are ordered by `keyfunc`."""
    return itemgetter(0) if keyfunc is identity else lambda pair: keyfunc(pair[0])
