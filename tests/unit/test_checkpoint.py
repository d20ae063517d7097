"""Checkpoints: written by a second job, in the place of the lineage, checked, and safe from lost executors."""

from __future__ import annotations

import gc
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkContext, StorageLevel
from sparklab.errors import StorageError


@pytest.fixture
def sc(tmp_path: Path) -> Iterator[SparkContext]:
    with SparkContext("threads[2]", "checkpoints") as context:
        context.setCheckpointDir(str(tmp_path))
        yield context


def jobs_during(sc: SparkContext, action: Callable[[], Any]) -> int:
    with sc.bus.lock:
        before = len(sc.views.jobs)
    action()
    with sc.bus.lock:
        return len(sc.views.jobs) - before


def refuse(*_: Any) -> Any:
    raise AssertionError("computed from the lineage")


def test_the_next_action_is_followed_by_a_job_that_writes(sc: SparkContext, tmp_path: Path) -> None:
    rdd = sc.parallelize(range(10), 3).map(lambda x: (x, str(x)))
    rdd.checkpoint()
    assert (rdd.is_checkpointed, rdd.isCheckpointed(), rdd.getCheckpointFile()) == (True, False, None)

    assert jobs_during(sc, rdd.count) == 2
    assert jobs_during(sc, rdd.count) == 1

    assert rdd.isCheckpointed()
    assert not rdd.isLocallyCheckpointed()
    folder = Path((rdd.getCheckpointFile() or "").removeprefix("file:"))
    assert f"file:{folder.parent}" == sc.getCheckpointDir()
    assert (folder.parent.parent, folder.name) == (tmp_path, f"rdd-{rdd.id()}")
    assert uuid.UUID(folder.parent.name)
    assert sorted(path.name for path in folder.iterdir()) == ["part-00000", "part-00001", "part-00002"]
    assert list(folder.parent.iterdir()) == [folder]
    assert rdd.collect() == [(x, str(x)) for x in range(10)]
    assert rdd.glom().map(len).collect() == [3, 3, 4]


def test_records_come_from_the_files_and_not_from_the_lineage(sc: SparkContext) -> None:
    calls = sc.accumulator(0)

    def counted(x: int) -> tuple[int, int]:
        calls.add(1)
        return x % 3, x

    rdd = sc.parallelize(range(10), 3).map(counted)
    rdd.checkpoint()
    rdd.count()
    computed = calls.value

    assert rdd.mapValues(lambda x: x + 1).filter(lambda p: p[0] == 1).collect() == [(1, 2), (1, 5), (1, 8)]
    assert sorted(rdd.reduceByKey(lambda a, b: a + b).collect()) == [(0, 18), (1, 12), (2, 15)]
    assert rdd.union(rdd).count() == 20
    assert rdd.zipWithIndex().count() == 10
    assert rdd.coalesce(1).glom().map(len).collect() == [10]
    assert calls.value == computed
    assert b"parallelize" not in rdd.map(str).toDebugString()


def test_a_shuffle_above_a_checkpoint_is_freed_and_never_read_again(sc: SparkContext) -> None:
    placed = sc.parallelize(range(20), 4).map(lambda x: (x % 5, 1)).reduceByKey(lambda a, b: a + b, 3)
    partitioner = placed.partitioner
    placed.checkpoint()
    assert sorted(placed.collect()) == [(k, 4) for k in range(5)]
    gc.collect()

    assert placed.dependencies == ()
    assert placed.partitioner == partitioner
    assert sorted(placed.mapValues(lambda n: n + 1).reduceByKey(max).collect()) == [(k, 5) for k in range(5)]
    assert sc.lastRun.stages == 1  # its partitioner is kept, so that nothing is shuffled again


def test_a_map_stage_made_before_the_checkpoint_recovers_from_the_files(sc: SparkContext) -> None:
    first = sc.parallelize(range(20), 4).map(lambda x: (x % 5, x)).groupByKey(3)
    below = first.map(lambda p: (p[0] % 2, sum(p[1]))).reduceByKey(lambda a, b: a + b, 2)
    expected = sorted(below.collect())
    first.checkpoint()
    first.count()
    assert first.isCheckpointed()
    gc.collect()

    for executor in (0, 1):
        sc.kill_executor(executor)

    assert sorted(below.collect()) == expected


def test_a_checkpoint_in_the_lineage_of_the_job_is_written_too_and_a_later_one_first(sc: SparkContext) -> None:
    low = sc.parallelize(range(6), 2).map(lambda x: x + 1)
    high = low.map(lambda x: x * 2)
    low.checkpoint()
    high.checkpoint()

    # As in Spark: what lies above a marked RDD waits for a job that still reaches it.
    assert jobs_during(sc, high.map(str).count) == 2
    assert (high.isCheckpointed(), low.isCheckpointed()) == (True, False)
    assert jobs_during(sc, high.count) == 1
    assert jobs_during(sc, low.count) == 2
    assert low.isCheckpointed()


