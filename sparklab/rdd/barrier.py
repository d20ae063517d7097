"""RDDBarrier: operators whose tasks run at the same time and may wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparklab.rdd.rdd import RDD

__all__ = ["RDDBarrier"]


class RDDBarrier:
    """An RDD whose next operator makes a barrier stage: all its tasks run at the same time, or none. Got by
    ``rdd.barrier()``.

    Where there are fewer executors than partitions, the job fails at once. When a task fails or an executor is lost,
    the whole stage runs again; what its tasks did counts once, when all have succeeded.

    Examples
    --------
    >>> from sparklab import BarrierTaskContext
    >>> def meet(records):
    ...     return BarrierTaskContext.get().allGather(str(sum(records)))
    >>> sc.parallelize(range(4), 2).barrier().mapPartitions(meet).collect()
    ['1', '5', '1', '5']
    """

    def __init__(self, rdd: RDD) -> None:
        self.rdd = rdd

    def __repr__(self) -> str:
        return f"<sparklab.core.rdd.RDDBarrier of {self.rdd!r}>"

    def mapPartitions(self, f: Callable[[Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False) -> RDD:
        """An RDD of the items of ``f(records)``, called once per partition, at the same time in all. Lazy.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3, 4], 2).barrier().mapPartitions(lambda records: [sum(records)]).collect()
        [3, 7]
        """
        return _together(self.rdd.mapPartitions(f, preservesPartitioning))

    def mapPartitionsWithIndex(
        self, f: Callable[[int, Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False
    ) -> RDD:
        """An RDD of the items of ``f(index, records)``, called once per partition, at the same time in all. Lazy.

        Examples
        --------
        >>> sc.parallelize("ab", 2).barrier().mapPartitionsWithIndex(lambda i, records: [(i, *records)]).collect()
        [(0, 'a'), (1, 'b')]
        """
        return _together(self.rdd.mapPartitionsWithIndex(f, preservesPartitioning))


def _together(rdd: RDD) -> RDD:
    rdd.is_barrier = True
    return rdd
