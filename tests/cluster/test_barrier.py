"""Barrier stages on real executors: they meet, they fail at once, they are run again as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import BarrierTaskContext, SparkContext, TaskContext
from sparklab.errors import JobFailed, UserCodeError


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "barrier") as context:
        yield context


def pair(sc: SparkContext, f: Callable[[int, Any], Any]) -> Any:
    return sc.parallelize(range(10), 2).barrier().mapPartitionsWithIndex(f)


def test_no_task_leaves_a_barrier_before_the_last_has_come(sc: SparkContext, tmp_path: Path) -> None:
    def meet(index: int, records: Any) -> Any:
        task = BarrierTaskContext.get()
        missing = []
        for number in range(5):
            (tmp_path / f"{number}-{index}").touch()
            task.barrier()
            missing += [i for i in range(2) if not (tmp_path / f"{number}-{i}").exists()]
        return missing

    assert pair(sc, meet).collect() == []


def test_all_gather_gives_everybodys_messages_in_the_order_of_partitions(sc: SparkContext) -> None:
    def gather(index: int, records: Any) -> Any:
        task = BarrierTaskContext.get()
        return [[task.allGather(f"{index}.{i}") for i in range(3)]]

    assert pair(sc, gather).collect() == [[["0.0", "1.0"], ["0.1", "1.1"], ["0.2", "1.2"]]] * 2


def test_the_context_of_a_barrier_task_tells_where_all_tasks_run(sc: SparkContext) -> None:
    def tell(index: int, records: Any) -> Any:
        task = BarrierTaskContext.get()
        assert isinstance(TaskContext.get(), BarrierTaskContext)
        return [(task.partitionId(), task.attemptNumber(), [info.address for info in task.getTaskInfos()])]

    first, second = pair(sc, tell).collect()
    assert first[:2] == (0, 0)
    assert second[:2] == (1, 0)
    assert first[2] == second[2]
    assert len(set(first[2])) == 2
    assert all(address.rpartition(":")[2].isdigit() for address in first[2])


def test_a_barrier_stage_may_stand_before_a_shuffle_and_behind_one(sc: SparkContext) -> None:
    def meet(index: int, records: Any) -> Any:
        BarrierTaskContext.get().barrier()
        return records

    pairs = pair(sc, meet).map(lambda n: (n % 3, n)).reduceByKey(lambda a, b: a + b, 2)
    assert sorted(pairs.barrier().mapPartitionsWithIndex(meet).collect()) == [(0, 18), (1, 12), (2, 15)]


@pytest.mark.parametrize("tasks", [3, 5])
def test_too_few_executors_fail_the_job_at_once(sc: SparkContext, tasks: int) -> None:
    started = time.monotonic()
    with pytest.raises(JobFailed, match=rf"(?s)it has {tasks} tasks.*there are 2 executors.*To do: use at most 2"):
        sc.parallelize(range(10), tasks).barrier().mapPartitions(lambda records: records).collect()
    assert time.monotonic() - started < 20, "it waited for executors"


def test_a_task_that_ends_without_the_call_fails_those_that_wait_in_it(sc: SparkContext) -> None:
    def uneven(index: int, records: Any) -> Any:
        if index:
            BarrierTaskContext.get().barrier()
        return []

    with pytest.raises(JobFailed, match=r"(?s)partition 1 .*partition 0 has ended without this call of barrier\(\)"):
        pair(sc, uneven).collect()


def test_tasks_that_wait_by_different_calls_fail(sc: SparkContext) -> None:
    def uneven(index: int, records: Any) -> Any:
        task = BarrierTaskContext.get()
        return task.allGather() if index else task.barrier() or []

    with pytest.raises(JobFailed, match="wait for different things"):
        pair(sc, uneven).collect()


def test_a_users_error_in_one_task_fails_the_job_though_others_wait(sc: SparkContext) -> None:
    def fails(index: int, records: Any) -> Any:
        if index:
            raise ValueError("mine")
        BarrierTaskContext.get().barrier()
        return []

    with pytest.raises(UserCodeError, match="ValueError: mine"):
        pair(sc, fails).collect()
    assert sc.parallelize(range(4), 4).sum() == 6  # both executors are free again


def test_some_cached_partitions_of_a_barrier_rdd_are_not_used(sc: SparkContext) -> None:
    def meet(index: int, records: Any) -> Any:
        BarrierTaskContext.get().barrier()
        return records

    rdd = pair(sc, meet).cache()
    assert rdd.count() == 10
    assert rdd.sum() == 45
    sc.drop_partition(rdd, 1)
    assert rdd.sum() == 45


def test_the_context_is_refused_outside_of_a_barrier_stage(sc: SparkContext) -> None:
    with pytest.raises(JobFailed, match="not a task of a barrier stage"):
        BarrierTaskContext.get()
    with pytest.raises(JobFailed, match="not a task of a barrier stage"):
        sc.parallelize([1], 1).map(lambda _: BarrierTaskContext.get().partitionId()).collect()
    with pytest.raises(JobFailed, match="belongs to no task"):
        BarrierTaskContext().barrier()


def test_only_text_is_gathered(sc: SparkContext) -> None:
    with pytest.raises(UserCodeError, match="must be of type `str`"):
        pair(sc, lambda index, records: BarrierTaskContext.get().allGather(1)).collect()  # type: ignore[arg-type]
