"""Actions that merge records into one value: each partition on its executor, their results in the driver."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from math import ceil
from typing import Any

from sparklab.arguments import function, whole_number
from sparklab.rdd import operators as op
from sparklab.rdd import results
from sparklab.rdd.callsite import call_site
from sparklab.rdd.pairs import PairTransformations
from sparklab.rdd.partitioner import portable_hash
from sparklab.rdd.unfit import refusal
from sparklab.shuffle.combine import identity
from sparklab.shuffle.spec import Aggregator


class Folds(PairTransformations):
    """What all records, or all of a key, come to together."""

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
        return self._reduce(function("reduce", f), "reduce")

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
        function(name, comb)
        return results.reduced(comb, op.fresh(zero), self._run(results.Aggregate(zero, function(name, seq)), name))

    def treeAggregate(
        self, zeroValue: Any, seqOp: Callable[[Any, Any], Any], combOp: Callable[[Any, Any], Any], depth: int = 2
    ) -> Any:
        """Like ``aggregate``, with partial results merged on the executors over `depth` levels. Blocks.

        Examples
        --------
        >>> sc.parallelize(range(20), 10).treeAggregate(0, lambda a, x: a + x, lambda a, b: a + b)
        190
        """
        _check_tree("treeAggregate", depth, seqOp, combOp)
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
        _check_tree("treeReduce", depth, f)
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
        for part in self._run(results.ReduceByKey(function("reduceByKeyLocally", func)), "reduceByKeyLocally"):
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


def _check_tree(action: str, depth: int, *functions: Any) -> None:
    for each in functions:
        function(action, each)
    if whole_number(action, depth, " as its depth") < 1:
        raise ValueError(f"Depth cannot be smaller than 1 but got {depth}.")


def _sum_of_counts(parts: list[dict[Any, int]]) -> defaultdict[Any, int]:
    total: defaultdict[Any, int] = defaultdict(int)
    for part in parts:
        for k, n in part.items():
            total[k] += n
    return total
