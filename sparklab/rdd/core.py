"""RDDCore: a node of the lineage. Five hooks that each kind of RDD fills in, and the final accessors around them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, final

from sparklab.errors import ClosureError, FetchFailedError, RedefinedClassError
from sparklab.rdd.callsite import call_site
from sparklab.rdd.dependency import Dependency
from sparklab.storage.level import StorageLevel

if TYPE_CHECKING:
    from sparklab.rdd.partitioner import Partitioner
    from sparklab.rdd.task import TaskContext


class Partition:
    """One part of an RDD. Most need no more than their index, which an executor can make for itself."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class SourcePartition(Partition):
    """A partition with data of its own (a slice, a byte range of a file): it travels with the task."""

    __slots__ = ("payload",)

    def __init__(self, index: int, payload: Any) -> None:
        super().__init__(index)
        self.payload = payload

    def __reduce__(self) -> tuple[Any, ...]:
        return (SourcePartition, (self.index, self.payload))


class Driver(Protocol):
    """What an RDD needs of its context: ids, defaults, and somebody to run jobs."""

    @property
    def defaultParallelism(self) -> int: ...

    def new_rdd_id(self) -> int: ...

    def new_shuffle_id(self) -> int: ...

    def register(self, rdd: RDDCore) -> None:
        """`rdd` is complete: id and dependencies are known."""
        ...

    def run_job(
        self,
        rdd: RDDCore,
        func: Callable[[int, Iterator[Any]], Any],
        partitions: Sequence[int] | None = None,
        action: str = "runJob",
    ) -> list[Any]:
        """``func(index, records)`` of each asked partition (all by default), in that order. Blocks."""
        ...

    def local_properties(self) -> dict[str, str]:
        """The calling thread's properties, which its jobs carry."""
        ...

    def labelled(self, properties: Mapping[str, str | None]) -> AbstractContextManager[None]:
        """Jobs of this thread carry `properties` inside."""
        ...

    def run_job_for(
        self, rdd: RDDCore, func: Callable[[int, Iterator[Any]], Any], for_s: float, action: str
    ) -> dict[int, Any]:
        """``func(index, records)`` of the partitions that are done in time, by index. Blocks."""
        ...

    def rdd_persisted(self, rdd: RDDCore) -> None: ...

    def rdd_unpersisted(self, rdd: RDDCore, blocking: bool) -> None: ...

    def forget_shuffles(self, shuffles: Sequence[int], blocking: bool) -> None: ...

    def dask_bag(self, rdd: RDDCore) -> Any: ...

    def getCheckpointDir(self) -> str | None: ...

    def rdd_marked(self, rdd: RDDCore) -> None:
        """`rdd` is to be checkpointed after the next job that computes it."""
        ...


