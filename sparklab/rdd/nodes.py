"""The kinds of RDD: each fills in the five hooks of RDDCore, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING, Any, cast

from sparklab.rdd.callsite import call_site
from sparklab.rdd.core import Driver, Partition, RDDCore, SourcePartition
from sparklab.rdd.dependency import Dependency, Grouped, OneToOne, Range, Shuffle
from sparklab.rdd.fusion import Function, fused
from sparklab.rdd.operators import Map, Operator, Origin
from sparklab.rdd.partitioner import Partitioner, placement
from sparklab.rdd.rdd import RDD
from sparklab.rdd.results import length
from sparklab.shuffle.combine import GROUPING
from sparklab.shuffle.idioms import paired_constant
from sparklab.shuffle.spec import Aggregator, Ordering, ShuffleSpec
from sparklab.storage.codec import dump_frames, load_batches
from sparklab.storage.level import StorageLevel

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext


class ParallelCollection(RDD):
    """Data of the driver, snapshotted when ``parallelize`` was called: each slice is kept pickled."""

    def __init__(self, context: Driver, slices: Sequence[list[Any] | range], operator: str = "parallelize") -> None:
        super().__init__(context, (), operator)
        self._memoised_partitions = [SourcePartition(i, _pickled(s)) for i, s in enumerate(slices)]

    def _partitions(self) -> Sequence[Partition]:
        assert self._memoised_partitions is not None
        return self._memoised_partitions

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        assert isinstance(partition, SourcePartition)
        return task.source.flatten(_counted(_unpickled(partition.payload), task))


def _pickled(records: list[Any] | range) -> Any:
    """The payload of a slice: what :func:`_unpickled` reads back, batch by batch. A range is its own short form."""
    return records if isinstance(records, range) else dump_frames(records)


def _counted(batches: Iterable[list[Any]], task: TaskContext) -> Iterator[list[Any]]:
    for batch in batches:
        task.metrics.records_read += len(batch)
        yield batch


def _unpickled(payload: Any) -> Iterable[list[Any]]:
    if isinstance(payload, range):
        return cast("list[list[Any]]", [payload])  # all that is asked of a batch: its length and its iterator
    return chain.from_iterable(map(load_batches, payload))


class MapPartitions(RDD):
    """``function(index, records)`` of each partition of the parent: every record-wise operator."""

    def __init__(
        self,
        parent: RDDCore,
        function: Callable[[int, Iterator[Any]], Iterator[Any]],
        operator: str,
        preserves_partitioning: bool = False,
    ) -> None:
        partitioner = parent.partitioner if preserves_partitioning else None
        super().__init__(parent.context, (OneToOne(parent),), operator, partitioner)
        self._function = function
        if isinstance(function, Operator):
            function.origin = Origin(self._id, operator, self.call_site)

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        return _computed(self, partition.index, task)


def _computed(rdd: RDDCore, index: int, task: TaskContext) -> Iterator[Any]:
    """Records of partition `index` of a MapPartitions or a Union.

    Down the lineage and up again in two loops: an RDD that grows by an operator per round is no recursion.
    """
    steps: list[tuple[Function, int]] = []
    while True:
        if isinstance(rdd, MapPartitions):
            steps.append((rdd._function, index))
            rdd = rdd.dependencies[0].rdd
        elif isinstance(rdd, Union) and not rdd._aligned:
            rdd, index = rdd._share(index)
        else:
            break
        if rdd.storage_level != StorageLevel.NONE or rdd._restored is not None:
            break
    records = rdd.iterator(index, task)
    steps.reverse()
    for function, index in fused(steps):
        records = function(index, records)
    return records


def counted_keys(rdd: RDDCore, index: int, task: TaskContext) -> tuple[Iterator[Any], int] | None:
    """Records of the parent's partition, and c, where `rdd` makes ``(x, c)`` of each of them and keeps nothing."""
    if not isinstance(rdd, MapPartitions) or type(rdd._function) is not Map:
        return None
    if rdd.storage_level != StorageLevel.NONE or rdd._restored is not None:
        return None
    constant = paired_constant(rdd._function.f)
    return None if constant is None else (rdd.dependencies[0].rdd.iterator(index, task), constant)


