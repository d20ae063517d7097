"""More to cache than there is room for: jobs end with the right answer, and no executor is ended for our cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest
from distributed import LocalCluster

from sparklab import SparkConf, SparkContext, StorageLevel
from sparklab.cluster.resources import resident_bytes
from sparklab.events import facts as f

MIB = 1 << 20


@pytest.mark.parametrize("level", [StorageLevel.MEMORY_ONLY, StorageLevel.MEMORY_AND_DISK])
def test_data_four_times_the_cache_finishes(level: StorageLevel) -> None:
    conf = SparkConf().set("spark.executor.memory", "24m")
    with SparkContext("local[2]", "pressure", conf=conf) as sc:
        budget = sum(info.cache_budget_bytes for info in sc.executorInfos())
        parts = 48
        size = 4 * budget // parts
        cached = sc.parallelize(range(parts), parts).map(lambda i: bytes([i]) * size).persist(level)
        expected = [hashlib.sha256(bytes([i]) * size).hexdigest() for i in range(parts)]

        def digests() -> list[str]:
            return cached.map(lambda block: hashlib.sha256(block).hexdigest()).collect()

        assert digests() == expected
        with sc.scope("again") as scope:
            assert digests() == expected
        run = sc.run_of(scope)
        assert run.cache_hits + run.cache_misses == parts
        if level.useDisk:
            assert run.cache_hits == parts
        else:
            assert run.cache_hits >= parts // 8
        for info in sc.executorInfos():
            assert info.cache_used_bytes <= info.cache_budget_bytes
            assert info.epoch == 0


def test_two_cached_rdds_demote_each_other_and_both_are_found() -> None:
    conf = SparkConf().set("spark.executor.memory", "24m")
    with SparkContext("local[2]", "pressure", conf=conf) as sc:
        budget = sum(info.cache_budget_bytes for info in sc.executorInfos())
        size = budget // 8
        one, other = (
            sc.parallelize(range(8), 8).map(lambda i, k=k: bytes([i + k]) * size).persist(StorageLevel.MEMORY_AND_DISK)
            for k in (0, 100)
        )
        for rdd in (one, other):
            rdd.count()
        with sc.scope("both") as scope:
            assert one.map(len).sum() == other.map(len).sum() == 8 * size
        assert (sc.run_of(scope).cache_hits, sc.run_of(scope).cache_misses) == (16, 0)
        stored = [r.fact for r in sc.records() if isinstance(r.fact, f.BlockStored)]
        assert any(fact.tier == "disk" and fact.rdd == one.id() for fact in stored)


@pytest.fixture
def small_cluster() -> Iterator[LocalCluster]:
    """One worker that Dask ends when it exceeds 400 MiB."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        memory_limit=400 * MIB,
        dashboard_address=":0",
        worker_dashboard_address=":0",
    ) as cluster:
        yield cluster


@pytest.mark.slow  # 200 MiB are made and cached in a worker process of Dask's
def test_a_worker_whose_memory_others_fill_is_not_ended_for_our_cache(small_cluster: LocalCluster) -> None:
    def occupy(records: Iterator[int]) -> Iterator[int]:
        import builtins

        held = builtins.__dict__.setdefault("_sparklab_test_ballast", [])
        room = int(400 * MIB * 0.62) - resident_bytes()
        held.extend(os.urandom(MIB) for _ in range(room // MIB))
        return records

    with SparkContext(small_cluster) as sc:
        sc.parallelize([1], 1).mapPartitions(occupy).count()
        (before,) = sc.executorInfos()
        cached = sc.parallelize(range(150), 150).map(lambda _: os.urandom(MIB)).cache()
        assert cached.map(len).sum() == 150 * MIB
        peak = sc.parallelize([1], 1).map(lambda _: resident_bytes()).first()
        (after,) = sc.executorInfos()
        assert (after.epoch, after.alive, after.pid) == (before.epoch, True, before.pid)
        assert peak < 0.8 * 400 * MIB
        assert 0 < after.cache_used_bytes < before.cache_budget_bytes // 2


def test_an_executor_of_ours_with_little_memory_caches_all_of_its_budget_beside_the_users_libraries() -> None:
    def library(i: int) -> bytes:
        import builtins

        if not hasattr(builtins, "_sparklab_test_library"):
            builtins._sparklab_test_library = os.urandom(80 * MIB)  # type: ignore[attr-defined]
        return bytes([i]) * MIB

    conf = SparkConf().set("spark.executor.memory", "64m")
    with SparkContext("local[1]", "little", conf=conf) as sc:
        (info,) = sc.executorInfos()
        parts = info.cache_budget_bytes // MIB - 1
        cached = sc.parallelize(range(parts), parts).map(library).cache()
        cached.count()
        with sc.scope("again") as scope:
            cached.count()
        assert sc.run_of(scope).cache_hits == parts