class Restored(Protocol):
    """What a checkpoint has put in the place of an RDD's lineage."""

    def read(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        """Records of `partition`, on an executor."""
        ...


class RDDCore:
    """A node of the lineage: what to compute, never when or where.

    A kind of RDD fills in five hooks (NSDI'12, section 4, table 3): ``_partitions``, ``dependencies``, ``compute``,
    ``partitioner`` and ``preferred_locations``. Everything else goes through the final accessors below, so that the
    cache is consulted in exactly one place.

    Invariant: defining an RDD runs no user function and starts no job.
    """

    # Set on its way to an executor: partitions carry data that must travel with the task.
    _is_source = False
    # Its partitions are computed at the same time, all or none.
    is_barrier = False
    # Not the same when computed again: known from the user, or found by a check. Set on the driver.
    _indeterminate = False
    # Set by a checkpoint, with partitions of its own and no dependencies.
    _restored: Restored | None = None

    def __init__(
        self,
        context: Driver,
        dependencies: Sequence[Dependency],
        operator: str,
        partitioner: Partitioner | None = None,
    ) -> None:
        self.context = context
        self.dependencies: tuple[Dependency, ...] = tuple(dependencies)
        self.operator = operator
        self.partitioner = partitioner
        self.call_site = call_site()
        self.storage_level = StorageLevel.NONE
        self._id = context.new_rdd_id()
        self._name: str | None = None
        self._memoised_partitions: Sequence[Partition] | None = None
        context.register(self)

    # --- the hooks --------------------------------------------------------------------------------

    def _partitions(self) -> Sequence[Partition]:
        """The partitions, in order; asked once, on the driver, after the parents' are known. Default: the parent's."""
        return [Partition(i) for i in range(len(self.dependencies[0].rdd.partitions))]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        """Records of `partition`, on an executor. Lazy: pulls from ``parent.iterator(i, task)``."""
        raise NotImplementedError

    def preferred_locations(self, partition: Partition) -> Sequence[str]:
        """Hosts on which `partition` is cheap to compute, best first."""
        return ()

    # --- final accessors --------------------------------------------------------------------------

    @property
    @final
    def partitions(self) -> Sequence[Partition]:
        """The partitions, memoised. Parents first and iteratively: a lineage 10,000 long is no recursion."""
        if self._memoised_partitions is None:
            stack: list[RDDCore] = [self]
            while stack:
                rdd = stack[-1]
                waiting = [d.rdd for d in rdd.dependencies if d.rdd._memoised_partitions is None]
                if rdd._memoised_partitions is None and not waiting:
                    rdd._memoised_partitions = rdd._partitions()
                if waiting:
                    stack.extend(waiting)
                else:
                    stack.pop()
        assert self._memoised_partitions is not None
        return self._memoised_partitions

    @final
    def iterator(self, index: int, task: TaskContext) -> Iterator[Any]:
        """Records of partition `index`: the cached block where there is one, else computed, and stored if asked."""
        if self.storage_level == StorageLevel.NONE:
            return self._made(index, task)
        records = task.blocks.get_or_compute(
            self._id,
            index,
            self.storage_level,
            lambda: self._made(index, task),
            task,
        )
        return self._of_classes_in_use(records, task.replaced) if task.replaced else records

    @final
    def _of_classes_in_use(self, records: Iterator[Any], replaced: Sequence[type]) -> Iterator[Any]:
        """`records`, of which the first is looked at: it is made of no class that was defined anew since."""
        for first in records:
            parts = first if isinstance(first, tuple | list) else ()
            for part in (first, *itertools.islice(parts, 100)):
                kind = type(part)
                if any(kind is old for old in replaced):
                    raise RedefinedClassError(
                        f"reading cached partitions of RDD {self._id} ({self.operator} at {self.call_site})",
                        f"they hold instances of a class {kind.__qualname__} that has been defined anew since",
                        "unpersist() that RDD and run again, so that its records are made of the new class",
                    )
            yield first
            yield from records

    @final
    def _made(self, index: int, task: TaskContext) -> Iterator[Any]:
        partition = self._partition(index, task)
        return self.compute(partition, task) if self._restored is None else self._restored.read(partition, task)

    @final
    def _cut_lineage(self, restored: Restored, partitions: Sequence[Partition]) -> None:
        """Records come from `restored` from now on; the lineage above is gone. From the scheduler's thread alone."""
        self._restored = restored
        self._memoised_partitions = partitions
        self.dependencies = ()

    @final
    def _partition(self, index: int, task: TaskContext) -> Partition:
        partition = task.shipped.get((self._id, index))
        if partition is not None:
            return partition  # type: ignore[no-any-return]
        if self._is_source:
            # The driver took it for cached and left its data out; it is sent along with the next try.
            raise FetchFailedError(-1, index, task.executor, -1, "the partition's data did not travel with the task")
        return Partition(index)

    # --- travelling to executors ------------------------------------------------------------------

    @final
    def shipped_state(self) -> dict[str, Any]:
        """What an executor needs of this node: everything but the context, the partitions and the links."""
        driver_only = ("context", "dependencies", "_memoised_partitions")
        return {key: value for key, value in self.__dict__.items() if key not in driver_only}

    def __reduce__(self) -> NoReturn:
        raise ClosureError(
            f"sending a function to executors that refers to the RDD {self._id} ({self.operator} at {self.call_site})",
            "RDDs exist on the driver only: a transformation or action cannot be called inside another one",
            "collect() the inner RDD first, or join the two",
        )
