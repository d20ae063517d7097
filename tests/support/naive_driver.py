"""NaiveDriver: the smallest thing that can run an RDD, in one thread and in memory. The reference of model tests."""

from __future__ import annotations

import pickle
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sparklab.rdd import RDD, sources
from sparklab.rdd.core import RDDCore, SourcePartition
from sparklab.rdd.dependency import Shuffle
from sparklab.rdd.task import TaskContext
from sparklab.shuffle.combine import GROUPING
from sparklab.shuffle.spec import ShuffleSpec
from sparklab.storage.level import StorageLevel


def copied(records: list[Any]) -> list[Any]:
    import cloudpickle

    return pickle.loads(cloudpickle.dumps(records))


class NaiveBlocks:
    """A cache that copies on the way in and on the way out."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, int], bytes] = {}

    def get_or_compute(
        self, rdd: int, partition: int, level: StorageLevel, compute: Callable[[], Iterator[Any]], task: TaskContext
    ) -> Iterator[Any]:
        import cloudpickle

        if (rdd, partition) in self.kept:
            task.metrics.cache_hits += 1
        else:
            task.metrics.cache_misses += 1
            self.kept[rdd, partition] = cloudpickle.dumps(list(compute()))
        return task.source.flatten([pickle.loads(self.kept[rdd, partition])])


class NaiveShuffle:
    """Map outputs in memory, read in map order."""

    def __init__(self, driver: NaiveDriver) -> None:
        self.driver = driver
        self.outputs: dict[int, list[list[Any]]] = {}

    def read(self, spec: ShuffleSpec, reduce_index: int, task: TaskContext) -> Iterator[Any]:
        pairs = [pair for output in copied(self.outputs[spec.shuffle_id]) for pair in output]
        if spec.ordering is not None:
            return iter(self._ordered(spec, pairs, reduce_index))
        mine = [pair for pair in pairs if spec.partition_of(pair[0]) == reduce_index]
        if spec.aggregator is None:
            return iter(mine)
        if spec.aggregator is GROUPING:
            groups: dict[Any, list[Any]] = {}
            for k, v in mine:
                groups.setdefault(k, []).append(v)
            return iter(groups.items())
        merge = spec.aggregator.merge_combiners
        combiners: dict[Any, Any] = {}
        for k, c in mine:
            combiners[k] = merge(combiners[k], c) if k in combiners else c
        return iter(combiners.items())

    def read_cogrouped(
        self, sides: Sequence[ShuffleSpec | Iterator[Any]], num_partitions: int, reduce_index: int, task: TaskContext
    ) -> Iterator[Any]:
        groups: dict[Any, tuple[list[Any], ...]] = {}
        for n, side in enumerate(sides):
            if isinstance(side, ShuffleSpec):
                pairs = [p for output in copied(self.outputs[side.shuffle_id]) for p in output]
                given = iter([pair for pair in pairs if side.partition_of(pair[0]) == reduce_index])
            else:
                given = side
            for k, v in given:
                groups.setdefault(k, tuple([] for _ in sides))[n].append(v)
        return iter(groups.items())

    def hold(self, records: Iterator[Any], task: TaskContext) -> Sequence[Any]:
        return list(records)

    def _ordered(self, spec: ShuffleSpec, pairs: list[Any], reduce_index: int) -> list[Any]:
        assert spec.ordering is not None
        keyfunc, n = spec.ordering.keyfunc, spec.num_partitions
        keys = sorted({keyfunc(k) for k, _ in pairs})
        bounds = [keys[len(keys) * i // n] for i in range(1, n)] if keys else []
        ordered = sorted(pairs, key=lambda pair: keyfunc(pair[0]), reverse=not spec.ordering.ascending)
        place = reduce_index if spec.ordering.ascending else n - 1 - reduce_index
        return [pair for pair in ordered if bisect_left(bounds, keyfunc(pair[0])) == place]

    def write(self, spec: ShuffleSpec, records: Iterator[Any]) -> list[Any]:
        if spec.aggregator is None or spec.aggregator is GROUPING:
            return [(k, v) for k, v in records]
        create, merge = spec.aggregator.create, spec.aggregator.merge_value
        combiners: dict[Any, Any] = {}
        for k, v in records:
            combiners[k] = merge(combiners[k], v) if k in combiners else create(v)
        return list(combiners.items())


class NaiveDriver:
    """Runs jobs partition by partition, parents' shuffles first. Counts what it does."""

    def __init__(self, default_parallelism: int = 2) -> None:
        self.defaultParallelism = default_parallelism
        self.blocks = NaiveBlocks()
        self.shuffle = NaiveShuffle(self)
        self.jobs: list[str] = []
        self.job_partitions: list[list[int]] = []
        self.last_task: TaskContext | None = None
        self._rdds = 0
        self._shuffles = 0

    # --- Driver --------------------------------------------------------------------------------------

    def new_rdd_id(self) -> int:
        self._rdds += 1
        return self._rdds - 1

    def register(self, rdd: RDDCore) -> None:
        pass

    def new_shuffle_id(self) -> int:
        self._shuffles += 1
        return self._shuffles - 1

    def run_job(
        self,
        rdd: RDDCore,
        func: Callable[[int, Iterator[Any]], Any],
        partitions: Sequence[int] | None = None,
        action: str = "runJob",
    ) -> list[Any]:
        wanted = list(range(len(rdd.partitions)) if partitions is None else partitions)
        self.jobs.append(action)
        self.job_partitions.append(wanted)
        self._run_shuffles(rdd)
        return [copied([func(i, rdd.iterator(i, self._task(rdd, i)))])[0] for i in wanted]

    def rdd_persisted(self, rdd: RDDCore) -> None:
        pass

    def run_job_for(
        self, rdd: RDDCore, func: Callable[[int, Iterator[Any]], Any], for_s: float, action: str
    ) -> dict[int, Any]:
        return dict(enumerate(self.run_job(rdd, func, None, action)))

    def forget_shuffles(self, shuffles: Sequence[int], blocking: bool) -> None:
        for shuffle in shuffles:
            self.shuffle.outputs.pop(shuffle, None)

    def getCheckpointDir(self) -> str | None:
        return None

    def rdd_marked(self, rdd: RDDCore) -> None:
        """Nothing is ever checkpointed here: results are the same."""

    def rdd_unpersisted(self, rdd: RDDCore, blocking: bool) -> None:
        for key in [key for key in self.blocks.kept if key[0] == rdd._id]:
            del self.blocks.kept[key]

    # --- sources -------------------------------------------------------------------------------------

    def parallelize(self, c: Iterable[Any], numSlices: int | None = None) -> RDD:
        return sources.parallelize(self, c, numSlices)

    def range(self, start: int, end: int | None = None, step: int = 1, numSlices: int | None = None) -> RDD:
        return sources.range_rdd(self, start, end, step, numSlices)

    def textFile(self, name: str, minPartitions: int | None = None, use_unicode: bool = True) -> RDD:
        return sources.text_file(self, name, minPartitions, use_unicode)

    def wholeTextFiles(self, path: str, minPartitions: int | None = None, use_unicode: bool = True) -> RDD:
        return sources.whole_text_files(self, path, minPartitions, use_unicode)

    def binaryFiles(self, path: str, minPartitions: int | None = None) -> RDD:
        return sources.binary_files(self, path, minPartitions)

    def binaryRecords(self, path: str, recordLength: int) -> RDD:
        return sources.binary_records(self, path, recordLength)

    def pickleFile(self, name: str, minPartitions: int | None = None) -> RDD:
        return sources.pickle_file(self, name)

    def emptyRDD(self) -> RDD:
        return sources.empty_rdd(self)

    def union(self, rdds: Sequence[RDD]) -> RDD:
        return sources.union(self, rdds)

    # --- running -------------------------------------------------------------------------------------

    def _run_shuffles(self, rdd: RDDCore) -> None:
        """Writes the map outputs that `rdd` needs and that are not there yet, the earliest first."""
        pending: list[Shuffle] = []
        seen: set[int] = set()
        stack = [rdd]
        while stack:
            node = stack.pop()
            if node._id in seen:
                continue
            seen.add(node._id)
            for dependency in node.dependencies:
                stack.append(dependency.rdd)
                if isinstance(dependency, Shuffle) and dependency.spec.shuffle_id not in self.shuffle.outputs:
                    pending.append(dependency)
        for dependency in sorted(pending, key=lambda d: d.rdd._id):
            spec, parent = dependency.spec, dependency.rdd
            assert spec.num_maps == len(parent.partitions)
            self.shuffle.outputs[spec.shuffle_id] = [
                copied([self.shuffle.write(spec, parent.iterator(i, self._task(parent, i)))])[0]
                for i in range(spec.num_maps)
            ]

    def _task(self, rdd: RDDCore, index: int) -> TaskContext:
        task = TaskContext(0, 0, index, 0, 0, 0, self.blocks, self.shuffle)
        stack, seen = [rdd], set()
        while stack:
            node = stack.pop()
            if node._id in seen:
                continue
            seen.add(node._id)
            for partition in node.partitions:
                if isinstance(partition, SourcePartition):
                    task.shipped[node._id, partition.index] = partition
            stack.extend(d.rdd for d in node.dependencies if not isinstance(d, Shuffle))
        self.last_task = task
        return task