def test_an_action_that_reads_one_partition_checkpoints_all_of_them(sc: SparkContext) -> None:
    rdd = sc.parallelize(range(10), 3).map(str)
    rdd.checkpoint()

    assert rdd.first() == "0"
    assert rdd.isCheckpointed()
    assert rdd.collect() == [str(x) for x in range(10)]


def test_a_failing_job_writes_nothing_and_the_mark_stays(sc: SparkContext, tmp_path: Path) -> None:
    broken = [True]
    rdd = sc.parallelize(range(4), 2).map(lambda x: 1 // 0 if broken[0] else x)
    rdd.checkpoint()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        rdd.count()

    assert not rdd.isCheckpointed()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    broken[0] = False
    assert rdd.count() == 4
    assert rdd.isCheckpointed()


def test_checkpointing_without_a_folder_says_what_to_set() -> None:
    with (
        SparkContext("threads[1]", "no folder") as bare,
        pytest.raises(StorageError, match="Checkpoint directory has not been set") as error,
    ):
        bare.parallelize([1]).checkpoint()
    assert "setCheckpointDir" in error.value.do


def test_a_damaged_checkpoint_is_an_error_and_never_other_records(sc: SparkContext) -> None:
    rdd = sc.parallelize(["good"] * 100, 1).map(str)
    rdd.checkpoint()
    rdd.count()
    (part,) = Path((rdd.getCheckpointFile() or "").removeprefix("file:")).iterdir()
    data = bytearray(part.read_bytes())
    data[-10] ^= 1
    part.write_bytes(data)

    with pytest.raises(StorageError, match=r"part-00000(.|\n)*digest"):
        rdd.collect()


def test_a_persisted_rdd_is_written_from_its_cache(sc: SparkContext) -> None:
    calls = sc.accumulator(0)
    rdd = sc.parallelize(range(8), 2).map(lambda x: calls.add(1) or x).persist(StorageLevel.MEMORY_AND_DISK)
    rdd.checkpoint()

    assert rdd.sum() == 28
    assert calls.value == 8
    rdd.unpersist(blocking=True)
    assert (rdd.sum(), calls.value) == (28, 8)


def test_a_local_checkpoint_keeps_blocks_and_cuts_the_lineage(sc: SparkContext) -> None:
    calls = sc.accumulator(0)
    rdd = sc.parallelize(range(8), 4).map(lambda x: calls.add(1) or x)
    rdd.localCheckpoint()
    assert (rdd.isLocallyCheckpointed(), rdd.isCheckpointed()) == (True, False)
    assert rdd.getStorageLevel() == StorageLevel.MEMORY_AND_DISK

    assert rdd.first() == 0  # one partition; a second job computes the others
    assert (rdd.isCheckpointed(), rdd.getCheckpointFile(), rdd.dependencies) == (True, None, ())
    assert (rdd.sum(), calls.value) == (28, 8)

    for executor in (0, 1):
        sc.kill_executor(executor)
    with pytest.raises(StorageError, match="checkpointed locally"):
        rdd.sum()


@pytest.mark.cluster
def test_a_checkpoint_survives_the_loss_of_every_executor(tmp_path: Path) -> None:
    with SparkContext("local[2]", "loss") as sc:
        sc.setCheckpointDir(f"file://{tmp_path}")
        rdd = sc.parallelize(range(100), 4).map(lambda x: (x % 7, x)).groupByKey(3).mapValues(sum)
        rdd.checkpoint()
        expected = rdd.collect()
        for executor in (0, 1):
            sc.kill_executor(executor)

        assert rdd.collect() == expected
        assert sc.lastRun.stages == 1
    assert len(list(tmp_path.rglob("part-*"))) == 3


def test_a_lineage_is_not_cut_under_a_job_that_computes_it(sc: SparkContext, tmp_path: Path) -> None:
    release, reached = tmp_path / "release", tmp_path / "reached"

    def waits(x: int) -> int:
        if x == 3:
            reached.touch()
            while not release.exists():
                time.sleep(0.005)
        return x

    rdd = sc.parallelize(range(4), 2).map(lambda x: x)
    rdd.checkpoint()
    results: list[int] = []
    other = threading.Thread(target=lambda: results.append(rdd.map(waits).sum()))
    other.start()
    while not reached.exists():
        time.sleep(0.005)

    assert rdd.first() == 0
    assert not rdd.isCheckpointed()
    assert len(list(tmp_path.rglob("part-*"))) == 2
    release.touch()
    other.join(30)

    assert results == [6]
    assert rdd.count() == 4
    assert rdd.isCheckpointed()
    assert rdd.collect() == [0, 1, 2, 3]
    assert len(list(tmp_path.rglob("part-*"))) == 2  # written once
