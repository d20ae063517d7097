"""Two copies of a cached partition on real executors, and executors that come and go in mid-job."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import RDD, SparkContext, StorageLevel
from sparklab.errors import ClusterError
from sparklab.events import facts, states
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["threads[3]", "local[3]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "replication") as context:
        yield context


def alive(sc: SparkContext) -> list[int]:
    return [info.executor for info in sc.executorInfos() if info.alive]


def states_of(sc: SparkContext, rdd: RDD) -> str:
    with sc.bus.lock:
        return sc.views.cache[rdd.id()].states()


def copied(sc: SparkContext, rdd: RDD) -> int:
    found = [r.fact for r in sc.records() if isinstance(r.fact, facts.BlockStored) and r.fact.rdd == rdd.id()]
    return sum(fact.copied for fact in found)


def holders_of(sc: SparkContext, rdd: RDD) -> dict[int, tuple[int, ...]]:
    return sc._dispatcher.call(lambda s: {p: s.blocks.executors(rdd.id(), p) for p in range(rdd.getNumPartitions())})


@pytest.mark.parametrize("level", [StorageLevel.MEMORY_ONLY_2, StorageLevel.DISK_ONLY_2])
def test_a_lost_copy_costs_no_recomputation_and_is_made_again(sc: SparkContext, level: StorageLevel) -> None:
    wait_until(lambda: len(alive(sc)) == 3)
    computed = sc.accumulator(0)

    def double(x: int) -> int:
        computed.add(1)
        return x * 2

    rdd = sc.parallelize(range(60), 6).map(double).persist(level)
    assert rdd.sum() == 3540
    wait_until(lambda: states_of(sc, rdd) == states.COPIES * 6)
    assert copied(sc, rdd) == 6
    sc.kill_executor(1)
    with sc.scope("after the loss") as scope:
        assert rdd.sum() == 3540
    run = sc.run_of(scope)
    assert (run.cache_hits, run.cache_misses, run.recomputed_partitions) == (6, 0, 0)
    assert computed.value == 60
    wait_until(lambda: states_of(sc, rdd) == states.COPIES * 6)
    assert copied(sc, rdd) > 6
    wait_until(lambda: len(alive(sc)) == 3)  # the successor has removed what the killed one left
    rdd.unpersist(blocking=True)
    wait_until(lambda: all(info.cached_partitions == 0 for info in sc.executorInfos()))
    wait_until(lambda: held_anywhere(sc) == 0)


def held_anywhere(sc: SparkContext) -> int:
    """Blocks in the executors' own stores, whatever the driver believes."""
    folders = list(sc._backend.scratch.glob("**/blocks"))
    files = sum(len(os.listdir(folder)) for folder in folders)
    if "threads" not in sc.master:
        return files
    return files + sum(len(sc._backend._store(number).blocks()) for number in alive(sc))


def test_three_copies_are_three(sc: SparkContext) -> None:
    wait_until(lambda: len(alive(sc)) == 3)
    rdd = sc.parallelize(range(30), 3).persist(StorageLevel.DISK_ONLY_3)
    assert rdd.count() == 30
    wait_until(lambda: all(len(holders) == 3 for holders in holders_of(sc, rdd).values()))
    rdd.unpersist()


def test_an_executor_added_in_mid_job_gets_work(sc: SparkContext, tmp_path: Path) -> None:
    wait_until(lambda: len(alive(sc)) == 3)
    folder = str(tmp_path)

    def slow(index: int, records: Iterator[int]) -> Iterator[int]:
        Path(folder, f"started-{index}").touch()
        while not os.path.exists(os.path.join(folder, "go")):
            threading.Event().wait(0.01)
        return records

    results: list[int] = []
    scopes = []

    def run() -> None:
        with sc.scope("grows") as scope:
            scopes.append(scope)
            results.append(sc.parallelize(range(60), 12).mapPartitionsWithIndex(slow).sum())

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: len(list(tmp_path.glob("started-*"))) == 3)
    sc.addExecutors(1)
    wait_until(lambda: len(list(tmp_path.glob("started-*"))) == 4)
    (tmp_path / "go").touch()
    thread.join(30)
    assert results == [1770]
    added = max(alive(sc))
    assert added in sc.run_of(scopes[0]).tasks_by_executor
    sc.removeExecutors([added])
    assert added not in alive(sc)
    assert len(alive(sc)) == 3


