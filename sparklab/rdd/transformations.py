"""Transformations of records: lazy, a few lines each over the primitives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sparklab.arguments import function, text
from sparklab.rdd import operators as op
from sparklab.rdd.partitioner import portable_hash
from sparklab.rdd.primitives import Primitives, only_rdds, partition_count
from sparklab.shuffle.combine import identity
from sparklab.shuffle.spec import Aggregator

if TYPE_CHECKING:
    from sparklab.rdd.rdd import RDD


class Transformations(Primitives):
    """What can be made of an RDD of any records."""

    def map(self, f: Callable[[Any], Any], preservesPartitioning: bool = False) -> RDD:
        """An RDD of ``f(x)`` for each record x. Lazy.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3]).map(lambda x: x * 10).collect()
        [10, 20, 30]
        """
        return self._pipeline(op.Map(function("map", f)), "map", preservesPartitioning)

    def flatMap(self, f: Callable[[Any], Iterable[Any]], preservesPartitioning: bool = False) -> RDD:
        """An RDD of the items of ``f(x)`` for each record x. Lazy.

        Examples
        --------
        >>> sc.parallelize(["to be", "or not"]).flatMap(str.split).collect()
        ['to', 'be', 'or', 'not']
        """
        return self._pipeline(op.FlatMap(function("flatMap", f)), "flatMap", preservesPartitioning)

    def filter(self, f: Callable[[Any], Any]) -> RDD:
        """An RDD of the records for which ``f(x)`` is true. Lazy; keeps the partitioner.

        Examples
        --------
        >>> sc.parallelize(range(6)).filter(lambda x: x % 2).collect()
        [1, 3, 5]
        """
        return self._pipeline(op.Filter(function("filter", f)), "filter", True)

    def mapPartitions(self, f: Callable[[Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False) -> RDD:
        """An RDD of the items of ``f(records)``, called once per partition with an iterator. Lazy.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3, 4], 2).mapPartitions(lambda records: [sum(records)]).collect()
        [3, 7]
        """
        return self._pipeline(op.MapPartition(function("mapPartitions", f)), "mapPartitions", preservesPartitioning)

    def mapPartitionsWithIndex(
        self, f: Callable[[int, Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False
    ) -> RDD:
        """An RDD of the items of ``f(index, records)``, called once per partition. Lazy.

        Examples
        --------
        >>> sc.parallelize("abcd", 2).mapPartitionsWithIndex(lambda i, records: [(i, "".join(records))]).collect()
        [(0, 'ab'), (1, 'cd')]
        """
        calling = op.MapPartitionWithIndex(function("mapPartitionsWithIndex", f))
        return self._pipeline(calling, "mapPartitionsWithIndex", preservesPartitioning)

    def mapPartitionsWithSplit(
        self, f: Callable[[int, Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False
    ) -> RDD:
        """The old name of ``mapPartitionsWithIndex``. Lazy.

        Examples
        --------
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     sc.parallelize([1, 2, 3], 2).mapPartitionsWithSplit(lambda i, records: [i]).sum()
        1
        """
        warnings.warn("mapPartitionsWithSplit is deprecated; use mapPartitionsWithIndex instead", FutureWarning, 2)
        return self.mapPartitionsWithIndex(f, preservesPartitioning)

    def glom(self) -> RDD:
        """An RDD with one list per partition. Lazy.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3, 4], 2).glom().collect()
        [[1, 2], [3, 4]]
        """
        return self._pipeline(op.Glom(), "glom")

    def keyBy(self, f: Callable[[Any], Any]) -> RDD:
        """An RDD of ``(f(x), x)`` for each record x. Lazy.

        Examples
        --------
        >>> sc.parallelize(["fig", "plum"]).keyBy(len).collect()
        [(3, 'fig'), (4, 'plum')]
        """
        return self._pipeline(op.KeyBy(function("keyBy", f)), "keyBy")

    def union(self, other: RDD) -> RDD:
        """An RDD of the records of both, duplicates included: first this one's partitions, then the other's. Lazy.

        Two RDDs with equal partitioners are merged partition by partition and keep the partitioner.

        Examples
        --------
        >>> sc.parallelize([1, 2]).union(sc.parallelize([2, 3])).collect()
        [1, 2, 2, 3]
        """
        from sparklab.rdd.nodes import Union

        only_rdds("union", [other])
        return Union(self.context, [self, other])

    def __add__(self, other: object) -> RDD:
        """The union of two RDDs.

        Examples
        --------
        >>> (sc.parallelize([1]) + sc.parallelize([2])).collect()
        [1, 2]
        """
        from sparklab.rdd.rdd import RDD

        if not isinstance(other, RDD):
            raise TypeError(f"+ takes an RDD, not {type(other).__name__}")
        return self.union(other)

    def distinct(self, numPartitions: int | None = None) -> RDD:
        """An RDD in which each record occurs once. Lazy; shuffles.

        Examples
        --------
        >>> sorted(sc.parallelize([1, 1, 2, 3, 3]).distinct().collect())
        [1, 2, 3]
        """
        pairs = self._pipeline(op.PairWith(None), "distinct")
        once = Aggregator(identity, op.first_value, op.first_value)
        return pairs._combined(once, numPartitions, portable_hash, "distinct")._pipeline(op.Keys(), "distinct")

    def intersection(self, other: RDD) -> RDD:
        """An RDD of the records that occur in both, each once. Lazy; shuffles.

        Examples
        --------
        >>> sorted(sc.parallelize([1, 2, 2, 3]).intersection(sc.parallelize([2, 3, 4])).collect())
        [2, 3]
        """
        only_rdds("intersection", [other])
        left, right = (rdd._pipeline(op.PairWith(None), "intersection") for rdd in (self, other))
        grouped = left._cogrouped([right], None, "intersection")
        return grouped._pipeline(op.Filter(_in_both), "intersection", True)._pipeline(op.Keys(), "intersection")

    def subtract(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """An RDD of the records of this one that do not occur in `other`, duplicates included. Lazy; shuffles.

        Examples
        --------
        >>> sorted(sc.parallelize([1, 1, 2, 3]).subtract(sc.parallelize([2, 3])).collect())
        [1, 1]
        """
        only_rdds("subtract", [other])
        left, right = (rdd._pipeline(op.PairWith(True), "subtract") for rdd in (self, other))
        grouped = left._cogrouped([right], numPartitions, "subtract")
        return grouped._pipeline(op.FlatMap(_keys_only_left), "subtract")

    def cartesian(self, other: RDD) -> RDD:
        """An RDD of all pairs ``(a, b)`` with a from this one and b from `other`. Lazy; no shuffle.

        The number of partitions is the product of both.

        Examples
        --------
        >>> sc.parallelize([1, 2]).cartesian(sc.parallelize("ab")).count()
        4
        """
        from sparklab.rdd.nodes import Cartesian

        only_rdds("cartesian", [other])
        return Cartesian(self, other)

    def zip(self, other: RDD) -> RDD:
        """An RDD of pairs: the i-th record of this one with the i-th of `other`. Lazy.

        Raises
        ------
        ValueError
            At once where the numbers of partitions differ; a job fails where two partitions differ in length.

        Examples
        --------
        >>> sc.parallelize([1, 2], 2).zip(sc.parallelize("ab", 2)).collect()
        [(1, 'a'), (2, 'b')]
        """
        from sparklab.rdd.nodes import Zipped

        only_rdds("zip", [other])
        if self.getNumPartitions() != other.getNumPartitions():
            raise ValueError("Can only zip with RDD which has the same number of partitions")
        return Zipped(self, other)

    def zipWithIndex(self) -> RDD:
        """An RDD of ``(x, i)``: each record with its position in the whole RDD. Lazy.

        With more than one partition, their sizes are counted by a job that starts with the first action on the result
        (or when its partitions are asked for); PySpark starts it at the call.

        Examples
        --------
        >>> sc.parallelize("abc", 2).zipWithIndex().collect()
        [('a', 0), ('b', 1), ('c', 2)]
        """
        from sparklab.rdd.nodes import ZipWithIndex

        return ZipWithIndex(self._self)

    def zipWithUniqueId(self) -> RDD:
        """An RDD of ``(x, id)``: the i-th record of partition k gets id ``i * n + k`` of n partitions. Lazy, no job.

        Examples
        --------
        >>> sc.parallelize("abcd", 2).zipWithUniqueId().collect()
        [('a', 0), ('b', 2), ('c', 1), ('d', 3)]
        """
        return self._pipeline(op.UniqueIds(self.getNumPartitions()), "zipWithUniqueId")

    def coalesce(self, numPartitions: int, shuffle: bool = False) -> RDD:
        """An RDD with at most `numPartitions` partitions, each read from neighbours, without a shuffle. Lazy.

        Without `shuffle` the number cannot grow; with it, records are dealt out evenly as by ``repartition``.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3, 4], 4).coalesce(2).glom().collect()
        [[1, 2], [3, 4]]
        """
        from sparklab.rdd.nodes import Coalesced

        numPartitions = partition_count("coalesce", numPartitions)
        return self._dealt(numPartitions, "coalesce") if shuffle else Coalesced(self, numPartitions)

    def repartition(self, numPartitions: int) -> RDD:
        """An RDD with `numPartitions` partitions of about equal size. Lazy; shuffles batches of ten records.

        The same records always go to the same partitions, whichever executor computes them.

        Examples
        --------
        >>> [len(part) for part in sc.parallelize(range(100), 2).repartition(3).glom().collect()]
        [30, 40, 30]
        """
        return self._dealt(partition_count("repartition", numPartitions), "repartition")

    def _dealt(self, num_partitions: int, operator: str) -> RDD:
        from sparklab.rdd.nodes import Shuffled

        batches = self._pipeline(op.Batches(num_partitions), operator)
        dealt = Shuffled(batches, num_partitions, operator, partition_of=op.Placed())
        return dealt._pipeline(op.Unbatch(), operator)

    def pipe(self, command: str, env: dict[str, str] | None = None, checkCode: bool = False) -> RDD:
        """An RDD of the lines that `command` writes when it is fed the records of a partition as lines. Lazy.

        Parameters
        ----------
        command : str
            Split like a shell would, but run without one.
        env : dict, optional
            The whole environment of the command; empty by default.
        checkCode : bool
            Fail the job where the command ends with a code other than 0.

        Examples
        --------
        >>> sc.parallelize(["b", "a"], 1).pipe("sort").collect()
        ['a', 'b']
        """
        from sparklab.rdd.piping import Pipe

        if not text("pipe", command, "a command as a str").strip():
            raise ValueError("pipe takes a command, not an empty str")
        return self._pipeline(Pipe(command, env or {}, checkCode), "pipe")


def _in_both(group: tuple[Any, tuple[list[Any], list[Any]]]) -> bool:
    left, right = group[1]
    return bool(left) and bool(right)


def _keys_only_left(group: tuple[Any, tuple[list[Any], list[Any]]]) -> list[Any]:
    key, (left, right) = group
    return [] if right else [key] * len(left)
