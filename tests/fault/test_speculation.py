"""Speculation and exclusion on a real cluster: slow tasks are overtaken, failing executors avoided, all counts once."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparklab import SparkConf, SparkContext
from sparklab.events import facts as f
from sparklab.testing import delay, inject
from tests.waiting import wait_until

CONF = (
    SparkConf()
    .set("spark.speculation", "true")
    .set("spark.speculation.quantile", "0.5")
    .set("spark.speculation.multiplier", "2")
    .set("spark.excludeOnFailure.enabled", "true")
)
STUCK_S = 60.0


@pytest.fixture(scope="module")
def sc() -> Iterator[SparkContext]:
    with SparkContext("local[2,4]", "speculation", conf=CONF) as context:
        yield context


def attempts(sc: SparkContext, since: int) -> tuple[list[f.TaskStarted], list[f.TaskEnded]]:
    facts = [record.fact for record in sc.records() if record.seq > since]
    return (
        [fact for fact in facts if isinstance(fact, f.TaskStarted)],
        [fact for fact in facts if isinstance(fact, f.TaskEnded)],
    )


@pytest.mark.parametrize("step", ["map", "write", "fetch", "result"])
def test_a_task_that_is_stuck_is_overtaken_and_told_to_stop(sc: SparkContext, step: str) -> None:
    since, started_s = sc.bus.seq, time.monotonic()
    counter = sc.accumulator(0)

    def counted(x: int) -> tuple[int, int]:
        counter.add(1)
        return x % 5, x

    with inject(sc, delay(STUCK_S, step, partition=1)) as injection:
        sums = sc.parallelize(range(100), 6).map(counted).reduceByKey(operator.add, 4)
        assert sorted(sums.collect()) == [(k, sum(range(k, 100, 5))) for k in range(5)]
    assert time.monotonic() - started_s < STUCK_S / 3
    (strike,) = injection.strikes

    def stuck(e: f.TaskEnded) -> bool:  # a busy machine may have others overtaken as well
        where = (strike.stage, strike.partition, strike.executor)
        return e.status == "cancelled" and (e.stage, e.partition, e.executor) == where

    wait_until(lambda: any(map(stuck, attempts(sc, since)[1])))
    started, ended = attempts(sc, since)
    loser = next(filter(stuck, ended))
    winner = next(s for s in started if s.speculative and (s.stage, s.partition) == (loser.stage, loser.partition))
    assert winner.attempt == 1
    assert winner.executor != loser.executor
    assert counter.value == 100
    assert not any(isinstance(r.fact, f.MapOutputStored) and r.fact.recomputed for r in sc.records() if r.seq > since)


def test_a_file_is_committed_once_although_two_attempts_wrote_it(sc: SparkContext, tmp_path: Path) -> None:
    with inject(sc, delay(STUCK_S, "save", partition=1)) as injection:
        sc.parallelize(range(100), 4).saveAsTextFile(str(tmp_path / "out"))
    assert len(injection.strikes) == 1
    assert sorted(os.listdir(tmp_path / "out")) == ["_SUCCESS", *(f"part-0000{i}" for i in range(4))]
    assert sc.textFile(str(tmp_path / "out")).map(int).collect() == list(range(100))
    assert os.listdir(tmp_path) == ["out"]


def test_a_partition_that_fails_on_one_executor_succeeds_on_another(sc: SparkContext, tmp_path: Path) -> None:
    wait_until(lambda: all(info.alive for info in sc.executorInfos()))
    bad = sc.executorInfos()[0].pid
    since = sc.bus.seq

    def picky(x: int) -> int:
        if os.getpid() == bad:
            (tmp_path / str(x // 2)).touch()
            raise OSError("no such library here")
        while len(os.listdir(tmp_path)) < 2:  # or the good one might do nearly all of it before the bad one has begun
            time.sleep(0.01)
        return x

    assert sc.parallelize(range(12), 6).map(picky).sum() == 66
    excluded = [r.fact for r in sc.records() if r.seq > since and isinstance(r.fact, f.ExecutorExcluded)]
    assert [(fact.executor, fact.stage >= 0) for fact in excluded] == [(0, True), (0, False)]
    since = sc.bus.seq
    assert sc.parallelize(range(12), 6).sum() == 66
    assert {start.executor for start in attempts(sc, since)[0]} == {1}
