"""Executors come and go while jobs run over caches and shuffles: the answers stay right, nothing hangs or is left."""

from __future__ import annotations

import operator
import random
import threading
from collections.abc import Iterator

import pytest

from sparklab import SparkContext, StorageLevel
from sparklab.errors import ClusterError
from tests.waiting import wait_until

ROUNDS = 3


@pytest.fixture(params=["threads[3]", "local[3]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "come and go") as context:
        yield context


def alive(sc: SparkContext) -> list[int]:
    return [info.executor for info in sc.executorInfos() if info.alive]


@pytest.mark.slow  # processes start, give their blocks away and end, three times, under two threads of jobs
def test_executors_come_and_go_while_jobs_run(sc: SparkContext) -> None:
    chance = random.Random(11)
    over = threading.Event()
    wrong: list[object] = []
    rounds: list[int] = []
    once = sc.parallelize(range(2_000), 8).map(lambda x: (x % 50, x)).cache()
    twice = sc.parallelize(range(2_000), 8).map(lambda x: (x % 50, x)).persist(StorageLevel.MEMORY_AND_DISK_2)
    expected = sorted((k, sum(range(k, 2_000, 50))) for k in range(50))

    def work() -> None:
        while not over.is_set():
            for rdd in (once, twice):
                try:
                    found = sorted(rdd.reduceByKey(operator.add, 4).collect())
                except BaseException as error:
                    wrong.append(error)
                    return
                if found != expected:
                    wrong.append(found)
            rounds.append(1)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(ROUNDS):
        sc.addExecutors(1)
        leaving = chance.choice(alive(sc))
        sc.removeExecutors([leaving], timeout_s=60)
        victim = chance.choice(alive(sc))
        try:
            sc.kill_executor(victim)
        except ClusterError:
            pass
        wait_until(lambda: len(alive(sc)) == 3, timeout_s=30)
    over.set()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert not wrong, wrong[0]
    assert len(rounds) >= 2
    settled = lambda: sc._dispatcher.call(  # noqa: E731
        lambda s: all(len(s.blocks.executors(twice.id(), p)) == 2 for p in range(8)) and not s.blocks.lacking
    )
    twice.count()
    wait_until(settled, timeout_s=30)
    once.unpersist()
    twice.unpersist(blocking=True)
    wait_until(lambda: all(info.cached_partitions == 0 for info in sc.executorInfos()))
