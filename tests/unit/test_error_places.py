"""Errors of our own operators and of actions name the RDD, the line and the partition, as users' functions do."""

from __future__ import annotations

import operator
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.cluster.jobs import raise_from
from sparklab.errors import SparklabError

PLACE = r"at test_error_places\.py:\d+( \(RDD \d+\))?, partition 1"


@pytest.mark.parametrize(
    "fails",
    [
        lambda sc: sc.parallelize([1, "b"], 2).sum(),
        lambda sc: sc.parallelize([1, 2, "a"], 2).max(),
        lambda sc: sc.parallelize([1, "a"], 2).stats(),
        lambda sc: sc.parallelize(range(4), 2).zip(sc.parallelize(range(5), 2)).collect(),
        lambda sc: sc.parallelize([1, 2], 2).map(lambda x: threading.Lock() if x == 2 else x).collect(),
        lambda sc: sc.parallelize([(1, 2), 3], 2).reduceByKey(operator.add).collect(),
        lambda sc: sc.parallelize([1, 2], 2).map(lambda x: threading.Lock() if x == 2 else x).cache().count(),
    ],
    ids=["sum", "max", "stats", "zip", "result", "pairs", "cache"],
)
def test_an_error_names_rdd_line_and_partition(sc_threads: SparkContext, fails: Callable[[SparkContext], Any]) -> None:
    with pytest.raises(SparklabError) as caught:
        fails(sc_threads)
    assert caught.match(PLACE)


@pytest.mark.parametrize("path", [None, 5, Path("somewhere")])
def test_what_is_no_path_is_said_in_three_parts(sc_threads: SparkContext, path: Any) -> None:
    with pytest.raises(
        SparklabError, match=rf"(?s)reading from .*Found: {type(path).__name__} is no path.*To do: give"
    ):
        sc_threads.textFile(path).count()


def test_records_read_counts_parallelized_data(sc_threads: SparkContext) -> None:
    with sc_threads.scope("read") as scope:
        sc_threads.parallelize(range(70), 3).count()
        sc_threads.parallelize(["a", "b"], 2).count()
    assert sc_threads.run_of(scope).records_read == 72


def test_a_second_context_is_refused_in_three_parts_and_as_a_value_error(sc_threads: SparkContext) -> None:
    with pytest.raises(
        ValueError, match="(?s)Cannot run multiple SparkContexts at once.*To do: stop it first"
    ) as caught:
        SparkContext("threads[1]")
    assert isinstance(caught.value, SparklabError)


def test_an_uncaught_error_of_a_script_shows_the_users_lines_first(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from sparklab import SparkContext\n"
        "def divide(x):\n"
        "    return 1 // x\n"
        "with SparkContext('threads[2]') as sc:\n"
        "    sc.parallelize([1, 0], 2).map(divide).collect()\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[2], env=None)  # fmt: skip
    files = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("File ")]
    assert files[0].startswith(f'File "{script}", line 3, in divide')
    assert "executor.py" not in done.stderr
    assert done.stderr.rstrip().endswith("To do: mend what the traceback points to, then run it again")


def test_an_error_that_ends_several_jobs_shows_the_lines_of_each_alone() -> None:
    error = SparklabError("scheduling", "it failed", "report it")
    shown = []
    for _ in range(3):
        with pytest.raises(SparklabError) as caught:
            raise_from(error)
        shown.append(len(traceback.extract_tb(caught.value.__traceback__)))

    assert shown == [2, 2, 2]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda sc: sc.setJobGroup(3, "three"),
        lambda sc: sc.setJobGroup("three", 3),
        lambda sc: sc.setJobDescription(3),
        lambda sc: sc.setLocalProperty("lesson", 3),
        lambda sc: sc.addJobTag(3),
        lambda sc: sc.scope(3).__enter__(),
        lambda sc: sc.parallelize([1]).setName(3),
    ],
)
def test_a_label_that_is_no_text_is_refused_before_a_job_carries_it(
    sc_threads: SparkContext, mistake: Callable[[SparkContext], Any]
) -> None:
    with pytest.raises(TypeError, match=r"takes a str.*, not int \(3\)"):
        mistake(sc_threads)

    assert sc_threads.local_properties() == {}
    assert sc_threads.parallelize([1, 2]).count() == 2


def test_a_dict_is_no_conf() -> None:
    with pytest.raises(TypeError, match=r"^SparkContext takes a SparkConf, not dict: SparkConf\(\)\.set"):
        SparkContext(conf={"spark.master": "threads[1]"})  # type: ignore[arg-type]
