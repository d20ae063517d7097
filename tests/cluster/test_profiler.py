"""Profiles of tasks: measured on executors, merged on the driver, once per partition that counted."""

from __future__ import annotations

import pstats
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import BasicProfiler, Profiler, SparkConf, SparkContext, UDFBasicProfiler
from sparklab.profiler import MemoryProfiler, ProfilerOffError

ON = SparkConf().set("spark.python.profile", "true")


@pytest.fixture(params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "profiles", conf=ON) as context:
        yield context
        assert context.profiler_collector is not None
        context.profiler_collector.profilers.clear()  # or they would be printed when the tests end


def laborious(x: int) -> int:
    return sum(range(1000)) + x


def calls_of(profiler: Any, function: str) -> int:
    return sum(calls for (_, _, name), (_, calls, *_) in profiler.stats().stats.items() if name == function)


def test_the_tasks_of_a_stage_are_one_profile_that_counts_every_call(sc: SparkContext) -> None:
    rdd = sc.parallelize(range(100), 4).map(laborious)
    assert rdd.count() == 100
    assert sc.profiler_collector is not None
    [[number, profiler, shown]] = sc.profiler_collector.profilers
    assert (number, shown) == (rdd.id(), False)
    assert calls_of(profiler, "laborious") == 100


def test_profiles_are_shown_once(sc: SparkContext, capsys: pytest.CaptureFixture[str]) -> None:
    sc.parallelize(range(10)).foreach(laborious)
    sc.show_profiles()
    out = capsys.readouterr().out
    assert "Profile of RDD<id=1>" in out
    assert "(laborious)" in out
    sc.show_profiles()
    assert capsys.readouterr().out == ""


def test_dumped_profiles_are_files_of_pstats(sc: SparkContext, tmp_path: Path) -> None:
    rdd = sc.parallelize(range(10)).map(laborious)
    rdd.sum()
    sc.dump_profiles(str(tmp_path / "new"))
    (file,) = (tmp_path / "new").iterdir()
    assert file.name == f"rdd_{rdd.id()}.pstats"
    names = {name for _, _, name in pstats.Stats(str(file)).stats}  # type: ignore[attr-defined]
    assert "laborious" in names
    assert sc.profiler_collector is not None
    assert sc.profiler_collector.profilers == []


def test_map_stages_have_a_profile_of_their_own(sc: SparkContext) -> None:
    sc.parallelize(range(10), 2).map(lambda x: (laborious(x) % 2, 1)).reduceByKey(lambda a, b: a + b).collect()
    assert sc.profiler_collector is not None
    first, second = (profiler for _, profiler, _ in sc.profiler_collector.profilers)
    assert calls_of(first, "laborious") == 10
    assert calls_of(second, "laborious") == 0


def test_an_attempt_that_failed_does_not_count(tmp_path: Path) -> None:
    def fails_once(x: int) -> int:
        if x == 7 and not (tmp_path / "failed").exists():
            (tmp_path / "failed").touch()
            raise ValueError("once")
        return laborious(x)

    with SparkContext("local[1,2]", "profiles", conf=ON) as sc:
        assert sc.parallelize(range(10), 1).map(fails_once).count() == 10
        assert sc.profiler_collector is not None
        [[_, profiler, _]] = sc.profiler_collector.profilers
        sc.profiler_collector.profilers.clear()
        assert calls_of(profiler, "laborious") == 10


def test_a_profiler_of_ones_own_is_used_and_its_results_stay_the_users() -> None:
    class Counting(Profiler):
        def __init__(self, ctx: SparkContext) -> None:
            self.tasks = ctx.accumulator(0)

        def profile(self, func: Any, *args: Any, **kwargs: Any) -> Any:
            self.tasks.add(1)
            return func(*args, **kwargs)

        def show(self, id: int) -> None:
            print(f"RDD {id}: {self.tasks.value} tasks")

    with SparkContext("threads[2]", "profiles", conf=ON, profiler_cls=Counting) as sc:
        assert sc.parallelize(range(10), 4).sum() == 45
        assert sc.profiler_collector is not None
        [[_, profiler, _]] = sc.profiler_collector.profilers
        sc.profiler_collector.profilers.clear()
        assert profiler.tasks.value == 4


def test_without_the_setting_there_are_no_profiles(sc_threads: SparkContext, tmp_path: Path) -> None:
    sc_threads.parallelize(range(10)).count()
    assert sc_threads.profiler_collector is None
    with pytest.raises(RuntimeError, match=r"`spark.python.profile` .* must be set to `true`"):
        sc_threads.show_profiles()
    with pytest.raises(ProfilerOffError):
        sc_threads.dump_profiles(str(tmp_path))


def test_the_base_profiler_promises_and_does_nothing(sc_threads: SparkContext) -> None:
    base = Profiler(sc_threads)
    for call in (lambda: base.profile(len, []), base.stats, lambda: base.show(1), lambda: base.dump(1, "")):
        with pytest.raises(NotImplementedError):
            call()


def test_other_kinds_name_their_files_as_pyspark_does(sc_threads: SparkContext, tmp_path: Path) -> None:
    assert BasicProfiler(sc_threads).stats() is None
    BasicProfiler(sc_threads).dump(3, str(tmp_path))
    udf = UDFBasicProfiler(sc_threads)
    udf.profile(sorted, [2, 1])
    udf.dump(3, str(tmp_path))
    memory = MemoryProfiler(sc_threads)
    for _ in range(2):
        memory.profile(None, 12, lambda: len(bytearray(4 << 20)))
    memory.dump(3, str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["udf_3.pstats", "udf_3_memory.txt"]
    [[(line, (_, peak, calls))]] = memory.stats().values()
    assert (line, calls) == (12, 2)
    assert 4 <= peak < 6
    assert "MiB" in (tmp_path / "udf_3_memory.txt").read_text()
