"""What a shuffle does with its records, and the small handles that travel between executors and the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from sparklab.errors import FetchFailedError

_Raw: TypeAlias = bytes


@dataclass(frozen=True, slots=True)
class Aggregator:
    """How values of one key become one combiner (PySpark's combineByKey)."""

    create: Callable[[Any], Any]
    merge_value: Callable[[Any, Any], Any]
    merge_combiners: Callable[[Any, Any], Any]
    map_side: bool = True  # combine before the exchange


@dataclass(frozen=True, slots=True)
class Ordering:
    """Sort by ``keyfunc(key)``: maps write sorted runs with samples, bounds cut the runs afterwards."""

    keyfunc: Callable[[Any], Any]
    ascending: bool = True


@dataclass(frozen=True, slots=True)
class ShuffleSpec:
    """Everything the writer and the reader of one shuffle need; travels with the stage.

    Records are pairs ``(key, value)``. With an aggregator the reader yields ``(key, combiner)``, each key once;
    without one it yields the pairs as written. Reduce input is always taken in map order, so recomputing it
    gives the same records in the same order.
    """

    shuffle_id: int
    num_maps: int
    num_partitions: int
    partition_of: Callable[[Any], int]  # key -> partition in range(num_partitions); unused with `ordering`
    aggregator: Aggregator | None = None
    ordering: Ordering | None = None
    label: str = ""  # "reduceByKey at In [5]:3", for messages


@dataclass(frozen=True, slots=True)
class MapOutput:
    """The handle of one map task's output: small, gathered by the driver at once.

    `reduce_bytes` is an ``array('Q')`` of the bytes for each reduce partition, as raw bytes (empty for an ordered
    shuffle, whose cuts are not known yet). `samples` is ``pickle((keys, weight))`` with keys already passed through
    ``ordering.keyfunc`` (empty without ordering). `sub_buckets` says into how many parts each partition is divided.
    """

    shuffle_id: int
    map_index: int
    path: str  # file on the executor that wrote it
    bytes: int
    records: int
    reduce_bytes: _Raw = b""
    samples: _Raw = b""
    sub_buckets: int = 1


@dataclass(frozen=True, slots=True)
class MapLocation:
    """Where a map output is: the handle plus the incarnation of the executor that holds it."""

    output: MapOutput
    executor: int
    epoch: int
    address: str  # for executors on other hosts
    host: str  # token: equal tokens may open each other's files

    def failed(self, found: str, *, damaged: bool = False, all_lost: bool = False) -> FetchFailedError:
        """The error of a task that needs this output and cannot have it, because of `found`."""
        output = self.output
        return FetchFailedError(
            output.shuffle_id, output.map_index, self.executor, self.epoch, found, damaged, all_lost
        )


@dataclass(frozen=True, slots=True)
class ShuffleInput:
    """What a stage's tasks need to read one shuffle: a location for every map, and the bounds of an ordered one."""

    locations: Sequence[MapLocation]  # index = map index
    bounds: Sequence[Any] | None = None  # num_partitions - 1 (or fewer) keyfunc'ed keys, ascending in sort order


class ByteSource(Protocol):
    """Random access to one file of some executor."""

    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes | memoryview: ...

    def close(self) -> None: ...


OpenMapOutput = Callable[[MapLocation], ByteSource]
"""Opens a map output wherever it is; raises FetchFailedError when it is not there any more."""