def test_who_is_added_is_told_by_number_whoever_dies_or_comes_back_meanwhile(
    sc: SparkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(lambda: len(alive(sc)) == 3)
    for stay_dead in (False, True):
        before, add = alive(sc), sc._backend.add
        victim = min(before)

        def dies_meanwhile(count: int, add: Any = add, victim: int = victim, stay_dead: bool = stay_dead) -> Any:
            added = add(count)
            sc._backend.kill(victim, stay_dead)
            return added

        with monkeypatch.context() as patched:
            patched.setattr(sc._backend, "add", dies_meanwhile)
            sc.addExecutors(1)
        (added,) = set(alive(sc)) - set(before)
        assert added > max(before)
        wait_until(lambda stay_dead=stay_dead: len(alive(sc)) == 4 - stay_dead)  # type: ignore[misc]
        sc.removeExecutors([added])
    wait_until(lambda: len(alive(sc)) == 2)
    sc.addExecutors(1)


def test_a_removed_executor_ends_its_task_and_moves_its_blocks_first(sc: SparkContext, tmp_path: Path) -> None:
    wait_until(lambda: len(alive(sc)) == 3)
    sc.addExecutors(1)
    leaving = max(alive(sc))
    rdd = sc.parallelize(range(80), 8).map(lambda x: [x]).cache()
    assert rdd.count() == 80
    on_it = [p for p, holders in holders_of(sc, rdd).items() if holders == (leaving,)]
    assert on_it
    folder = str(tmp_path)

    def slow(index: int, records: Iterator[list[int]]) -> Iterator[list[int]]:
        Path(folder, f"started-{index}").touch()
        while not os.path.exists(os.path.join(folder, "go")):
            threading.Event().wait(0.01)
        return records

    results: list[int] = []
    scopes = []

    def run() -> None:
        with sc.scope("shrinks") as scope:
            scopes.append(scope)
            results.append(rdd.mapPartitionsWithIndex(slow).count())

    job = threading.Thread(target=run)
    job.start()
    wait_until(lambda: len(list(tmp_path.glob("started-*"))) == 4)
    remover = threading.Thread(target=sc.removeExecutors, args=([leaving],))
    remover.start()
    wait_until(lambda: all(len(holders_of(sc, rdd)[p]) == 2 for p in on_it))
    assert leaving in alive(sc), "its task is not over"
    (tmp_path / "go").touch()
    job.join(30)
    remover.join(30)
    assert results == [80]
    assert leaving not in alive(sc)
    assert all(len(holders) == 1 for holders in holders_of(sc, rdd).values())
    with sc.scope("again") as again:
        assert rdd.count() == 80
    for scope in (scopes[0], again):
        run_ = sc.run_of(scope)
        assert (run_.cache_hits, run_.cache_misses, run_.recomputed_partitions) == (8, 0, 0)
    assert sc.run_of(scopes[0]).tasks_by_executor.get(leaving, 0) <= 1 + len(on_it)


def test_map_outputs_of_a_removed_executor_are_read_where_they_moved(sc: SparkContext) -> None:
    wait_until(lambda: len(alive(sc)) == 3)
    sc.addExecutors(1)
    leaving = max(alive(sc))
    sums = sc.parallelize([(i % 50, i) for i in range(2_000)], 8).reduceByKey(operator.add, 4)
    expected = sorted(sums.collect())
    newest = max(sc.views.shuffles)

    def written_by() -> set[int]:
        return sc._dispatcher.call(lambda s: {location.executor for location in s.outputs.shuffles[newest].locations})

    assert leaving in written_by()
    sc.removeExecutors([leaving])
    assert leaving not in written_by()
    with sc.scope("moved") as scope:
        assert sorted(sums.collect()) == expected
    run = sc.run_of(scope)
    assert (run.recomputed_partitions, run.stages_skipped) == (0, 1)
    if "local" in sc.master:
        wait_until(lambda: not list(sc._backend.scratch.glob(f"executor-{leaving}.*")))


def test_the_last_executor_and_one_that_is_not_there_cannot_be_removed(sc: SparkContext) -> None:
    with pytest.raises(ClusterError, match="no executor would be left"):
        sc.removeExecutors(alive(sc))
    with pytest.raises(ClusterError, match="alive are"):
        sc.removeExecutors([99])
    with pytest.raises(ValueError, match="positive"):
        sc.addExecutors(0)
