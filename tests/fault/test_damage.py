"""Damaged files: found by their digests, never read, made again alone, said by a fact and a warning."""

from __future__ import annotations

import operator
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkConf, SparkContext, StorageLevel
from sparklab.errors import StorageError
from sparklab.events import facts as f
from sparklab.shuffle.spill import SpillFile
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "damage") as context:
        yield context


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def facts_since(sc: SparkContext, seq: int) -> list[Any]:
    return [record.fact for record in sc.records() if record.seq > seq]


def now(sc: SparkContext) -> int:
    return max(record.seq for record in sc.records())


@pytest.mark.parametrize("harm", [flip, cut])
def test_a_damaged_block_file_costs_one_partition_and_is_said(sc: SparkContext, harm: Any) -> None:
    cached = sc.parallelize(range(100), 4).map(lambda x: x * x).persist(StorageLevel.DISK_ONLY)
    expected = cached.collect()
    (path,) = sc._backend.scratch.glob(f"**/blocks/rdd_{cached.id()}_2")
    before = now(sc)
    harm(path)
    with sc.scope("damaged") as scope:
        assert cached.collect() == expected
    run = sc.run_of(scope)
    assert (run.cache_hits, run.cache_misses, run.recomputed_partitions) == (3, 1, 1)
    found = facts_since(sc, before)
    assert [(x.partition, x.reason) for x in found if isinstance(x, f.BlockRemoved)] == [(2, "corrupt")]
    assert any("damaged" in x.message and "partition 2" in x.message for x in found if isinstance(x, f.Warned))
    with sc.scope("again") as again:
        assert cached.collect() == expected
    assert sc.run_of(again).cache_hits == 4
    cached.unpersist()


@pytest.mark.parametrize("harm", [flip, cut])
def test_a_damaged_map_output_is_made_again_alone_and_is_said(sc: SparkContext, harm: Any) -> None:
    sums = sc.parallelize([(i % 50, i) for i in range(2_000)], 4).reduceByKey(operator.add, 3)
    expected = sorted(sums.collect())
    newest = max(sc.views.shuffles)
    before = now(sc)
    (path,) = sc._backend.scratch.glob(f"**/shuffle/shuffle_{newest}_1")
    harm(path)
    with sc.scope("damaged") as scope:
        assert sorted(sums.collect()) == expected
    run = sc.run_of(scope)
    assert (run.recomputed_partitions, run.recomputed_of) == (1, 4)
    found = facts_since(sc, before)
    assert [(x.map, x.reason) for x in found if isinstance(x, f.MapOutputLost)] == [(1, "corrupt")]
    (warning,) = {x for x in found if isinstance(x, f.Warned)}
    assert "map output 1" in warning.subject
    assert "damaged" in warning.message


def test_files_that_are_all_gone_cost_their_tasks_again_and_no_more_than_one_attempt(sc: SparkContext) -> None:
    sums = sc.parallelize([(i % 50, i) for i in range(2_000)], 12).reduceByKey(operator.add, 3)
    expected = sorted(sums.collect())
    newest = max(sc.views.shuffles)

    def written_in(files: Path) -> list[int]:
        return sorted(int(path.name.rpartition("_")[2]) for path in files.glob(f"shuffle_{newest}_*"))

    files = max(sc._backend.scratch.glob("**/shuffle"), key=lambda files: len(written_in(files)))
    gone = written_in(files)
    assert len(gone) > 4, "more than a stage has attempts"
    before = now(sc)
    shutil.rmtree(files)
    with sc.scope("gone") as scope:
        assert sorted(sums.collect()) == expected
    run = sc.run_of(scope)
    assert (run.recomputed_partitions, run.recomputed_of) == (len(gone), 12)
    found = facts_since(sc, before)
    (stage,) = {x.stage for x in found if isinstance(x, f.TaskEnded) and x.status == "fetch_failed"}
    assert max(x.attempt for x in found if isinstance(x, f.StageStarted) and x.stage == stage) == 1
    lost = sorted(x.map for x in found if isinstance(x, f.MapOutputLost) and x.shuffle == newest)
    assert lost == gone


def unlink_all(folder: Path) -> None:
    for path in folder.glob("shuffle_*"):
        path.unlink()


@pytest.mark.parametrize("harm", [shutil.rmtree, unlink_all])
@pytest.mark.parametrize(
    ("master", "maps", "share"),
    [
        ("threads[2]", 12, "true"),
        ("local[2]", 8, "true"),
        ("local-cluster[3,1,512]", 12, "true"),
        ("local-cluster[3,1,512]", 18, "false"),
    ],
)
def test_files_that_are_gone_under_all_living_executors_are_made_again_once(
    master: str, maps: int, share: str, harm: Any
) -> None:
    conf = SparkConf().set("sparklab.cluster.shareFiles", share).set("sparklab.allowMultipleContexts", "true")
    with SparkContext(master, "cleaned", conf=conf) as sc:
        counts = sc.parallelize(range(1_000), maps).map(lambda x: (x % 10, 1)).reduceByKey(operator.add, 2)
        counts.collect()
        for folder in sc._backend.scratch.glob("**/shuffle"):
            harm(folder)
        before = now(sc)
        with sc.scope("cleaned") as scope:
            assert counts.collectAsMap() == dict.fromkeys(range(10), 100)
        run = sc.run_of(scope)
        assert (run.recomputed_partitions, run.recomputed_of) == (maps, maps)
        found = facts_since(sc, before)
        (stage,) = {x.stage for x in found if isinstance(x, f.TaskEnded) and x.status == "fetch_failed"}
        assert max(x.attempt for x in found if isinstance(x, f.StageStarted) and x.stage == stage) == 1


