"""The handful of primitives that every operator is a few lines over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from sparklab.arguments import function, whole_number
from sparklab.rdd.core import RDDCore
from sparklab.rdd.operators import CombinePartition, Operator
from sparklab.rdd.partitioner import Partitioner, portable_hash
from sparklab.shuffle.spec import Aggregator

if TYPE_CHECKING:
    from sparklab.rdd.rdd import RDD

# The kinds of RDD are subclasses of RDD, so this module can only import them when it is called.


def only_rdds(operator: str, others: Iterable[object]) -> None:
    """Raises TypeError where one of `others` is no RDD: later, inside of a job, nobody would see whose fault it was."""
    for other in others:
        if not isinstance(other, RDDCore):
            kind = type(other).__name__
            raise TypeError(f"{operator} takes an RDD, not {kind}: make one of it with sc.parallelize")


def partition_count(operator: str, given: Any) -> int:
    """How many partitions `operator` was asked for: TypeError for no whole number, ValueError for none at all."""
    number = whole_number(operator, given, " of partitions")
    if number < 1:
        raise ValueError("Number of partitions must be positive.")
    return number


class Primitives(RDDCore):
    """RDDCore with the primitives: pipeline, combine, cogroup."""

    @property
    def _self(self) -> RDD:
        return cast("RDD", self)

    def getNumPartitions(self) -> int:
        """The number of partitions. Runs no job; a text file's folder is listed.

        Examples
        --------
        >>> sc.parallelize(range(10), 4).getNumPartitions()
        4
        """
        from sparklab.rdd.nodes import MapPartitions, ZipWithIndex

        # Down to the node that decides the number: the offsets of a zipWithIndex on the way can wait.
        rdd: RDDCore = self
        while isinstance(rdd, MapPartitions | ZipWithIndex) and rdd._memoised_partitions is None:
            rdd = rdd.dependencies[0].rdd
        return len(rdd.partitions)

    def _reduce_partitions(self, operator: str, given: int | None) -> int:
        """As many as were asked for; None: ``spark.default.parallelism`` where set, else as many as here."""
        if given is not None:
            return partition_count(operator, given)
        configured: int | None = getattr(self.context, "configured_parallelism", None)
        return configured if configured is not None else self.getNumPartitions()

    def _pipeline(self, function: Operator, operator: str, preserves_partitioning: bool = False) -> RDD:
        from sparklab.rdd.nodes import MapPartitions

        return MapPartitions(self, function, operator, preserves_partitioning)

    def _combined(self, aggregator: Aggregator, num_partitions: int | None, partition_func: Any, operator: str) -> RDD:
        """``(key, combiner)`` with each key once: narrow where this RDD is partitioned so already."""
        from sparklab.rdd.nodes import Shuffled

        for each in (aggregator.create, aggregator.merge_value, aggregator.merge_combiners, partition_func):
            function(operator, each)
        num_partitions = self._reduce_partitions(operator, num_partitions)
        partitioner = Partitioner(num_partitions, partition_func)
        if self.partitioner == partitioner:
            return self._pipeline(CombinePartition(aggregator), operator, preserves_partitioning=True)
        return Shuffled(self._self, num_partitions, operator, partitioner=partitioner, aggregator=aggregator)

    def _cogrouped(self, others: Sequence[RDD], num_partitions: int | None, operator: str) -> RDD:
        """``(key, tuple of lists)``; by default as many partitions as a union of all sides would have."""
        from sparklab.rdd.nodes import CoGrouped

        only_rdds(operator, others)
        parents = [self._self, *others]
        if num_partitions is not None:
            num_partitions = partition_count(operator, num_partitions)
        else:
            alike = self.partitioner is not None and all(p.partitioner == self.partitioner for p in others)
            configured: int | None = getattr(self.context, "configured_parallelism", None)
            if configured is not None:
                num_partitions = configured
            else:
                num_partitions = self.getNumPartitions() if alike else sum(p.getNumPartitions() for p in parents)
        return CoGrouped(parents, Partitioner(num_partitions, portable_hash), operator)
