"""Pairs that are placed already, combined and kept within the budget: the same result, in bounded memory."""

from __future__ import annotations

import contextlib
import operator
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkConf, SparkContext
from sparklab.events import facts as f
from sparklab.rdd.task import TaskContext
from sparklab.shuffle.combine import identity
from sparklab.shuffle.groups import SpilledValues
from sparklab.shuffle.narrow import combine_records, hold_records
from sparklab.shuffle.spec import Aggregator
from tests.support.tasks import a_task

ADDING = Aggregator(identity, operator.add, operator.add)
AMPLE, SMALL = 1 << 30, 100_000


def peak_of(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("budget_bytes", [AMPLE, SMALL])
def test_each_key_comes_once_with_its_combiner_whatever_the_budget(tmp_path: Path, budget_bytes: int) -> None:
    records = [(n % 7_919, n) for n in range(40_000)]
    expected: dict[int, int] = {}
    for k, v in records:
        expected[k] = expected.get(k, 0) + v

    def combined() -> tuple[list[Any], TaskContext]:
        task = a_task()
        return list(combine_records(iter(records), ADDING, str(tmp_path), budget_bytes, task)), task

    found, task = combined()
    assert len(found) == len(expected)
    assert dict(found) == expected
    assert (task.metrics.spilled_bytes > 0) == (budget_bytes < AMPLE)
    assert (found == list(expected.items())) == (budget_bytes == AMPLE), "in memory by first appearance"
    assert combined()[0] == found, "computed again, the same records in the same order"
    assert os.listdir(tmp_path) == []


def test_more_distinct_keys_than_memory_are_combined_within_the_budget(tmp_path: Path) -> None:
    def records() -> Iterator[Any]:
        for n in range(60_000):
            yield f"key {n:060d}", f"{n:0100d}"

    adding = Aggregator(identity, max, max)
    task = a_task()
    count = 0

    def work() -> None:
        nonlocal count
        for _ in combine_records(records(), adding, str(tmp_path), 2_000_000, task):
            count += 1

    assert peak_of(work) < 12_000_000, "all of them would take 22 MB"
    assert count == 60_000
    assert task.metrics.spilled_bytes > 10_000_000


def test_few_keys_are_combined_in_memory_however_many_the_records_are(tmp_path: Path) -> None:
    task = a_task()
    found = list(combine_records(((n % 50, 1) for n in range(200_000)), ADDING, str(tmp_path), SMALL, task))
    assert found == [(k, 4_000) for k in range(50)]
    assert task.metrics.spilled_bytes == 0


@pytest.mark.parametrize("count", [0, 1, 10, 5_000])
@pytest.mark.parametrize("budget_bytes", [AMPLE, SMALL])
def test_held_records_can_be_gone_through_again_and_again(tmp_path: Path, count: int, budget_bytes: int) -> None:
    task = a_task()
    records = [("x" * 50, n) for n in range(count)]
    held = hold_records(iter(records), str(tmp_path), budget_bytes, task)
    assert list(held) == list(held) == records
    assert isinstance(held, SpilledValues) == (task.metrics.spilled_bytes > 0) == (count > 10 and budget_bytes == SMALL)


def test_held_records_that_do_not_fit_take_no_more_than_the_budget(tmp_path: Path) -> None:
    def work() -> None:
        held = hold_records((f"{n:0500d}" for n in range(40_000)), str(tmp_path), 2_000_000, a_task())
        for _ in range(2):
            assert sum(1 for _ in held) == 40_000

    assert peak_of(work) < 12_000_000, "all of them would take 22 MB"


def test_records_that_cannot_be_pickled_are_held_in_memory(tmp_path: Path) -> None:
    records = [lambda: 1, lambda: 2]
    assert list(hold_records(iter(records), str(tmp_path), AMPLE, a_task())) == records


@contextlib.contextmanager
def spills(sc: SparkContext) -> Iterator[None]:
    since = sc.bus.seq
    yield
    facts = [record.fact for record in sc.records() if record.seq > since]
    assert sum(fact.spilled_bytes for fact in facts if isinstance(fact, f.TaskEnded)) > 0


def test_narrow_operators_work_within_a_small_executor() -> None:
    conf = SparkConf().set("spark.executor.memory", "4m").set("sparklab.allowMultipleContexts", "true")
    with SparkContext("threads[2]", "narrow", conf=conf) as sc:
        placed = sc.parallelize([(n % 20_000, n) for n in range(60_000)], 4).partitionBy(2)
        with spills(sc):
            sums = placed.mapValues(lambda n: str(n) * 20).reduceByKey(max, 2)
            assert sums.getNumPartitions() == 2
            assert sums.count() == 20_000
        wide = sc.parallelize([f"{n:0400d}" for n in range(20_000)], 1)
        with spills(sc):
            assert sc.parallelize([0, 1], 1).cartesian(wide).map(lambda p: p[0]).sum() == 20_000
