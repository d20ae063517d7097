"""Cached partitions that are needed where they are not: read from the executor that holds them, not computed again."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from sparklab import RDD, SparkConf, SparkContext, StorageLevel
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["threads[2]", "local[2]", "attached", "apart"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    if request.param not in ("attached", "apart"):
        with SparkContext(request.param, "peers") as context:
            yield context
        return
    # Apart: as if on different hosts, no executor opens another's files.
    conf = SparkConf().set("sparklab.cluster.shareFiles", "false" if request.param == "apart" else "true")
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", worker_dashboard_address=":0"
        ) as cluster,
        SparkContext(cluster, "peers", conf=conf) as context,
    ):
        yield context


def all_alive(sc: SparkContext) -> None:
    wait_until(lambda: [info.alive for info in sc.executorInfos()] == [True, True])


def spread(sc: SparkContext, level: StorageLevel = StorageLevel.MEMORY_ONLY) -> RDD:
    """A cached RDD of 8 partitions, some of them on each executor."""
    all_alive(sc)
    rdd = sc.parallelize(range(80), 8).map(lambda x: [x]).persist(level)
    assert rdd.count() == 80
    assert len(holders_of(sc, rdd)) == 2
    return rdd


def holders_of(sc: SparkContext, rdd: RDD) -> dict[int, list[int]]:
    """Executor -> the partitions that it holds."""
    held: dict[int, list[int]] = {}
    for partition in range(rdd.getNumPartitions()):
        for executor in sc._dispatcher.call(lambda s, p=partition: s.blocks.executors(rdd.id(), p)):
            held.setdefault(executor, []).append(partition)
    return held


def here_and_elsewhere(sc: SparkContext, rdd: RDD) -> tuple[int, int]:
    """How many partitions are held where partition 0 is, and how many are not."""
    counts = [(0 in partitions, len(partitions)) for partitions in holders_of(sc, rdd).values()]
    elsewhere, here = (count for _, count in sorted(counts))
    return here, elsewhere


EXPECTED = [[x] for x in range(80)]


@pytest.mark.parametrize("level", [StorageLevel.MEMORY_ONLY, StorageLevel.DISK_ONLY])
def test_a_coalesced_cache_is_read_wherever_it_is(sc: SparkContext, level: StorageLevel) -> None:
    cached = spread(sc, level)
    before = holders_of(sc, cached)
    with sc.scope("coalesced") as scope:
        assert cached.coalesce(1).collect() == EXPECTED
    run = sc.run_of(scope)
    assert (run.cache_hits, run.cache_misses, run.recomputed_partitions) == (8, 0, 0)
    assert holders_of(sc, cached) == before, "what was read from a peer is not kept"


def test_a_product_of_caches_computes_nothing_again(sc: SparkContext) -> None:
    cached = spread(sc)
    small = cached.map(operator.itemgetter(0)).filter(lambda x: x % 10 == 0)
    with sc.scope("product") as scope:
        assert small.cartesian(small).count() == 64
    run = sc.run_of(scope)
    assert run.cache_misses == 0
    assert run.cache_hits >= 64


def test_a_union_over_caches_computes_nothing_again(sc: SparkContext) -> None:
    cached = spread(sc)
    with sc.scope("union") as scope:
        assert cached.union(cached).coalesce(2).count() == 160
    run = sc.run_of(scope)
    assert (run.cache_hits, run.cache_misses) == (16, 0)


def interrupted(
    sc: SparkContext, rdd: RDD, folder: Path, in_between: Callable[[int], object]
) -> tuple[list[Any], int, int]:
    """All of `rdd` in one task, with ``in_between(other executor)`` done after it got its order and its first record.

    Returns the records, cache hits and cache misses.
    """
    here = str(folder)
    (first_on,) = sc._dispatcher.call(lambda s: s.blocks.executors(rdd.id(), 0))

    def held_up(records: Iterator[Any]) -> Iterator[Any]:
        for n, record in enumerate(records):
            if n == 0:
                Path(here, "started").touch()
                while not os.path.exists(os.path.join(here, "go")):
                    threading.Event().wait(0.01)
            yield record

    results: list[Any] = []
    scopes: list[Any] = []

    def run() -> None:
        with sc.scope("held up") as scope:
            scopes.append(scope)
            results.extend(rdd.coalesce(1).mapPartitions(held_up).collect())

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: (folder / "started").exists())
    in_between(1 - first_on)
    (folder / "go").touch()
    thread.join(30)
    assert not thread.is_alive()
    numbers = sc.run_of(scopes[0])
    return results, numbers.cache_hits, numbers.cache_misses


def test_blocks_whose_holder_is_killed_in_between_are_computed(sc: SparkContext, tmp_path: Path) -> None:
    if "[2]" not in sc.master:
        pytest.skip("the workers are somebody else's: not ours to kill")
    cached = spread(sc)
    here, elsewhere = here_and_elsewhere(sc, cached)
    assert interrupted(sc, cached, tmp_path, sc.kill_executor) == (EXPECTED, here, elsewhere)


def test_blocks_dropped_in_between_are_computed_and_kept(sc: SparkContext, tmp_path: Path) -> None:
    cached = spread(sc)

    def drop(executor: int) -> None:
        for partition in holders_of(sc, cached)[executor]:
            sc.drop_partition(cached, partition)

    here, elsewhere = here_and_elsewhere(sc, cached)
    assert interrupted(sc, cached, tmp_path, drop) == (EXPECTED, here, elsewhere)
    assert sorted(len(partitions) for partitions in holders_of(sc, cached).values()) == [8]


def test_a_lost_cache_over_a_shuffle_is_made_again_from_it(sc: SparkContext, tmp_path: Path) -> None:
    if "[2]" not in sc.master:
        pytest.skip("the workers are somebody else's: not ours to kill")
    all_alive(sc)
    sums = sc.parallelize([(i % 20, 1) for i in range(200)], 4).reduceByKey(operator.add, 8).cache()
    assert sums.count() == 20
    results, _, misses = interrupted(sc, sums, tmp_path, sc.kill_executor)
    assert sorted(results) == [(k, 10) for k in range(20)]
    assert misses > 0


def test_a_block_that_only_the_driver_believes_in_is_computed_and_forgotten(sc: SparkContext) -> None:
    cached = spread(sc)
    (here,) = sc._dispatcher.call(lambda s: s.blocks.executors(cached.id(), 0))
    gone = holders_of(sc, cached)[1 - here][0]
    sc._backend.drop(1 - here, sc._epochs()[1 - here], cached.id(), gone)  # and the driver is not told
    with sc.scope("stale") as scope:
        assert cached.coalesce(1).collect() == EXPECTED
    run = sc.run_of(scope)
    assert (run.cache_hits, run.cache_misses, run.recomputed_partitions) == (7, 1, 1)
    assert sc._dispatcher.call(lambda s: s.blocks.executors(cached.id(), gone)) == (here,)
