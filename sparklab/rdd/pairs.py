"""Transformations of pairs ``(key, value)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sparklab.arguments import function
from sparklab.rdd import joins
from sparklab.rdd import operators as op
from sparklab.rdd.partitioner import Partitioner, portable_hash
from sparklab.rdd.resultiterable import ResultIterable
from sparklab.rdd.transformations import Transformations
from sparklab.shuffle.combine import GROUPING, identity
from sparklab.shuffle.spec import Aggregator, Ordering

if TYPE_CHECKING:
    from sparklab.rdd.rdd import RDD


class PairTransformations(Transformations):
    """What can be made of an RDD of pairs.

    Where this RDD is already partitioned by the same function into the same number of partitions, the operators by key
    need no shuffle.
    """

    def keys(self) -> RDD:
        """An RDD of the first item of each pair. Lazy.

        Examples
        --------
        >>> sc.parallelize([("a", 1), ("b", 2)]).keys().collect()
        ['a', 'b']
        """
        return self._pipeline(op.Keys(), "keys")

    def values(self) -> RDD:
        """An RDD of the second item of each pair. Lazy.

        Examples
        --------
        >>> sc.parallelize([("a", 1), ("b", 2)]).values().collect()
        [1, 2]
        """
        return self._pipeline(op.Values(), "values")

    def mapValues(self, f: Callable[[Any], Any]) -> RDD:
        """An RDD of ``(key, f(value))``. Lazy; keeps the partitioner.

        Examples
        --------
        >>> sc.parallelize([("a", [1, 2]), ("b", [3])]).mapValues(len).collect()
        [('a', 2), ('b', 1)]
        """
        return self._pipeline(op.MapValues(function("mapValues", f)), "mapValues", True)

    def flatMapValues(self, f: Callable[[Any], Iterable[Any]]) -> RDD:
        """An RDD of ``(key, item)`` for each item of ``f(value)``. Lazy; keeps the partitioner.

        Examples
        --------
        >>> sc.parallelize([("a", "xy"), ("b", "z")]).flatMapValues(list).collect()
        [('a', 'x'), ('a', 'y'), ('b', 'z')]
        """
        return self._pipeline(op.FlatMapValues(function("flatMapValues", f)), "flatMapValues", True)

    def partitionBy(self, numPartitions: int | None, partitionFunc: Callable[[Any], int] = portable_hash) -> RDD:
        """An RDD whose pairs are placed by ``partitionFunc(key) % numPartitions``. Lazy; shuffles.

        Gives this very RDD where it is partitioned so already.

        Examples
        --------
        >>> pairs = sc.parallelize([(1, "a"), (2, "b"), (3, "c"), (4, "d")], 2).partitionBy(2)
        >>> pairs.glom().collect()
        [[(2, 'b'), (4, 'd')], [(1, 'a'), (3, 'c')]]
        >>> pairs.partitionBy(2) is pairs
        True
        """
        from sparklab.rdd.nodes import Shuffled

        numPartitions = self._reduce_partitions("partitionBy", numPartitions)
        partitioner = Partitioner(numPartitions, function("partitionBy", partitionFunc))
        if self.partitioner == partitioner:
            return self._self
        return Shuffled(self._self, numPartitions, "partitionBy", partitioner=partitioner)

    def combineByKey(
        self,
        createCombiner: Callable[[Any], Any],
        mergeValue: Callable[[Any, Any], Any],
        mergeCombiners: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: Callable[[Any], int] = portable_hash,
    ) -> RDD:
        """An RDD of ``(key, combiner)``, each key once. Lazy; shuffles what was combined on the map side.

        Parameters
        ----------
        createCombiner : callable
            First value of a key -> combiner.
        mergeValue : callable
            (combiner, value) -> combiner. May change and return its first argument.
        mergeCombiners : callable
            (combiner, combiner) -> combiner. May change and return its first argument.

        Examples
        --------
        >>> pairs = sc.parallelize([("a", 1), ("b", 2), ("a", 3)], 2)
        >>> sums = pairs.combineByKey(lambda v: (v, 1), lambda c, v: (c[0] + v, c[1] + 1),
        ...                           lambda c, d: (c[0] + d[0], c[1] + d[1]))
        >>> sorted(sums.mapValues(lambda c: c[0] / c[1]).collect())
        [('a', 2.0), ('b', 2.0)]
        """
        aggregator = Aggregator(createCombiner, mergeValue, mergeCombiners)
        return self._combined(aggregator, numPartitions, partitionFunc, "combineByKey")

    def aggregateByKey(
        self,
        zeroValue: Any,
        seqFunc: Callable[[Any, Any], Any],
        combFunc: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: Callable[[Any], int] = portable_hash,
    ) -> RDD:
        """An RDD of ``(key, aggregate)``; the aggregate starts from a copy of `zeroValue`. Lazy; shuffles.

        Examples
        --------
        >>> pairs = sc.parallelize([("a", 1), ("b", 2), ("a", 1)])
        >>> grouped = pairs.aggregateByKey(set(), lambda s, v: s | {v}, lambda s, t: s | t)
        >>> sorted(grouped.collect())
        [('a', {1}), ('b', {2})]
        """
        aggregator = Aggregator(op.FromZero(zeroValue, seqFunc), seqFunc, combFunc)
        return self._combined(aggregator, numPartitions, partitionFunc, "aggregateByKey")

    def foldByKey(
        self,
        zeroValue: Any,
        func: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: Callable[[Any], int] = portable_hash,
    ) -> RDD:
        """An RDD of ``(key, fold)``; the fold starts from `zeroValue` once per key and partition. Lazy; shuffles.

        Examples
        --------
        >>> sorted(sc.parallelize([("a", 1), ("b", 2), ("a", 3)]).foldByKey(0, lambda a, b: a + b).collect())
        [('a', 4), ('b', 2)]
        """
        aggregator = Aggregator(op.FromZero(zeroValue, func), func, func)
        return self._combined(aggregator, numPartitions, partitionFunc, "foldByKey")

    def reduceByKey(
        self,
        func: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: Callable[[Any], int] = portable_hash,
    ) -> RDD:
        """An RDD of ``(key, value)`` with all values of a key reduced by `func`. Lazy; shuffles.

        Values are reduced on the map side first, in input order; `func` has to be associative.

        Examples
        --------
        >>> sorted(sc.parallelize([("a", 1), ("b", 1), ("a", 1)]).reduceByKey(lambda a, b: a + b).collect())
        [('a', 2), ('b', 1)]
        """
        return self._combined(Aggregator(identity, func, func), numPartitions, partitionFunc, "reduceByKey")

    def groupByKey(self, numPartitions: int | None = None, partitionFunc: Callable[[Any], int] = portable_hash) -> RDD:
        """An RDD of ``(key, ResultIterable of its values)``, values in input order. Lazy; shuffles every value.

        To sum or average by key, ``reduceByKey`` and ``aggregateByKey`` move far less.

        Examples
        --------
        >>> groups = sc.parallelize([("a", 1), ("b", 2), ("a", 3)]).groupByKey()
        >>> sorted(groups.mapValues(list).collect())
        [('a', [1, 3]), ('b', [2])]
        """
        grouped = self._combined(GROUPING, numPartitions, partitionFunc, "groupByKey")
        return grouped._pipeline(op.MapValues(ResultIterable), "groupByKey", True)

    def groupBy(
        self,
        f: Callable[[Any], Any],
        numPartitions: int | None = None,
        partitionFunc: Callable[[Any], int] = portable_hash,
    ) -> RDD:
        """An RDD of ``(f(x), ResultIterable of the records x)``. Lazy; shuffles every record.

        Examples
        --------
        >>> groups = sc.parallelize(range(5)).groupBy(lambda x: x % 2)
        >>> sorted((k, sorted(v)) for k, v in groups.collect())
        [(0, [0, 2, 4]), (1, [1, 3])]
        """
        return self._pipeline(op.KeyBy(function("groupBy", f)), "groupBy")._self.groupByKey(
            numPartitions, partitionFunc
        )

    # --- two RDDs ------------------------------------------------------------------------------------

    def cogroup(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """An RDD of ``(key, (values here, values in other))``, both ResultIterable. Lazy; shuffles.

        Examples
        --------
        >>> left, right = sc.parallelize([("a", 1), ("b", 4)]), sc.parallelize([("a", 2)])
        >>> [(k, (list(v), list(w))) for k, (v, w) in sorted(left.cogroup(right).collect())]
        [('a', ([1], [2])), ('b', ([4], []))]
        """
        grouped = self._cogrouped([other], numPartitions, "cogroup")
        return grouped._pipeline(op.MapValues(_result_iterables), "cogroup", True)

    def groupWith(self, other: RDD, *others: RDD) -> RDD:
        """Cogroup of this RDD with any number of others. Lazy; shuffles.

        Examples
        --------
        >>> a, b, c = (sc.parallelize([("k", i)]) for i in range(3))
        >>> [(k, tuple(map(list, groups))) for k, groups in a.groupWith(b, c).collect()]
        [('k', ([0], [1], [2]))]
        """
        grouped = self._cogrouped([other, *others], None, "groupWith")
        return grouped._pipeline(op.MapValues(_result_iterables), "groupWith", True)

    def join(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """An RDD of ``(key, (value here, value in other))`` for keys that occur in both. Lazy; shuffles.

        Examples
        --------
        >>> left, right = sc.parallelize([("a", 1), ("b", 4)]), sc.parallelize([("a", 2), ("a", 3)])
        >>> sorted(left.join(right).collect())
        [('a', (1, 2)), ('a', (1, 3))]
        """
        return self._cogrouped([other], numPartitions, "join")._pipeline(joins.Inner(), "join", True)

    def leftOuterJoin(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """Like ``join``, with ``(key, (value here, None))`` for keys that occur only here. Lazy; shuffles.

        Examples
        --------
        >>> left, right = sc.parallelize([("a", 1), ("b", 4)]), sc.parallelize([("a", 2)])
        >>> sorted(left.leftOuterJoin(right).collect())
        [('a', (1, 2)), ('b', (4, None))]
        """
        grouped = self._cogrouped([other], numPartitions, "leftOuterJoin")
        return grouped._pipeline(joins.LeftOuter(), "leftOuterJoin", True)

    def rightOuterJoin(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """Like ``join``, with ``(key, (None, value in other))`` for keys that occur only there. Lazy; shuffles.

        Examples
        --------
        >>> left, right = sc.parallelize([("a", 1)]), sc.parallelize([("a", 2), ("c", 5)])
        >>> sorted(left.rightOuterJoin(right).collect())
        [('a', (1, 2)), ('c', (None, 5))]
        """
        grouped = self._cogrouped([other], numPartitions, "rightOuterJoin")
        return grouped._pipeline(joins.RightOuter(), "rightOuterJoin", True)

    def fullOuterJoin(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """Like ``join``, with None in place of the missing side. Lazy; shuffles.

        Examples
        --------
        >>> left, right = sc.parallelize([("a", 1), ("b", 4)]), sc.parallelize([("a", 2), ("c", 8)])
        >>> sorted(left.fullOuterJoin(right).collect())
        [('a', (1, 2)), ('b', (4, None)), ('c', (None, 8))]
        """
        grouped = self._cogrouped([other], numPartitions, "fullOuterJoin")
        return grouped._pipeline(joins.FullOuter(), "fullOuterJoin", True)

    def subtractByKey(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """An RDD of the pairs whose key does not occur in `other`. Lazy; shuffles.

        Examples
        --------
        >>> left, right = sc.parallelize([("a", 1), ("b", 4), ("a", 2)]), sc.parallelize([("b", 0)])
        >>> sorted(left.subtractByKey(right).collect())
        [('a', 1), ('a', 2)]
        """
        grouped = self._cogrouped([other], numPartitions, "subtractByKey")
        return grouped._pipeline(joins.OnlyLeft(), "subtractByKey", True)

    # --- order ---------------------------------------------------------------------------------------

    def sortByKey(
        self, ascending: bool = True, numPartitions: int | None = None, keyfunc: Callable[[Any], Any] = identity
    ) -> RDD:
        """An RDD of the pairs ordered by ``keyfunc(key)`` across its partitions. Lazy; shuffles.

        Stable in both directions, and each key is in one partition. The bounds between partitions come from samples
        that the map tasks take while they sort: the input is evaluated once, by the first action.

        Examples
        --------
        >>> sc.parallelize([("b", 1), ("a", 2), ("c", 3)], 2).sortByKey().collect()
        [('a', 2), ('b', 1), ('c', 3)]
        >>> sc.parallelize([("b", 1), ("A", 2)], 2).sortByKey(False, keyfunc=str.lower).keys().collect()
        ['b', 'A']
        """
        return self._ordered(ascending, numPartitions, keyfunc, "sortByKey")

    def sortBy(self, keyfunc: Callable[[Any], Any], ascending: bool = True, numPartitions: int | None = None) -> RDD:
        """An RDD of the records ordered by ``keyfunc(x)`` across its partitions. Lazy; shuffles; stable.

        Examples
        --------
        >>> sc.parallelize(["plum", "fig", "apple"], 2).sortBy(len).collect()
        ['fig', 'plum', 'apple']
        """
        pairs = self._pipeline(op.KeyBy(function("sortBy", keyfunc)), "sortBy")
        return pairs._self._ordered(ascending, numPartitions, identity, "sortBy")._pipeline(op.Values(), "sortBy")

    def _ordered(self, ascending: bool | None, num_partitions: int | None, keyfunc: Any, operator: str) -> RDD:
        from sparklab.rdd.nodes import Shuffled

        num_partitions = self._reduce_partitions(operator, num_partitions)
        ordering = Ordering(function(operator, keyfunc), bool(ascending))
        return Shuffled(self._self, num_partitions, operator, ordering=ordering)

    def repartitionAndSortWithinPartitions(
        self,
        numPartitions: int | None = None,
        partitionFunc: Callable[[Any], int] = portable_hash,
        ascending: bool = True,
        keyfunc: Callable[[Any], Any] = identity,
    ) -> RDD:
        """An RDD whose pairs are placed by `partitionFunc` and ordered by ``keyfunc(key)`` in each partition. Lazy.

        Examples
        --------
        >>> pairs = sc.parallelize([(3, "a"), (0, "b"), (1, "c"), (2, "d")], 2)
        >>> pairs.repartitionAndSortWithinPartitions(2).glom().collect()
        [[(0, 'b'), (2, 'd')], [(1, 'c'), (3, 'a')]]
        """
        placed = self.partitionBy(numPartitions, partitionFunc)
        sort = op.SortPartition((function("repartitionAndSortWithinPartitions", keyfunc), ascending))
        return placed._pipeline(sort, "repartitionAndSortWithinPartitions", True)


def _result_iterables(groups: tuple[list[Any], ...]) -> tuple[ResultIterable, ...]:
    return tuple(map(ResultIterable, groups))
