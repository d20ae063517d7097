"""Actions: each runs one job (or a few), blocks until it ends and gives a value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain
from math import ceil
from typing import Any

from sparklab.rdd import operators as op
from sparklab.rdd import results
from sparklab.rdd.callsite import at_call_site, call_site
from sparklab.rdd.pairs import PairTransformations
from sparklab.rdd.partitioner import portable_hash
from sparklab.rdd.unfit import refusal
from sparklab.shuffle.combine import identity
from sparklab.shuffle.spec import Aggregator


class Actions(PairTransformations):
    """What can be asked of an RDD."""

    def _run(self, function: Callable[[int, Iterator[Any]], Any], action: str, partitions: Any = None) -> list[Any]:
        if isinstance(function, op.Operator):
            function.origin = op.Origin(self._id, action, call_site())
        return self.context.run_job(self, function, partitions, action)

    def _in_driver(self, action: str, merge: Callable[[], Any]) -> Any:
        """What `merge` makes of the partitions' results; data that it cannot handle is told as on an executor."""
        try:
            return merge()
        except TypeError as error:
            refused = refusal(error, f"{action} at {call_site()} (RDD {self._id})")
            if refused is None:
                raise
            raise refused from error

    def collect(self) -> list[Any]:
        """All records, in partition order. Blocks; everything has to fit on the driver.

        Examples
        --------
        >>> sc.parallelize([3, 1, 2], 2).collect()
        [3, 1, 2]
        """
        return [x for part in self._run(results.to_list, "collect") for x in part]

    def collectWithJobGroup(self, groupId: str, description: str, interruptOnCancel: bool = False) -> list[Any]:
        """All records, as of :meth:`collect`, by a job of group `groupId`; the thread's own group is as before then.

        PySpark has deprecated this name: ``sc.setJobGroup`` does the same, and threads pass it on with
        ``InheritableThread``.

        Examples
        --------
        >>> sc.parallelize([3, 1, 2], 2).collectWithJobGroup("lesson", "shows a group")
        [3, 1, 2]
        """
        labels = {
            "spark.jobGroup.id": groupId,
            "spark.job.description": description,
            "spark.job.interruptOnCancel": "true" if interruptOnCancel else "false",
        }
        with self.context.labelled(labels):
            return self.collect()

    def collectAsMap(self) -> dict[Any, Any]:
        """The pairs as a dict; the last value of a key wins. Blocks.

        Examples
        --------
        >>> sc.parallelize([("a", 1), ("b", 2)]).collectAsMap()
        {'a': 1, 'b': 2}
        """
        parts = self._run(results.to_list, "collectAsMap")
        found: dict[Any, Any] = self._in_driver("collectAsMap", lambda: results.as_map(parts))
        return found

    def toLocalIterator(self, prefetchPartitions: bool = False) -> Iterator[Any]:
        """An iterator over all records that holds one partition at a time: one job each, run when it is reached.

        Parameters
        ----------
        prefetchPartitions : bool
            The next partition is computed while this one is being read, and two are held.

        Examples
        --------
        >>> next(sc.parallelize([1, 2, 3], 3).toLocalIterator())
        1
        >>> list(sc.parallelize([1, 2, 3], 3).toLocalIterator(prefetchPartitions=True))
        [1, 2, 3]
        """
        count = self.getNumPartitions()
        if not prefetchPartitions:
            for index in range(count):
                yield from self._run(results.to_list, "toLocalIterator", [index])[0]
            return
        properties, where, scope = dict(self.context.local_properties()), call_site(), copy_context()

        def part(index: int) -> list[Any]:
            with self.context.labelled(properties), at_call_site(where):
                found: list[Any] = self._run(results.to_list, "toLocalIterator", [index])[0]
                return found

        with ThreadPoolExecutor(1, "sparklab-prefetch") as ahead:
            following = ahead.submit(scope.run, part, 0) if count else None
            for index in range(count):
                assert following is not None
                records = following.result()
                following = ahead.submit(scope.run, part, index + 1) if index + 1 < count else None
                yield from records

    def count(self) -> int:
        """The number of records. Blocks.

        Examples
        --------
        >>> sc.parallelize([2, 3, 4]).count()
        3
        """
        return sum(self._run(results.length, "count"))

    def take(self, num: int) -> list[Any]:
        """The first `num` records. Blocks; reads one partition first, then up to four times more each time.

        Examples
        --------
        >>> sc.parallelize(range(100), 10).take(3)
        [0, 1, 2]
        """
        return self._take(num, "take")

    def _take(self, num: int, action: str) -> list[Any]:
        taken: list[Any] = []
        total = self.getNumPartitions()
        scanned = 0
        while len(taken) < num and scanned < total:
            wanted = 1
            if scanned and not taken:
                wanted = scanned * 4
            elif scanned:
                # As many as the yield so far suggests, and half as many again.
                wanted = min(max(int(1.5 * num * scanned / len(taken)) - scanned, 1), scanned * 4)
            upto = min(scanned + wanted, total)
            for part in self._run(results.Head(num - len(taken)), action, range(scanned, upto)):
                taken.extend(part)
            scanned = upto
        return taken[:num]

    def first(self) -> Any:
        """The first record. Blocks.

        Raises
        ------
        ValueError
            If there is none.

        Examples
        --------
        >>> sc.parallelize([5, 6]).first()
        5
        """
        taken = self._take(1, "first")
        if not taken:
            raise ValueError("RDD is empty")
        return taken[0]

    def isEmpty(self) -> bool:
        """Whether there is no record. Blocks; reads like ``take(1)``.

        Examples
        --------
        >>> sc.parallelize([]).isEmpty()
        True
        """
        return not self._take(1, "isEmpty")

    def foreach(self, f: Callable[[Any], None]) -> None:
        """``f(x)`` was called for each record, on the executors. Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 2]).foreach(lambda x: None)
        """
        self._run(results.Foreach(f), "foreach")

    def foreachPartition(self, f: Callable[[Iterator[Any]], Any]) -> None:
        """``f(records)`` was called for each partition, on the executors. Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 2]).foreachPartition(lambda records: None)
        """
        self._run(results.ForeachPartition(f), "foreachPartition")

    # --- folding -------------------------------------------------------------------------------------

    def reduce(self, f: Callable[[Any, Any], Any]) -> Any:
        """All records reduced by the associative `f`: each partition first, then the driver in partition order. Blocks.

        Raises
        ------
        ValueError
            If there is no record.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3, 4, 5]).reduce(lambda a, b: a + b)
        15
        """
        return self._reduce(f, "reduce")

    def _reduce(self, f: Callable[[Any, Any], Any], action: str) -> Any:
        partial = [part[0] for part in self._run(results.Reduce(f), action) if part]
        if not partial:
            raise ValueError("Can not reduce() empty RDD")
        return self._in_driver(action, lambda: results.reduced(f, partial[0], partial[1:]))

    def fold(self, zeroValue: Any, op: Callable[[Any, Any], Any]) -> Any:
        """All records folded by `op`, from a copy of `zeroValue` in each partition and once on the driver. Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3, 4], 4).fold(1, lambda a, b: a + b)
        15
        """
        return self._aggregate(zeroValue, op, op, "fold")

    def aggregate(self, zeroValue: Any, seqOp: Callable[[Any, Any], Any], combOp: Callable[[Any, Any], Any]) -> Any:
        """All records merged by `seqOp`, and the partitions' results by `combOp`, each from a copy of the zero. Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3]).aggregate((0, 0), lambda a, x: (a[0] + x, a[1] + 1),
        ...                                     lambda a, b: (a[0] + b[0], a[1] + b[1]))
        (6, 3)
        """
        return self._aggregate(zeroValue, seqOp, combOp, "aggregate")

    def _aggregate(self, zero: Any, seq: Callable[[Any, Any], Any], comb: Callable[[Any, Any], Any], name: str) -> Any:
        return results.reduced(comb, op.fresh(zero), self._run(results.Aggregate(zero, seq), name))

    def treeAggregate(
        self, zeroValue: Any, seqOp: Callable[[Any, Any], Any], combOp: Callable[[Any, Any], Any], depth: int = 2
    ) -> Any:
        """Like ``aggregate``, with partial results merged on the executors over `depth` levels. Blocks.

        Examples
        --------
        >>> sc.parallelize(range(20), 10).treeAggregate(0, lambda a, x: a + x, lambda a, b: a + b)
        190
        """
        if depth < 1:
            raise ValueError(f"Depth cannot be smaller than 1 but got {depth}.")
        if self.getNumPartitions() == 0:
            return zeroValue
        return self._tree(results.Aggregated(zeroValue, seqOp), combOp, depth, "treeAggregate")

    def treeReduce(self, f: Callable[[Any, Any], Any], depth: int = 2) -> Any:
        """Like ``reduce``, with partial results merged on the executors over `depth` levels. Blocks.

        Examples
        --------
        >>> sc.parallelize([-5, -4, 3, 2], 4).treeReduce(lambda a, b: a + b)
        -4
        """
        if depth < 1:
            raise ValueError(f"Depth cannot be smaller than 1 but got {depth}.")
        try:
            return self._tree(results.Reduce(f), f, depth, "treeReduce")
        except results.NothingToReduce:
            raise ValueError("Cannot reduce empty RDD.") from None

    def _tree(self, partial: op.Operator, comb: Callable[[Any, Any], Any], depth: int, name: str) -> Any:
        partials = self._pipeline(partial, name)
        partitions: float = self.getNumPartitions()
        scale = max(ceil(partitions ** (1.0 / depth)), 2)
        while partitions > scale + partitions / scale:
            partitions /= scale
            targets = int(partitions)
            merge = Aggregator(identity, comb, comb)
            placed = partials._pipeline(results.Modulo(targets), name)
            partials = placed._combined(merge, targets, portable_hash, name)._pipeline(op.Values(), name)
        parts = [x for part in partials._run(results.to_list, name) for x in part]
        if not parts:
            raise results.NothingToReduce
        return results.reduced(comb, parts[0], parts[1:])

    def reduceByKeyLocally(self, func: Callable[[Any, Any], Any]) -> dict[Any, Any]:
        """A dict of each key's values reduced by `func`; merged on the driver. Blocks.

        Examples
        --------
        >>> sorted(sc.parallelize([("a", 1), ("b", 1), ("a", 1)]).reduceByKeyLocally(lambda a, b: a + b).items())
        [('a', 2), ('b', 1)]
        """
        merged: dict[Any, Any] = {}
        for part in self._run(results.ReduceByKey(func), "reduceByKeyLocally"):
            for k, v in part.items():
                merged[k] = func(merged[k], v) if k in merged else v
        return merged

    def countByValue(self) -> defaultdict[Any, int]:
        """How often each record occurs. Blocks; the counts have to fit on the driver.

        Examples
        --------
        >>> sorted(sc.parallelize([1, 2, 1, 2, 2], 2).countByValue().items())
        [(1, 2), (2, 3)]
        """
        return _sum_of_counts(self._run(results.CountByValue(), "countByValue"))

    def countByKey(self) -> defaultdict[Any, int]:
        """How often each key occurs. Blocks; the counts have to fit on the driver.

        Examples
        --------
        >>> sorted(sc.parallelize([("a", 1), ("b", 1), ("a", 1)]).countByKey().items())
        [('a', 2), ('b', 1)]
        """
        return _sum_of_counts(self._run(results.CountByKey(), "countByKey"))

    # --- order ---------------------------------------------------------------------------------------

    def max(self, key: Callable[[Any], Any] | None = None) -> Any:
        """The largest record, by ``key(x)`` if given; the first of equals. Blocks.

        Examples
        --------
        >>> sc.parallelize([1.0, 43.0, 10.0]).max(), sc.parallelize([5, 43]).max(key=str)
        (43.0, 5)
        """
        return self._reduce(results.Larger(key), "max")

    def min(self, key: Callable[[Any], Any] | None = None) -> Any:
        """The smallest record, by ``key(x)`` if given; the first of equals. Blocks.

        Examples
        --------
        >>> sc.parallelize([2, 5, 43, 10]).min(), sc.parallelize([2, 5, 43, 10]).min(key=str)
        (2, 10)
        """
        return self._reduce(results.Smaller(key), "min")

    def top(self, num: int, key: Callable[[Any], Any] | None = None) -> list[Any]:
        """The `num` largest records, largest first. Blocks; each partition sends `num` at most.

        Examples
        --------
        >>> sc.parallelize([10, 4, 2, 12, 3], 2).top(2)
        [12, 10]
        """
        parts = self._run(results.Largest(num, key), "top")
        if not parts:
            raise ValueError("Can not reduce() empty RDD")
        largest: list[Any] = self._in_driver("top", lambda: results.Largest(num, key)(0, chain.from_iterable(parts)))
        return largest

    def takeOrdered(self, num: int, key: Callable[[Any], Any] | None = None) -> list[Any]:
        """The `num` smallest records, smallest first. Blocks; each partition sends `num` at most.

        Examples
        --------
        >>> sc.parallelize([10, 1, 2, 9, 3], 2).takeOrdered(3)
        [1, 2, 3]
        >>> sc.parallelize([10, 1, 2, 9, 3], 2).takeOrdered(2, key=lambda x: -x)
        [10, 9]
        """
        if num < 0:
            raise ValueError("top N cannot be negative.")
        if num == 0 or self.getNumPartitions() == 0:
            return []
        parts = self._run(results.Smallest(num, key), "takeOrdered")
        merge = results.Smallest(num, key)
        smallest: list[Any] = self._in_driver("takeOrdered", lambda: merge(0, chain.from_iterable(parts)))
        return smallest

    def lookup(self, key: Any) -> list[Any]:
        """The values of `key`. Blocks; reads one partition where the RDD has a partitioner.

        Examples
        --------
        >>> sc.parallelize([("a", 1), ("b", 2), ("a", 3)], 2).lookup("a")
        [1, 3]
        """
        partitions = None if self.partitioner is None else [self.partitioner(key)]
        return [v for part in self._run(results.ValuesOf(key), "lookup", partitions) for v in part]


def _sum_of_counts(parts: list[dict[Any, int]]) -> defaultdict[Any, int]:
    total: defaultdict[Any, int] = defaultdict(int)
    for part in parts:
        for k, n in part.items():
            total[k] += n
    return total