class ZipWithIndex(RDD):
    """``(record, index in the whole RDD)``.

    The sizes of the partitions have to be known. They are counted by a job of their own, which starts when the
    partitions of this RDD are first asked for (that is: by its first action), not when the RDD is defined.
    """

    def __init__(self, parent: RDD) -> None:
        super().__init__(parent.context, (OneToOne(parent),), "zipWithIndex")

    def _partitions(self) -> Sequence[Partition]:
        parent = self.dependencies[0].rdd
        start, partitions = 0, []
        counted = len(parent.partitions)
        # The last partition's size is nobody's offset.
        sizes = self.context.run_job(parent, length, range(counted - 1), "zipWithIndex") if counted > 1 else []
        for index, size in enumerate([*sizes, 0][:counted]):
            partitions.append(SourcePartition(index, start))
            start += size
        return partitions

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        assert isinstance(partition, SourcePartition)
        records = self.dependencies[0].rdd.iterator(partition.index, task)
        return zip(records, count(partition.payload), strict=False)


class Union(RDD):
    """The partitions of all parents one after the other; of equally partitioned parents, partition by partition."""

    def __init__(self, context: Driver, parents: Sequence[RDDCore]) -> None:
        partitioner = parents[0].partitioner
        self._aligned = partitioner is not None and all(p.partitioner == partitioner for p in parents)
        dependencies: list[Dependency] = [OneToOne(p) if self._aligned else Range(p, 0, 0, 0) for p in parents]
        super().__init__(context, dependencies, "union", partitioner if self._aligned else None)

    def _partitions(self) -> Sequence[Partition]:
        if self._aligned:
            return [Partition(i) for i in range(len(self.dependencies[0].rdd.partitions))]
        start = 0
        for dependency in self.dependencies:
            # The shares are known only now: listing files to count them is not for the definition.
            assert isinstance(dependency, Range)
            dependency.out_start, dependency.length = start, len(dependency.rdd.partitions)
            start += dependency.length
        return [Partition(i) for i in range(start)]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        if self._aligned:
            return chain.from_iterable(d.rdd.iterator(partition.index, task) for d in self.dependencies)
        return _computed(self, partition.index, task)

    def _share(self, index: int) -> tuple[RDDCore, int]:
        """The parent, and the partition of it, that partition `index` is."""
        for dependency in self.dependencies:
            if (
                isinstance(dependency, Range)
                and dependency.out_start <= index < dependency.out_start + dependency.length
            ):
                return dependency.rdd, dependency.in_start + index - dependency.out_start
        raise IndexError(index)