def test_a_missing_file_on_another_host_costs_its_map_task_alone_and_a_dead_executor_all_of_its() -> None:
    conf = SparkConf().set("sparklab.cluster.shareFiles", "false").set("sparklab.allowMultipleContexts", "true")
    with SparkContext("local[2]", "apart", conf=conf) as sc:
        sums = sc.parallelize([(i % 50, i) for i in range(2_000)], 12).reduceByKey(operator.add, 3)
        expected = sorted(sums.collect())
        newest = max(sc.views.shuffles)
        path = next(sc._backend.scratch.glob(f"executor-0.0/shuffle/shuffle_{newest}_*"))
        path.unlink()
        with sc.scope("one") as scope:
            assert sorted(sums.collect()) == expected
        assert sc.run_of(scope).recomputed_partitions == 1
        before = now(sc)
        sc.kill_executor(0)
        assert sorted(sums.collect()) == expected
        found = facts_since(sc, before)
        assert (
            max((x.attempt for x in found if isinstance(x, f.TaskEnded) and x.status == "fetch_failed"), default=0) <= 1
        )


def test_a_damaged_spill_file_has_its_task_run_again_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    read = SpillFile._read
    harmed: list[int] = []

    def flipped(self: SpillFile, offset: int, length: int) -> bytes:
        data = bytearray(read(self, offset, length))
        if not harmed:
            harmed.append(offset)
            data[len(data) // 2] ^= 1
        return bytes(data)

    monkeypatch.setattr(SpillFile, "_read", flipped)
    conf = SparkConf().set("spark.executor.memory", "8m").set("sparklab.allowMultipleContexts", "true")
    with SparkContext("threads[2]", "small", conf=conf) as sc:
        big = sc.parallelize(range(4), 4).flatMap(lambda i: ((j % 10, f"{j:0500d}") for j in range(i, 20_000, 4)))
        with sc.scope("spills") as scope:
            sizes = big.groupByKey(2).mapValues(lambda texts: sum(map(len, texts)))
            assert sizes.collectAsMap() == dict.fromkeys(range(10), 1_000_000)
        assert len(harmed) == 1
        assert sc.run_of(scope).status == "succeeded"
        warned = [record.fact for record in sc.records() if isinstance(record.fact, f.Warned)]
        assert any("damaged" in x.message and "spill file" in x.message for x in warned)


def test_a_damaged_checkpoint_is_an_error_that_says_so(sc: SparkContext, tmp_path: Path) -> None:
    sc.setCheckpointDir(str(tmp_path))
    kept = sc.parallelize(range(100), 2).map(lambda x: x + 1)
    kept.checkpoint()
    assert kept.count() == 100
    (path,) = tmp_path.glob("**/part-00001*")
    flip(path)
    with pytest.raises(StorageError, match="digest|damaged") as raised:
        kept.collect()
    assert "run what defines the RDD again, from its source" in raised.value.do
    path.unlink()
    with pytest.raises(StorageError, match="No such file") as raised:
        kept.collect()
    assert "part-00001" in raised.value.attempted
    assert sc.runJob(kept, list, [0]) == list(range(1, 51)), "the other file is whole"


@pytest.mark.parametrize("harm", [flip, cut])
def test_of_two_copies_a_damaged_one_costs_nothing_and_is_made_again(sc: SparkContext, harm: Any) -> None:
    cached = sc.parallelize(range(100), 4).map(lambda x: x * x).persist(StorageLevel.DISK_ONLY_2)
    expected = cached.collect()

    def copies() -> list[int]:
        return [len(sc._dispatcher.call(lambda s, p=p: s.blocks.executors(cached.id(), p))) for p in range(4)]

    wait_until(lambda: copies() == [2] * 4)
    before = now(sc)
    folder = "0.*" if "threads" in sc.master else "executor-0.*"
    damaged = list(sc._backend.scratch.glob(f"**/{folder}/blocks/rdd_{cached.id()}_*"))
    assert len(damaged) == 4
    for path in damaged:
        harm(path)
    with sc.scope("damaged") as scope:
        assert cached.collect() == expected
    run = sc.run_of(scope)
    assert (run.cache_hits, run.cache_misses, run.recomputed_partitions) == (4, 0, 0)
    removed = [x for x in facts_since(sc, before) if isinstance(x, f.BlockRemoved)]
    assert {(x.executor, x.reason) for x in removed} == {(0, "corrupt")}
    wait_until(lambda: copies() == [2] * 4)
    cached.unpersist()
