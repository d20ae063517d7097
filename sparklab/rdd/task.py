"""What a running task can reach: handed to every ``compute``, so that no RDD needs a global."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sparklab.shuffle.spec import Aggregator, ShuffleSpec
from sparklab.storage.level import StorageLevel
from sparklab.storage.representation import Batch


@dataclass(slots=True)
class TaskMetrics:
    """Counters of one attempt; summed into the fact ``TaskEnded``."""

    records_read: int = 0
    bytes_read: int = 0
    shuffle_bytes_read: int = 0
    shuffle_bytes_written: int = 0
    spilled_bytes: int = 0
    cache_hits: int = 0
    cache_misses: int = 0


class Source:
    """Position in the batch that a task is reading, at no cost per record.

    ``flatten(batches)`` chains batches of records; when user code raises, ``record_index()`` says which record of the
    partition's input was being worked on.
    """

    __slots__ = ("_base", "_current", "_length")

    def __init__(self) -> None:
        self._base = 0
        self._length = 0
        self._current: Any = None

    def flatten(self, batches: Iterable[Batch]) -> Iterator[Any]:
        from itertools import chain

        return chain.from_iterable(self._iterators(batches))

    def _iterators(self, batches: Iterable[Batch]) -> Iterator[Iterator[Any]]:
        for batch in batches:
            self._base += self._length
            self._length = len(batch)
            self._current = iter(batch)
            yield self._current

    def record_index(self) -> int:
        """Index of the record last handed out, -1 before the first."""
        left = self._current.__length_hint__() if self._current is not None else 0
        return self._base + self._length - left - 1


class Blocks(Protocol):
    """The block store as a task sees it."""

    def get_or_compute(
        self,
        rdd: int,
        partition: int,
        level: StorageLevel,
        compute: Callable[[], Iterator[Any]],
        task: TaskContext,
    ) -> Iterator[Any]:
        """Records of the cached block, here or with a peer; computed and stored first where nobody has it."""
        ...


class ShuffleService(Protocol):
    """The shuffle as a task sees it."""

    def read(self, spec: ShuffleSpec, reduce_index: int, task: TaskContext) -> Iterator[Any]: ...

    def read_cogrouped(
        self,
        sides: Sequence[ShuffleSpec | Iterator[Any]],
        num_partitions: int,
        reduce_index: int,
        task: TaskContext,
    ) -> Iterator[Any]:
        """``(key, (values in side 0, ...))``; a side is a shuffle, or the pairs of a parent partitioned alike."""
        ...

    def group(self, records: Iterator[Any], task: TaskContext) -> Iterator[Any]:
        """``(key, its values)`` of the pairs of one partition."""
        ...

    def combine(self, records: Iterator[Any], aggregator: Aggregator, task: TaskContext) -> Iterator[Any]:
        """``(key, combiner)`` of the pairs of one partition."""
        ...

    def hold(self, records: Iterator[Any], task: TaskContext) -> Sequence[Any]:
        """The records of one partition, to be gone through several times."""
        ...

    def sort(
        self, records: Iterator[Any], key: Callable[[Any], Any], ascending: bool, task: TaskContext
    ) -> Iterator[Any]:
        """The records of one partition in the order of `key`, equal ones as they came."""
        ...


class Gang(Protocol):
    """The other tasks of a barrier stage, as one of them sees them."""

    @property
    def addresses(self) -> Sequence[str]:
        """Of the executors, by partition."""
        ...

    def gather(self, call: str, message: str) -> list[str]:
        """Everybody's messages by partition, when all have made this call. Blocks."""
        ...


@dataclass(slots=True)
class TaskContext:
    """One attempt at one partition, on an executor.

    Attributes
    ----------
    job, stage, partition, attempt, task : int
        Ids; `attempt` counts from 0.
    executor : int
        Number of the executor that runs it.
    shipped : dict
        ``(rdd id, partition index) -> Partition`` for source partitions whose data travels with the task.
    """

    job: int
    stage: int
    partition: int
    attempt: int
    task: int
    executor: int
    blocks: Blocks
    shuffle: ShuffleService
    shipped: dict[tuple[int, int], Any] = field(default_factory=dict)
    metrics: TaskMetrics = field(default_factory=TaskMetrics)
    source: Source = field(default_factory=Source)
    on_end: list[Callable[[], None]] = field(default_factory=list)  # run when the attempt ends, however it ends
    check_cancelled: Callable[[], None] = lambda: None  # raises when the attempt was cancelled
    properties: Mapping[str, str] = field(default_factory=dict)  # of the thread that submitted the job
    updates: dict[int, Any] = field(default_factory=dict)  # accumulator -> what this attempt added
    gang: Gang | None = None  # of a barrier stage
    # records of a cached block that other executors hold, or None: then it has to be computed
    elsewhere: Callable[[int, int], Iterator[list[Any]] | None] = lambda rdd, partition: None
    # classes of the notebook that others have replaced: cached instances of them are stale
    replaced: Sequence[type] = ()
    files_root: str = ""  # where added files are, for this executor
    step_aside: Callable[[], None] = lambda: None  # in the background: lets jobs that somebody waits for go first
