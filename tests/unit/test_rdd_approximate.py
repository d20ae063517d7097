"""Answers in a given time: from the partitions that are done, with bounds that hold; never later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.errors import JobFailed
from sparklab.rdd.approximate import _student
from tests.support.naive_driver import NaiveDriver


@pytest.fixture
def sc() -> Iterator[SparkContext]:
    with SparkContext("threads[4]", "in time") as context:
        yield context


def late(index: int, records: Iterator[Any]) -> Iterator[Any]:
    """Partition 3 takes a minute."""
    if index == 3:
        for _ in range(6000):
            time.sleep(0.01)
    return records


def test_all_partitions_in_time_give_the_exact_answer(sc: SparkContext) -> None:
    numbers = sc.parallelize(range(1000), 7)

    assert numbers.countApprox(60_000) == 1000
    total = numbers.sumApprox(60_000)
    assert (total, total.confidence, total.low, total.high) == (499500.0, 1.0, 499500.0, 499500.0)
    mean = numbers.meanApprox(60_000, 0.9)
    assert (mean, mean.confidence, mean.low, mean.high) == (499.5, 1.0, 499.5, 499.5)


def test_a_partition_that_sleeps_a_minute_is_not_waited_for(sc: SparkContext) -> None:
    # One executor per partition: the sleeping one is in nobody's way.
    numbers = sc.parallelize(range(10_000), 4).mapPartitionsWithIndex(late)
    sc.waitUntilReady()
    started = time.monotonic()
    count = numbers.countApprox(1_000)
    total = numbers.sumApprox(1_000)
    mean = numbers.meanApprox(1_000, 0.9)
    took_s = time.monotonic() - started

    assert took_s < 30
    assert count == 10_000  # three partitions of 2500 each let expect a fourth
    assert total.confidence == 0.95
    assert total.low < 3 * 2500 * 3749.5 < total.high
    assert mean.confidence == 0.9
    assert mean.low < mean == 3749.5 < mean.high
    with sc.bus.lock:
        assert [job.status for job in sc.views.jobs.values()] == ["cancelled"] * 3
    assert sc.parallelize(range(4), 4).sum() == 6


def test_nothing_in_time_is_nothing_known(sc: SparkContext) -> None:
    slow = sc.parallelize([1.0], 1).map(lambda x: [time.sleep(0.01) for _ in range(6000)] and x)

    total = slow.sumApprox(50)

    assert (total, total.confidence, total.low, total.high) == (0.0, 0.0, -inf, inf)


def test_an_error_of_the_user_is_an_error_and_no_estimate(sc: SparkContext) -> None:
    with pytest.raises(JobFailed, match="ZeroDivisionError"):
        sc.parallelize([1, 0], 2).map(lambda x: 1 // x).sumApprox(60_000)


def test_wrong_arguments_start_no_job() -> None:
    sc = NaiveDriver(2)
    with pytest.raises(ValueError, match="timeout"):
        sc.parallelize([1]).countApprox(-1)
    with pytest.raises(ValueError, match="confidence"):
        sc.parallelize([1]).sumApprox(10, 1.5)
    with pytest.raises(ValueError, match=r"0\.000017"):
        sc.parallelize([1]).countApproxDistinct(0.00001)
    assert sc.jobs == []


@pytest.mark.parametrize("distinct", [0, 1, 20, 1000, 30_000])
@pytest.mark.parametrize("deviation", [0.05, 0.01])
def test_distinct_records_are_estimated_within_a_few_deviations(distinct: int, deviation: float) -> None:
    sc = NaiveDriver(2)
    for key in (int, str, lambda i: (i, None)):
        rdd = sc.parallelize([i % distinct for i in range(2 * distinct)], 3).map(key)
        assert abs(rdd.countApproxDistinct(deviation) - distinct) <= 4 * deviation * distinct + 0.5


def test_the_quantiles_of_students_distribution_are_those_of_the_tables() -> None:
    for freedom, expected in {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 10: 2.228, 60: 2.000}.items():
        assert _student(0.975, freedom) == pytest.approx(expected, rel=0.01)


def test_cleaned_shuffles_are_made_again(sc: SparkContext) -> None:
    calls = sc.accumulator(0)

    def counted(x: int) -> tuple[int, int]:
        calls.add(1)
        return x % 3, 1

    sums = sc.parallelize(range(9), 3).map(counted).reduceByKey(lambda a, b: a + b, 2)
    below = sums.map(lambda p: (p[1], p[0])).groupByKey(2).mapValues(sorted)
    assert below.collect() == [(3, [0, 1, 2])]
    sums.cleanShuffleDependencies(blocking=True)
    assert below.collect() == [(3, [0, 1, 2])]
    assert calls.value == 9  # the later shuffle is there still
    below.cleanShuffleDependencies(blocking=True)
    assert below.collect() == [(3, [0, 1, 2])]
    assert calls.value == 18
