"""The map side: one map task's records combined, bucketed and written as one file."""

from __future__ import annotations

import pickle
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final, Protocol

from sparklab import steps
from sparklab.shuffle import tally
from sparklab.shuffle.buckets import Buckets, sub_buckets
from sparklab.shuffle.combine import columns_of, combine_values, identity
from sparklab.shuffle.files import HASHED, SORTED, OutputFile, output_path
from sparklab.shuffle.idioms import adds_up
from sparklab.shuffle.order import sorted_order
from sparklab.shuffle.spec import Aggregator, MapOutput, Ordering, ShuffleSpec
from sparklab.storage.codec import BATCH_RECORDS, FRAME_LIMIT_BYTES, BatchSize, dump_pairs, encode

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskMetrics

_SAMPLE: Final = 64
_LOOK_RECORDS: Final = 10_000  # how many records are combined between looks at the combiners, at least
_NOTED: Final = 8  # of these: keys looked at alone, and records measured
_LOOKED_INTO: Final = 8  # items of a container
_PLAIN: Final = {int, float, complex, bool, str, bytes, bytearray, type(None)}
_LIVE_BYTES_PER_PICKLED: Final = 4  # small objects in memory against their pickled form, besides the fixed part
_LIVE_BYTES_PER_RECORD: Final = 120


class Destination(Protocol):
    """Where combiners go: the buckets of a shuffle, or a file of one partition's own."""

    def add(self, keys: list[Any], values: list[Any]) -> None: ...

    def tally_of(self, keys: list[Any], values: list[Any]) -> tally.Tally | None:
        """The pairs as add_tally() takes them, where it can place them."""
        ...

    def add_tally(self, tally: tally.Tally) -> None: ...