class Coalesced(RDD):
    """Neighbouring partitions of the parent read as one, without a shuffle."""

    def __init__(self, parent: RDDCore, num_partitions: int) -> None:
        super().__init__(parent.context, (Grouped(parent, ()),), "coalesce")
        self._wanted = num_partitions

    def _partitions(self) -> Sequence[Partition]:
        grouped = self.dependencies[0]
        assert isinstance(grouped, Grouped)
        before = len(grouped.rdd.partitions)
        after = min(self._wanted, before)
        grouped.groups = [range(i * before // after, (i + 1) * before // after) for i in range(after)]
        return [Partition(i) for i in range(after)]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        grouped = self.dependencies[0]
        assert isinstance(grouped, Grouped)
        parent = grouped.rdd
        # One at a time: the next partition's files and blocks are opened when the last one is read.
        return chain.from_iterable(parent.iterator(i, task) for i in grouped.parents(partition.index))


class Cartesian(RDD):
    """Every record of the left parent paired with every record of the right one."""

    def __init__(self, left: RDDCore, right: RDDCore) -> None:
        super().__init__(left.context, (Grouped(left, ()), Grouped(right, ())), "cartesian")

    def _partitions(self) -> Sequence[Partition]:
        left, right = self.dependencies
        assert isinstance(left, Grouped)
        assert isinstance(right, Grouped)
        lefts, rights = len(left.rdd.partitions), len(right.rdd.partitions)
        left.groups = [(i,) for i in range(lefts) for _ in range(rights)]
        right.groups = [(j,) for _ in range(lefts) for j in range(rights)]
        return [Partition(i) for i in range(lefts * rights)]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        left, right = self.dependencies
        assert isinstance(left, Grouped)
        assert isinstance(right, Grouped)
        (i,), (j,) = left.parents(partition.index), right.parents(partition.index)
        # The right side is read once and kept: computing it again for each record of the left could be dear.
        others = task.shuffle.hold(right.rdd.iterator(j, task), task)
        return ((a, b) for a in left.rdd.iterator(i, task) for b in others)


class Zipped(RDD):
    """The i-th record of one parent paired with the i-th of the other, partition by partition."""

    def __init__(self, left: RDDCore, right: RDDCore) -> None:
        super().__init__(left.context, (OneToOne(left), OneToOne(right)), "zip")

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        left, right = (d.rdd.iterator(partition.index, task) for d in self.dependencies)
        end = object()
        pairs = 0
        for pairs, a in enumerate(left, 1):
            b = next(right, end)
            if b is end:
                failing_record = pairs - 1
                raise ValueError(f"{_UNEQUAL}: the right one has {failing_record} records, the left one more")
            yield a, b
        if next(right, end) is not end:
            failing_record = pairs
            raise ValueError(f"{_UNEQUAL}: the left one has {failing_record} records, the right one more")


_UNEQUAL = "Can only zip RDDs with same number of elements in each partition"


class Shuffled(RDD):
    """The parent's pairs placed by key: through an aggregator, in an order, or as they came."""

    def __init__(
        self,
        parent: RDD,
        num_partitions: int,
        operator: str,
        *,
        partitioner: Partitioner | None = None,
        partition_of: Callable[[Any], int] | None = None,
        aggregator: Aggregator | None = None,
        ordering: Ordering | None = None,
    ) -> None:
        self._spec = ShuffleSpec(
            shuffle_id=parent.context.new_shuffle_id(),
            num_maps=parent.getNumPartitions(),
            num_partitions=num_partitions,
            partition_of=partition_of or (placement(partitioner) if partitioner else _by_bounds),
            aggregator=aggregator,
            ordering=ordering,
            label=f"{operator} at {call_site()}",
        )
        super().__init__(parent.context, (Shuffle(parent, self._spec),), operator, partitioner)

    def _partitions(self) -> Sequence[Partition]:
        return [Partition(i) for i in range(self._spec.num_partitions)]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        return task.shuffle.read(self._spec, partition.index, task)


def _by_bounds(key: Any) -> int:
    raise AssertionError("an ordered shuffle places its keys by bounds")


class CoGrouped(RDD):
    """``(key, (values of parent 0, values of parent 1, ...))``, each a list in input order.

    Keys come in order of first appearance, the parents one after the other; where there is much, sub-bucket by
    sub-bucket. A parent that is partitioned alike already is read without a shuffle.
    """

    def __init__(self, parents: Sequence[RDD], partitioner: Partitioner, operator: str) -> None:
        context = parents[0].context
        place = placement(partitioner)
        label = f"{operator} at {call_site()}"
        dependencies: list[Dependency] = []
        for parent in parents:
            if parent.partitioner == partitioner:
                dependencies.append(OneToOne(parent))
                continue
            maps = parent.getNumPartitions()
            spec = ShuffleSpec(context.new_shuffle_id(), maps, partitioner.numPartitions, place, GROUPING, label=label)
            dependencies.append(Shuffle(parent, spec))
        self._specs = [d.spec if isinstance(d, Shuffle) else None for d in dependencies]
        super().__init__(context, dependencies, operator, partitioner)
        self._num_partitions = partitioner.numPartitions

    def _partitions(self) -> Sequence[Partition]:
        return [Partition(i) for i in range(self._num_partitions)]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        sides = [
            self.dependencies[side].rdd.iterator(partition.index, task) if spec is None else spec
            for side, spec in enumerate(self._specs)
        ]
        return task.shuffle.read_cogrouped(sides, self._num_partitions, partition.index, task)
