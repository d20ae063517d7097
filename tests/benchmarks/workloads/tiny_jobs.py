"""Jobs with nothing to do: what a system costs by itself."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import Steps, Timed, Workload


def _median_of(jobs: int, job: Callable[[], Any]) -> Timed:
    """The last answer, and the median wall time of `jobs` calls."""
    times_s = []
    answer = None
    for _ in range(jobs):
        began_s = time.perf_counter()
        answer = job()
        times_s.append(time.perf_counter() - began_s)
    return Timed(answer, statistics.median(times_s))


class TinyJobs(Workload):
    """The count of four numbers in two parts; its wall time is the median of many such jobs."""

    name = "tiny_jobs"

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        yield "p50", lambda: _median_of(sizes.tiny_jobs, lambda: sc.parallelize([1, 2, 3, 4], 2).count())

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        from tests.benchmarks.systems.two_processes import tiny

        yield "p50", lambda: _median_of(sizes.tiny_jobs, lambda: tiny(pair))

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        import dask.bag

        def job() -> int:
            return int(dask.bag.from_sequence([1, 2, 3, 4], npartitions=2).count().compute())

        yield "p50", lambda: _median_of(sizes.tiny_jobs, job)


class EmptyPartitions(Workload):
    """The count of nothing in many parts."""

    name = "empty_partitions"

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        yield "count", lambda: sc.parallelize([], sizes.empty_partitions).count()

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        yield "count", lambda: sum(pair.run(_count_nothing, sizes.empty_partitions))

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        import dask.bag

        def count() -> int:
            full = dask.bag.from_sequence(range(sizes.empty_partitions), npartitions=sizes.empty_partitions)
            return int(full.filter(lambda _: False).count().compute())

        yield "count", count


def _count_nothing(mine: Any, partitions: int) -> int:
    return sum(sum(1 for _ in ()) for _ in range(mine.index, partitions, 2))
