"""What nobody refers to any more is freed: cached blocks, map outputs, and the driver's memory of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from sparklab import SparkContext
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "freeing") as context:
        yield context


def cached_partitions(sc: SparkContext) -> int:
    return sum(info.cached_partitions for info in sc.executorInfos())


def test_blocks_of_an_rdd_go_with_the_last_reference_to_it(sc: SparkContext) -> None:
    kept = [sc.parallelize(range(10), 4).map(lambda x: x).cache() for _ in range(3)]
    for rdd in kept:
        rdd.count()
    assert cached_partitions(sc) == 12
    del rdd
    kept.clear()
    gc.collect()
    wait_until(lambda: cached_partitions(sc) == 0)


def test_map_outputs_go_with_the_last_rdd_that_reads_them(sc: SparkContext) -> None:
    counts = sc.parallelize([(i % 3, 1) for i in range(30)], 4).reduceByKey(lambda a, b: a + b)
    assert counts.count() == 3
    assert sc._dispatcher.call(lambda scheduler: len(scheduler.outputs.shuffles)) == 1
    assert len(list(sc._backend.scratch.rglob("shuffle_*"))) == 4
    del counts
    gc.collect()
    wait_until(lambda: sc._dispatcher.call(lambda scheduler: not scheduler.outputs.shuffles))
    assert sc._dispatcher.call(lambda scheduler: not scheduler.graph._map_stages)
    wait_until(lambda: not list(sc._backend.scratch.rglob("shuffle_*")))


def test_unpersist_frees_blocks_and_the_rdd_can_be_used_again(sc: SparkContext) -> None:
    rdd = sc.parallelize(range(10), 4).cache()
    assert rdd.sum() == 45
    rdd.unpersist(blocking=True)
    wait_until(lambda: cached_partitions(sc) == 0)
    assert rdd.sum() == 45
    assert rdd.cache().sum() == 45
    assert cached_partitions(sc) == 4
    rdd.unpersist()


def test_many_jobs_leave_no_task_job_or_stage_behind(sc: SparkContext) -> None:
    for i in range(60):
        sc.parallelize([(j % 2, i) for j in range(4)], 2).reduceByKey(lambda a, b: a + b).collect()
    gc.collect()

    def left(scheduler: object) -> tuple[int, ...]:
        names = ("tasks", "jobs", "runs")
        return tuple(len(getattr(scheduler, name)) for name in names)

    assert sc._dispatcher.call(left) == (0, 0, 0)
    wait_until(lambda: sc._dispatcher.call(lambda s: not s.outputs.shuffles))
