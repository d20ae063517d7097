"""Actions: each runs one job (or a few), blocks until it ends and gives a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain
from typing import Any

from sparklab.arguments import function, key_function, whole_number
from sparklab.rdd import results
from sparklab.rdd.callsite import at_call_site, call_site
from sparklab.rdd.folds import Folds


class Actions(Folds):
    """What can be asked of an RDD."""

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
        return self._take(whole_number("take", num), "take")

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
        self._run(results.Foreach(function("foreach", f)), "foreach")

    def foreachPartition(self, f: Callable[[Iterator[Any]], Any]) -> None:
        """``f(records)`` was called for each partition, on the executors. Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 2]).foreachPartition(lambda records: None)
        """
        self._run(results.ForeachPartition(function("foreachPartition", f)), "foreachPartition")

    def max(self, key: Callable[[Any], Any] | None = None) -> Any:
        """The largest record, by ``key(x)`` if given; the first of equals. Blocks.

        Examples
        --------
        >>> sc.parallelize([1.0, 43.0, 10.0]).max(), sc.parallelize([5, 43]).max(key=str)
        (43.0, 5)
        """
        return self._reduce(results.Larger(key_function("max", key)), "max")

    def min(self, key: Callable[[Any], Any] | None = None) -> Any:
        """The smallest record, by ``key(x)`` if given; the first of equals. Blocks.

        Examples
        --------
        >>> sc.parallelize([2, 5, 43, 10]).min(), sc.parallelize([2, 5, 43, 10]).min(key=str)
        (2, 10)
        """
        return self._reduce(results.Smaller(key_function("min", key)), "min")

    def top(self, num: int, key: Callable[[Any], Any] | None = None) -> list[Any]:
        """The `num` largest records, largest first. Blocks; each partition sends `num` at most.

        Examples
        --------
        >>> sc.parallelize([10, 4, 2, 12, 3], 2).top(2)
        [12, 10]
        """
        num, key = whole_number("top", num), key_function("top", key)
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
        num, key = whole_number("takeOrdered", num), key_function("takeOrdered", key)
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