def write_map_output(
    records: Iterator[Any],
    spec: ShuffleSpec,
    map_index: int,
    directory: str,
    memory_budget_bytes: int,
    metrics: TaskMetrics,
    check_cancelled: Callable[[], None] = lambda: None,
    constant: int | None = None,
) -> MapOutput:
    """The records stand in one file in `directory`, grouped by reduce partition; the handle says where.

    Blocks until all is written. When the estimated memory of what is held reaches the budget (decided from counts
    and samples, so the same records give the same file), it is appended as a further segment. The file gets its
    name when it is complete; after an error nothing of it is left.

    With `constant` the records are keys alone, each with this value; for a shuffle that :func:`counts_keys`.

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
            output = _write_hashed(records, spec, map_index, out, budget, metrics, check_cancelled, constant)
    finally:
        out.abandon()
    metrics.shuffle_bytes_written += output.bytes
    return output


def counts_keys(spec: ShuffleSpec) -> bool:
    """Whether whole numbers are added up by key, keys being placed by value."""
    aggregator = spec.aggregator
    return aggregator is not None and aggregator.map_side and sub_buckets(spec) > 1 and adds_up(aggregator)


def live_bytes(records: list[Any]) -> int:
    """An estimate of the memory that `records` take, from the pickled size of 64 of them."""
    if not records:
        return 0
    sample = records[:: len(records) // _SAMPLE + 1]
    pickled = len(encode(sample))
    return len(records) * (_LIVE_BYTES_PER_RECORD + _LIVE_BYTES_PER_PICKLED * pickled // len(sample))


def deep_bytes(value: Any, depth: int = 3) -> int:
    """An estimate of the memory that `value` takes with what it contains, from a few items of each container.

    Unlike :func:`live_bytes` it costs the same however large a container has grown.
    """
    kind = type(value)
    if kind in _PLAIN or depth == 0:
        return getsizeof(value)
    if kind.__module__ == "numpy":
        return getsizeof(value) + int(getattr(value, "nbytes", 0))  # of a view the first is its header alone
    if kind in (list, tuple):
        items = value[:: len(value) // _LOOKED_INTO + 1]
        count = len(value)
    elif kind in (set, frozenset, deque):
        items = list(islice(value, _LOOKED_INTO))
        count = len(value)
    elif kind in (dict, defaultdict, Counter, OrderedDict):
        items = [each for item in islice(value.items(), _LOOKED_INTO) for each in item]
        count = 2 * len(value)
    else:
        try:
            return _LIVE_BYTES_PER_RECORD + _LIVE_BYTES_PER_PICKLED * len(pickle.dumps(value, 5))
        except Exception:  # it is not for being pickled, or only by value: it stays here, or will be refused later
            return getsizeof(value)
    return getsizeof(value) + sum(deep_bytes(item, depth - 1) for item in items) * count // max(1, len(items))


# --- hashed: one bucket for each reduce partition, or several ----------------------------------------------


def _write_hashed(
    records: Iterator[Any],
    spec: ShuffleSpec,
    map_index: int,
    out: OutputFile,
    budget_bytes: int,
    metrics: TaskMetrics,
    check_cancelled: Callable[[], None],
    constant: int | None,
) -> MapOutput:
    buckets = Buckets(spec, out)
    if constant is not None:
        filled = _fill_counted(constant, records, spec, buckets, budget_bytes, check_cancelled)
    elif spec.aggregator is not None and spec.aggregator.map_side:
        filled = fill_combined(records, spec.aggregator, buckets, budget_bytes, check_cancelled)
    else:
        filled = _fill_plain(records, buckets, budget_bytes, check_cancelled)
    for last in filled:
        written = buckets.flush(last)
        if not last:
            metrics.spilled_bytes += written
            steps.at("spill")
    out.commit([HASHED, spec.num_partitions, buckets.subs, buckets.offsets.tobytes()])
    return MapOutput(
        spec.shuffle_id,
        map_index,
        out.path,
        out.bytes,
        buckets.records,
        reduce_bytes=buckets.reduce_bytes(),
        sub_buckets=buckets.subs,
    )


def _fill_counted(
    constant: int,
    keys: Iterator[Any],
    spec: ShuffleSpec,
    buckets: Buckets,
    budget_bytes: int,
    check_cancelled: Callable[[], None],
) -> Iterator[bool]:
    """As fill_combined of ``(key, constant)`` for each of `keys`; in columns where these are many and all str."""
    size = BatchSize(_LOOK_RECORDS)
    few = list(islice(keys, 1))
    live = 0
    while few and type(few[0]) is str and len(few) < tally._WORTH_TALLY and live < budget_bytes // 4:
        batch = list(islice(keys, size.records))
        if not batch:
            break
        few += batch
        estimate = live_bytes(batch)
        size.learn(len(batch), estimate)
        live += estimate
        check_cancelled()
    combined: dict[Any, Any] = {}
    counting = tally.Counting(constant)
    batch = few
    if len(few) >= tally._WORTH_TALLY:
        most = min(budget_bytes // 4, tally.LARGEST_BYTES)
        while batch and (taken := counting.add(batch)) is not None:
            size.learn(len(batch), taken)
            check_cancelled()
            if counting.nbytes > most and (counted := counting.take()) is not None:
                buckets.add_tally(counted)
                yield False
            batch = list(islice(keys, size.records))
        counted = counting.take()
        if not batch:
            if counted is not None:
                buckets.add_tally(counted)
            yield True
            return
        if counted is not None:
            combined.update(zip(*counted.lists(), strict=True))
    pairs = zip(chain(batch, keys), repeat(constant), strict=False)
    assert spec.aggregator is not None
    yield from fill_combined(pairs, spec.aggregator, buckets, budget_bytes, check_cancelled, combined)


def _fill_plain(
    records: Iterator[Any],
    buckets: Buckets,
    budget_bytes: int,
    check_cancelled: Callable[[], None],
) -> Iterator[bool]:
    """Yields each time the segment is to be flushed, whether it is the last."""
    half = budget_bytes // 2  # for records, the other for the frames made of them
    live = 0
    size = BatchSize()
    while batch := list(islice(records, size.records)):
        keys, values = columns_of(batch)
        estimate = live_bytes(batch)
        size.learn(len(batch), estimate)
        buckets.add(keys, values)
        check_cancelled()
        live += estimate
        if live > half:
            buckets.pack()
            live = 0
        if buckets.packed_bytes > half:
            yield False
            live = 0
    yield True


def fill_combined(
    records: Iterator[Any],
    aggregator: Aggregator,
    buckets: Destination,
    budget_bytes: int,
    check_cancelled: Callable[[], None],
    combined: dict[Any, Any] | None = None,
) -> Iterator[bool]:
    """Yields each time the combiners reached the budget or the records are at their end, whether it is the last.

    They are those in `combined` to begin with.
    """
    combined = {} if combined is None else combined
    count, look_at = 0, _LOOK_RECORDS
    drawn = 0  # bytes since the last look, estimated
    size = BatchSize(_LOOK_RECORDS)
    while True:
        keys: list[Any] = []
        sizes: list[int] = []
        # one after the other, so that an error knows which record it was
        ahead = chain(_noted(islice(records, _NOTED), keys, sizes), islice(records, max(0, size.records - _NOTED)))
        combine_values(combined, ahead, aggregator)
        check_cancelled()
        if not sizes:
            break
        count += size.records
        drawn += sum(sizes) * size.records // len(sizes)
        size.learn(len(sizes), sum(sizes))
        if count < look_at and drawn < budget_bytes // 4:
            continue
        drawn = 0
        sample = list(islice(combined.items(), 0, None, len(combined) // _SAMPLE + 1))
        # a hot key is hardly in a sample of all keys, but among the latest ones
        hot = {k: combined[k] for k in keys}
        largest = max(map(deep_bytes, hot.values()))
        estimate = max(sum(map(deep_bytes, sample)) * len(combined) // len(sample), largest)
        # one that is large by itself will have to be pickled, read and merged as one object
        if estimate > budget_bytes or largest > budget_bytes // 4:
            _move(combined, buckets)
            count, look_at = 0, _LOOK_RECORDS
            yield False
        else:
            # combiners may grow without new keys: look again at half as many more, or when the budget may be reached
            look_at = count + min(count // 2, count * (budget_bytes - estimate) // estimate)
    _move(combined, buckets)
    yield True


def _noted(records: Iterator[Any], keys: list[Any], sizes: list[int]) -> Iterator[Any]:
    """Yields `records`; their keys and estimated sizes are noted before anything becomes of them."""
    for record in records:
        sizes.append(deep_bytes(record))
        yield record
        keys.append(record[0])  # a pair by now


def _move(combined: dict[Any, Any], buckets: Destination) -> None:
    """The combiners are in `buckets`, `combined` is empty; in batches, so that a key is touched while it is warm."""
    keys, values = list(combined), list(combined.values())
    combined.clear()
    if len(keys) >= tally._WORTH_TALLY and (columns := buckets.tally_of(keys, values)) is not None:
        buckets.add_tally(columns)
        return
    for start in range(0, len(keys), BATCH_RECORDS):
        buckets.add(keys[start : start + BATCH_RECORDS], values[start : start + BATCH_RECORDS])


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
    ordering = spec.ordering
    assert ordering is not None
    samples = _Samples(max(100, 30 * spec.num_partitions // max(1, spec.num_maps)))
    runs: list[tuple[bytes, list[Any]]] = []
    # Two columns rather than pairs: no tuples for the collector to visit, and what is freed is freed in the order in
    # which it was made, not in that of the keys.
    keys: list[Any] = []
    values: list[Any] = []
    live = written = 0
    size = BatchSize()
    while batch := list(islice(records, size.records)):
        some_keys, some_values = columns_of(batch)
        estimate = live_bytes(batch)
        size.learn(len(batch), estimate)
        check_cancelled()
        keys += some_keys
        values += some_values
        live += estimate
        if live > budget_bytes:
            written += len(keys)
            start = out.bytes
            runs.append(_write_run(keys, values, live, ordering, out, samples))
            metrics.spilled_bytes += out.bytes - start
            steps.at("spill")
            keys, values = [], []
            live = 0
    if keys:
        written += len(keys)
        runs.append(_write_run(keys, values, live, ordering, out, samples))
    out.commit([SORTED, runs])
    sample = encode([samples.keys, samples.stride]) if samples.keys else b""
    return MapOutput(spec.shuffle_id, map_index, out.path, out.bytes, written, samples=sample)


class _Samples:
    """Every `stride`-th key of the runs in sort order; the first run decides the stride."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.stride = 0
        self.keys: list[Any] = []

    def take(self, keys: list[Any], order: Any) -> None:
        self.stride = self.stride or max(1, len(order) // self._wanted)
        # from the middle of each stride, so that a key stands for the records around it
        self.keys += [keys[i] for i in order[self.stride // 2 :: self.stride]]


def _write_run(
    keys: list[Any], values: list[Any], live: int, ordering: Ordering, out: OutputFile, samples: _Samples
) -> tuple[bytes, list[Any]]:
    """The run stands in the file, sorted; returns the offsets of its frames and of its end, and their first keys."""
    keyfunc = ordering.keyfunc
    size = max(1, min(BATCH_RECORDS, FRAME_LIMIT_BYTES * len(keys) // live))
    columns = tally.ordered(keys, values, ordering.ascending, size) if keyfunc is identity else None
    if columns is not None:
        positions, pairs = columns
        samples.take(keys, positions)
        ends = array("Q", [out.bytes])
        for frame in tally.slices(pairs, size):
            out.append(frame)
            ends.append(out.bytes)
        return ends.tobytes(), pairs.numbers[::size].tolist()
    by = keys if keyfunc is identity else [keyfunc(k) for k in keys]
    order = sorted_order(by, ordering.ascending)
    samples.take(by, order)
    offsets = array("Q", [out.bytes])
    first_keys = []
    for at in range(0, len(order), size):
        chosen = order[at : at + size]
        first_keys.append(by[chosen[0]])
        out.append(b"".join(dump_pairs([keys[i] for i in chosen], [values[i] for i in chosen])))
        offsets.append(out.bytes)
    return offsets.tobytes(), first_keys
