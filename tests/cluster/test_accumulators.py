"""Accumulators across tasks: what counts, and how often."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparklab import AccumulatorParam, SparkConf, SparkContext


@pytest.fixture(scope="module", params=["threads[2]", "local[2,3]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "accumulators") as context:
        yield context


class Vectors(AccumulatorParam):  # type: ignore[type-arg]
    def zero(self, value: list[float]) -> list[float]:
        return [0.0] * len(value)

    def addInPlace(self, value1: list[float], value2: list[float]) -> list[float]:
        for i, x in enumerate(value2):
            value1[i] += x
        return value1


def test_what_tasks_add_is_there_when_the_action_returns(sc: SparkContext) -> None:
    acc = sc.accumulator(10)
    sc.parallelize(range(100), 7).foreach(acc.add)
    assert acc.value == 10 + sum(range(100))


def test_a_param_of_the_users_adds_up_vectors(sc: SparkContext) -> None:
    acc = sc.accumulator([1.0, 2.0], Vectors())
    sc.parallelize([1, 2, 3], 3).foreach(lambda x: acc.add([x, 10 * x]))
    assert acc.value == [7.0, 62.0]


def test_an_uncached_map_counts_again_on_each_action_and_a_cached_one_does_not(sc: SparkContext) -> None:
    def counted(x: int) -> int:
        acc.add(1)
        return x

    acc = sc.accumulator(0)
    mapped = sc.parallelize(range(10), 4).map(counted)
    mapped.count()
    mapped.count()
    assert acc.value == 20
    mapped.cache().count()
    assert acc.value == 30
    mapped.count()
    assert acc.value == 30
    mapped.unpersist()


def test_a_map_stage_that_is_used_again_counts_once(sc: SparkContext) -> None:
    acc = sc.accumulator(0)

    def pair(x: int) -> tuple[int, int]:
        acc.add(1)
        return x % 3, 1

    sums = sc.parallelize(range(12), 4).map(pair).reduceByKey(lambda a, b: a + b)
    assert sums.count() == 3
    assert sums.count() == 3
    assert acc.value == 12


def test_a_map_output_that_is_made_again_after_a_loss_does_not_count_twice(sc: SparkContext) -> None:
    acc = sc.accumulator(0)

    def pair(x: int) -> tuple[int, int]:
        acc.add(1)
        return x % 3, 1

    sums = sc.parallelize(range(12), 4).map(pair).reduceByKey(lambda a, b: a + b)
    assert sums.count() == 3
    sc.kill_executor(1)
    assert sums.count() == 3
    assert sc.lastRun.recomputed_partitions > 0
    assert acc.value == 12


def test_value_inside_a_task_fails_the_job_with_the_reason(sc: SparkContext) -> None:
    acc = sc.accumulator(0)
    with pytest.raises(RuntimeError, match="cannot be accessed inside tasks"):
        sc.parallelize([1], 1).map(lambda _: acc.value).collect()


def test_attempts_that_fail_do_not_count(tmp_path: Path) -> None:
    marks = str(tmp_path)
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    with SparkContext("local[2,3]", "retries", conf=conf) as sc:
        acc = sc.accumulator(0)

        def flaky(index: int, records: Iterator[int]) -> Iterator[int]:
            for x in records:
                acc.add(1)
                yield x
            mark = os.path.join(marks, str(index))
            if index == 1 and not os.path.exists(mark):
                open(mark, "w").close()
                raise RuntimeError("the first try fails after it has added")

        assert sc.parallelize(range(10), 2).mapPartitionsWithIndex(flaky).count() == 10
        assert acc.value == 10
