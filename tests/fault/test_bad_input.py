"""Bad input and bad luck, one test each: a clear error in three parts or the right answer, and nothing lost."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkConf, SparkContext, StorageLevel
from sparklab.errors import ClosureError, IdentityHashError, JobFailed, SparklabError, UserCodeError
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "bad input") as context:
        yield context


def all_alive(sc: SparkContext) -> None:
    """Who was killed by the test before has its successor."""
    wait_until(lambda: [info.alive for info in sc.executorInfos()] == [True, True])


def parts_of(error: BaseException) -> tuple[str, str, str]:
    assert isinstance(error, SparklabError)
    assert error.attempted
    assert error.found
    assert error.do
    return error.attempted, error.found, error.do


def test_a_path_that_matches_no_file(sc: SparkContext, tmp_path: Path) -> None:
    lines = sc.textFile(str(tmp_path / "nothing-*.txt"))
    with pytest.raises(SparklabError, match=r"nothing-\*\.txt") as caught:
        lines.count()
    parts_of(caught.value)


def test_a_file_that_vanishes_after_the_plan_was_made(sc: SparkContext, tmp_path: Path) -> None:
    path = tmp_path / "vanishing.txt"
    path.write_text("a\nb\n")
    lines = sc.textFile(str(path))
    assert lines.count() == 2
    path.unlink()
    with pytest.raises(SparklabError, match=r"vanishing\.txt") as caught:
        lines.count()
    parts_of(caught.value)


def test_a_compressed_file_that_is_damaged(sc: SparkContext, tmp_path: Path) -> None:
    path = tmp_path / "damaged.gz"
    path.write_bytes(gzip.compress(b"a line\n" * 10_000)[:-20])
    with pytest.raises(SparklabError, match=r"damaged\.gz"):
        sc.textFile(str(path)).count()


def test_a_function_that_raises_names_operator_partition_and_record(sc: SparkContext) -> None:
    with pytest.raises(UserCodeError) as caught:
        sc.parallelize([4, 2, 0, 1], 2).map(lambda x: 8 // x).collect()
    attempted, found, _ = parts_of(caught.value)
    assert "map at test_bad_input.py" in attempted
    assert "partition 1, record 0: 0" in attempted
    assert found.startswith("ZeroDivisionError")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "8 // x" in caught.value.remote_traceback
    assert "sparklab/" not in caught.value.remote_traceback
    assert sc.parallelize([1, 2], 2).count() == 2, "the context goes on"


def test_an_exception_that_cannot_be_pickled_still_arrives_as_text(sc: SparkContext) -> None:
    class Odd(Exception):
        def __init__(self, lock: Any) -> None:
            super().__init__("an odd one")
            self.lock = lock

    def fail(x: int) -> int:
        raise Odd(threading.Lock())

    with pytest.raises(UserCodeError, match="Odd: an odd one"):
        sc.parallelize([1], 1).map(fail).collect()


@pytest.mark.parametrize("kind", [StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_control_flow_exceptions_fail_the_job_and_never_shorten_it(sc: SparkContext, kind: type[BaseException]) -> None:
    def stop_at_two(x: int) -> int:
        if x == 2:
            raise kind
        return x

    with pytest.raises(JobFailed):
        sc.parallelize(range(4), 1).map(stop_at_two).collect()
    assert sc.parallelize(range(4), 2).count() == 4


def test_a_result_that_cannot_be_pickled_names_the_record_that_it_is(sc: SparkContext) -> None:
    locked = sc.parallelize(range(50), 2).map(lambda x: threading.Lock() if x == 30 else x)
    with pytest.raises(UserCodeError) as failed:
        locked.collect()
    text = str(failed.value)
    assert text.split("\n")[0].endswith("partition 1")
    assert "Found: record 5 of the partition's result, a lock, that cannot be sent (TypeError: cannot pickle" in text
    assert "To do: make of it what can be pickled" in text
    assert isinstance(failed.value.__cause__, TypeError)


def test_a_closure_that_cannot_be_pickled_names_the_variable(sc: SparkContext) -> None:
    door = threading.Lock()
    with pytest.raises(ClosureError, match=r"captures `door` \(lock\)") as caught:
        sc.parallelize([1], 1).map(lambda x: (x, door)).collect()
    parts_of(caught.value)


def test_a_closure_that_captures_an_rdd_names_it(sc: SparkContext) -> None:
    other = sc.parallelize([1, 2])
    with pytest.raises(ClosureError, match="`other`"):
        sc.parallelize([1], 1).map(lambda x: other.count()).collect()


def test_a_large_captured_value_is_warned_of_by_name_and_size(sc: SparkContext) -> None:
    table = os.urandom(3 << 20)
    assert sc.parallelize([0], 1).map(lambda i: table[i]).count() == 1
    with sc.bus.lock:
        messages = [warning.message for warning in sc.views.warnings]
    assert any("`table` (bytes, 3.0 MiB)" in message for message in messages)


@pytest.mark.parametrize("level", [StorageLevel.MEMORY_ONLY, StorageLevel.MEMORY_AND_DISK])
def test_a_function_that_mutates_its_records_changes_no_cached_one(sc: SparkContext, level: StorageLevel) -> None:
    cached = sc.parallelize([[i] for i in range(10)], 4).map(lambda r: [*r, 0]).persist(level)

    def grow(record: list[int]) -> int:
        record.append(1)
        return len(record)

    assert cached.map(grow).collect() == [3] * 10
    assert cached.map(grow).collect() == [3] * 10
    sc.kill_executor(1)
    assert cached.map(grow).collect() == [3] * 10


def test_a_key_hashed_by_identity_is_refused(sc: SparkContext) -> None:
    class Key:
        pass

    with pytest.raises((IdentityHashError, UserCodeError), match="Key"):
        sc.parallelize([Key()], 1).map(lambda k: (k, 1)).reduceByKey(lambda a, b: a + b).collect()


def test_keys_of_a_class_with_a_hash_of_its_own_meet_whatever_process_they_come_from(sc: SparkContext) -> None:
    class Word:
        def __init__(self, text: str) -> None:
            self.text = text

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Word) and self.text == other.text

        def __hash__(self) -> int:
            return hash(self.text)

    words = sc.parallelize(["to", "be", "or", "not", "to", "be"] * 50, 6).map(lambda w: (Word(w), 1))
    counts = words.reduceByKey(lambda a, b: a + b, 4).map(lambda pair: (pair[0].text, pair[1])).collect()
    assert sorted(counts) == [("be", 100), ("not", 50), ("or", 50), ("to", 100)]


def test_an_executor_killed_while_idle(sc: SparkContext) -> None:
    all_alive(sc)
    cached = sc.parallelize(range(240), 24).map(lambda x: x + 1).cache()
    assert cached.sum() == 28_920
    sc.kill_executor(1)
    with sc.scope("again") as again:
        assert cached.sum() == 28_920
    run = sc.run_of(again)
    assert (run.recomputed_partitions, run.recomputed_of) == (12, 24)
    assert run.cache_hits == 12


@pytest.mark.parametrize("everybody", [False, True])
def test_executors_killed_in_a_map(sc: SparkContext, tmp_path: Path, everybody: bool) -> None:
    all_alive(sc)
    folder = str(tmp_path)

    def slow(x: int) -> int:
        Path(folder, f"started-{x}").touch()
        while not os.path.exists(os.path.join(folder, "go")):
            threading.Event().wait(0.01)
        return x * 2

    results: list[int] = []
    rdd = sc.parallelize(range(6), 6).map(slow)
    thread = threading.Thread(target=lambda: results.append(rdd.sum()))
    thread.start()
    wait_until(lambda: len(list(tmp_path.glob("started-*"))) >= 2)
    sc.kill_executor(0)
    if everybody:
        sc.kill_executor(1)
    (tmp_path / "go").touch()
    thread.join(30)
    assert results == [30]


def test_an_executor_killed_between_map_and_reduce_reruns_its_maps_alone(sc: SparkContext) -> None:
    all_alive(sc)
    pairs = sc.parallelize([(i % 5, i) for i in range(1000)], 8).reduceByKey(lambda a, b: a + b, 4)
    expected = sorted(pairs.collect())
    with sc.bus.lock:
        newest = sc.views.shuffles[max(sc.views.shuffles)]
        on_zero = sum(executor == 0 for executor, _ in newest.outputs.values())
    assert 0 < on_zero < 8
    sc.kill_executor(0)
    with sc.scope("again") as again:
        assert sorted(pairs.collect()) == expected
    run = sc.run_of(again)
    assert (run.recomputed_partitions, run.recomputed_of) == (on_zero, 8)


def test_an_executor_killed_in_a_shuffle_read(sc: SparkContext, tmp_path: Path) -> None:
    all_alive(sc)
    folder = str(tmp_path)

    def slow(pair: tuple[int, int]) -> tuple[int, int]:
        Path(folder, f"started-{os.getpid()}-{threading.get_ident()}").touch()
        while not os.path.exists(os.path.join(folder, "go")):
            threading.Event().wait(0.01)
        return pair

    rdd = sc.parallelize([(i % 50, 1) for i in range(1000)], 4).reduceByKey(lambda a, b: a + b, 6).map(slow)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(sorted(rdd.collect())))
    thread.start()
    wait_until(lambda: len(list(tmp_path.glob("started-*"))) >= 2)
    sc.kill_executor(1)
    (tmp_path / "go").touch()
    thread.join(30)
    assert results == [[(k, 20) for k in range(50)]]


def test_all_executors_killed_at_once(sc: SparkContext) -> None:
    cached = sc.parallelize(range(100), 8).map(lambda x: (x % 3, x)).reduceByKey(lambda a, b: a + b).cache()
    expected = sorted(cached.collect())
    sc.kill_executor(0)
    sc.kill_executor(1)
    assert sorted(cached.collect()) == expected


def test_a_process_that_ends_itself_again_and_again_fails_the_job_and_says_so() -> None:
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    with SparkContext("local[2]", "poison", conf=conf) as own:
        with pytest.raises(JobFailed, match="executors died"):
            own.parallelize([1], 1).map(lambda x: os._exit(3)).collect()
        assert own.parallelize([1, 2], 2).sum() == 3


def test_saving_onto_what_exists_is_refused_before_anything_runs(sc: SparkContext, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "precious").write_text("keep me")
    ran = tmp_path / "ran"
    marker = str(ran)
    with pytest.raises(SparklabError, match="out") as caught:
        sc.parallelize([1], 1).map(lambda x: Path(marker).touch()).saveAsTextFile(str(target))
    parts_of(caught.value)
    assert not ran.exists()
    assert (target / "precious").read_text() == "keep me"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_saving_to_a_full_disk_leaves_nothing_that_looks_like_a_result(sc: SparkContext, small_disk: Path) -> None:
    target = small_disk / "out"
    with pytest.raises(SparklabError, match="disk is full") as caught:
        sc.parallelize(range(4), 4).map(lambda x: "x" * (1 << 20)).saveAsTextFile(str(target))
    parts_of(caught.value)
    assert not target.exists()
    assert list(small_disk.iterdir()) == []


def test_a_full_scratch_disk_is_said_and_the_cache_stays(small_disk: Path) -> None:
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true").set("spark.local.dir", str(small_disk))
    with SparkContext("local[2]", "full", conf=conf) as own:
        cached = own.parallelize(range(100), 2).cache()
        assert cached.sum() == 4950
        big = own.parallelize(range(8), 8).map(lambda i: (i, os.urandom(1 << 20)))
        with pytest.raises(SparklabError, match="is full") as caught:
            big.partitionBy(4).count()
        assert "spark.local.dir" in parts_of(caught.value)[-1]
        with own.scope("after") as after:
            assert cached.sum() == 4950
        assert own.run_of(after).cache_hits == 2
