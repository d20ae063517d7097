"""``sparklab.testing``: each fault strikes where it was asked to, once, and the job is right or says what is wrong."""

from __future__ import annotations

import json
import operator
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkContext, StorageLevel
from sparklab.errors import SparklabError
from sparklab.faults import PROPERTY, Place, Striker
from sparklab.testing import STEPS, Fault, corrupt, delay, disk_full, drop, inject, kill, random_faults, stop
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "injection") as context:
        yield context


def sums(sc: SparkContext) -> Any:
    return sc.parallelize(range(100), 4).map(lambda x: (x % 5, x)).reduceByKey(operator.add, 3)


EXPECTED = [(k, sum(range(k, 100, 5))) for k in range(5)]


@pytest.mark.parametrize("step", ["map", "write", "fetch", "merge", "result"])
def test_an_executor_that_dies_at_a_step_is_replaced_and_the_sums_are_right(sc: SparkContext, step: str) -> None:
    with inject(sc, kill(step)) as injection:
        assert sorted(sums(sc).collect()) == EXPECTED
    (strike,) = injection.strikes
    assert (strike.action, strike.step) == ("kill", step)
    wait_until(lambda: sc.views.executors[strike.executor].epoch == strike.epoch + 1)


def test_a_fault_strikes_the_named_partition_the_kth_time(sc: SparkContext) -> None:
    with inject(sc, kill("result", partition=1, k=1)) as injection:
        assert sorted(sums(sc).collect()) == EXPECTED
        assert injection.strikes == []
        assert sorted(sums(sc).collect()) == EXPECTED
    (strike,) = injection.strikes
    assert strike.partition == 1
    assert sorted({reached.job for reached in injection.steps}).index(strike.job) == 1


def test_steps_are_counted_without_any_fault(sc: SparkContext) -> None:
    with inject(sc) as injection:
        assert sorted(sums(sc).collect()) == EXPECTED
    reached = [each.step for each in injection.steps]
    assert (reached.count("map"), reached.count("write"), reached.count("result")) == (4, 4, 3)
    assert set(reached) < set(STEPS)
    assert injection.strikes == []


@pytest.mark.parametrize("step", ["write", "fetch"])
def test_a_corrupt_map_output_is_found_and_made_again(sc: SparkContext, step: str) -> None:
    with inject(sc, corrupt(step)) as injection, sc.scope("corrupt") as scope:
        assert sorted(sums(sc).collect()) == EXPECTED
    assert len(injection.strikes) == 1
    assert sc.run_of(scope).recomputed_partitions == 1


@pytest.mark.parametrize("step", ["fetch", "write", "result", "map"])
def test_what_is_lost_on_its_way_is_brought_again(sc: SparkContext, step: str) -> None:
    with inject(sc, drop(step)) as injection:
        assert sorted(sums(sc).collect()) == EXPECTED
    assert len(injection.strikes) == 1


def test_a_corrupt_cached_block_is_found_and_computed_again(sc: SparkContext) -> None:
    cached = sc.parallelize(range(1000), 4).map(lambda x: x * x).persist(StorageLevel.DISK_ONLY)
    with inject(sc, corrupt("persist", partition=2)) as injection:
        # The block is read back as soon as it is written: damage is met in the same job.
        with sc.scope("first") as first:
            found = cached.sum()
        assert found == cached.sum() == sum(x * x for x in range(1000))
    assert len(injection.strikes) == 1
    assert sc.run_of(first).status == "succeeded"


def test_a_disk_that_is_full_for_the_cache_costs_the_cache_alone(sc: SparkContext) -> None:
    cached = sc.parallelize(range(1000), 4).persist(StorageLevel.DISK_ONLY)
    with inject(sc, disk_full("persist", partition=1)):
        assert cached.sum() == 499_500
    with sc.scope("again") as again:
        assert cached.sum() == 499_500
    assert sc.run_of(again).cache_hits == 3


@pytest.mark.parametrize("step", ["write", "save"])
def test_a_disk_that_is_full_for_a_result_is_said(sc: SparkContext, tmp_path: Path, step: str) -> None:
    with inject(sc, disk_full(step, times=100)), pytest.raises(SparklabError, match=r"disk.* is full"):
        sums(sc).saveAsTextFile(str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_delayed_task_waits_and_ends_with_its_job(sc: SparkContext) -> None:
    started_s = time.monotonic()
    with inject(sc, delay(0.3, "result", partition=0)):
        assert sc.parallelize(range(4), 2).sum() == 6
        assert time.monotonic() - started_s >= 0.3
    with inject(sc, delay(60.0, "result")):
        assert sc.parallelize(range(4), 2).sumApprox(300) is not None
    assert time.monotonic() - started_s < 30


def test_jobs_afterwards_and_of_other_contexts_are_left_alone(sc: SparkContext) -> None:
    with inject(sc, kill(k=10_000)):
        pass
    assert sc.getLocalProperty("sparklab.faults") is None
    assert sorted(sums(sc).collect()) == EXPECTED
    assert not list(Path(sc.settings.local_dir).glob(f"sparklab-faults-{os.getpid()}*"))


def test_a_task_that_outlives_its_injection_puts_nothing_back_into_the_folder_that_goes(sc: SparkContext) -> None:
    with inject(sc, drop("result")) as injection:
        plan = sc.getLocalProperty(PROPERTY) or ""
        left_over = Striker(plan, Place(0, 0, 0, 0, 0, 0), lambda: None)
        left_over("map", "")
        assert [reached.step for reached in injection.steps] == ["map"]
        folder = Path(json.loads(plan)["folder"])
        for name in ("reached-0", "strikes", "steps"):  # as they go at the end, one after the other
            (folder / name).unlink(missing_ok=True)
            left_over("result", "")
            assert not (folder / name).exists()


def test_a_seed_decides_a_random_schedule() -> None:
    assert random_faults(5, 20) == random_faults(5, 20)
    assert random_faults(5, 20) != random_faults(6, 20)
    assert {fault.action for fault in random_faults(1, 200)} == {"kill", "corrupt", "drop", "delay"}


def test_a_fault_that_means_nothing_is_refused() -> None:
    for build in (lambda: corrupt("map"), lambda: Fault(action="drop"), lambda: kill("nowhere")):
        with pytest.raises(SparklabError, match="describing the fault"):
            build()


def test_threads_cannot_be_stopped() -> None:
    with (
        SparkContext("threads[1]", conf=_several()) as own,
        pytest.raises(SparklabError, match="threads of this process"),
        inject(own, stop("map")),
    ):
        pass


def test_an_executor_killed_by_a_fault_counts_as_lost_not_by_the_user(sc: SparkContext) -> None:
    wait_until(lambda: all(info.alive for info in sc.executorInfos()))
    with inject(sc, kill("map", executor=1)):
        assert sorted(sums(sc).collect()) == EXPECTED
    with sc.bus.lock:
        assert sc.views.executors[1].epoch >= 1


def _several() -> Any:
    from sparklab import SparkConf

    return SparkConf().set("sparklab.allowMultipleContexts", "true")
