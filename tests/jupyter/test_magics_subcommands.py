"""`%sparklab ...` against in-process executors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from sparklab import SparkContext, StorageLevel, load_ipython_extension, unload_ipython_extension
from sparklab.jupyter.parsers import SUBCOMMANDS, CommandError
from tests.waiting import wait_until


@pytest.fixture
def loaded(shell: Any, run: Any) -> Iterator[Any]:
    load_ipython_extension(shell)
    with SparkContext("threads[2]", "magics") as sc:
        shell.user_ns["sc"] = sc
        yield run
        if SparkContext._active is not None:
            SparkContext._active.stop()
    unload_ipython_extension(shell)


@pytest.fixture
def links(shell: Any, loaded: Any) -> Any:
    rdd = shell.user_ns["sc"].parallelize(range(100), 4).map(lambda x: (x % 5, x)).setName("links")
    shell.user_ns["links"] = rdd
    return rdd


def test_alone_it_lists_what_can_be_said(loaded: Any) -> None:
    for line in ("%sparklab", "%sparklab --help"):
        assert all(name in loaded(line).out for name in SUBCOMMANDS)


def test_a_mistyped_line_is_three_parts_without_a_traceback(loaded: Any) -> None:
    ran = loaded("%sparklab kil-executor 1")

    assert isinstance(ran.error, CommandError)
    assert ran.out.strip().splitlines() == [
        "CommandError: running `%sparklab kil-executor`",
        "Found: no subcommand 'kil-executor'",
        "To do: did you mean `%sparklab kill-executor`? `%sparklab --help` lists them all",
    ]


def test_the_status_names_master_executors_and_running_jobs(shell: Any, loaded: Any) -> None:
    loaded("sc.waitUntilReady()")
    ran = loaded("%sparklab status -o status")

    assert "threads[2]" in ran.out
    assert "running" in ran.out
    assert shell.user_ns["status"]["executors"] == 2


def test_a_context_is_started_and_stopped_by_name(shell: Any, loaded: Any) -> None:
    assert "Stopped magics on threads[2]" in loaded("%sparklab stop").out
    ran = loaded("%sparklab start threads[1] --name second --conf spark.default.parallelism=3 -o ctx")

    assert "Starting second on threads[1], bound to `ctx`" in ran.out
    assert shell.user_ns["ctx"].defaultParallelism == 3
    second = str(loaded("from sparklab import SparkContext; SparkContext('threads[1]')").error)
    assert "started by `%sparklab start`, bound to `ctx`" in second
    assert "To do: go on with `ctx`, or stop it first (ctx.stop())" in second
    assert "Already running" in loaded("%sparklab start").out
    assert "one is running on threads[1]" in loaded("%sparklab start threads[4]").out
    assert "Stopped second" in loaded("%sparklab stop").out
    assert "no context is running" in loaded("%sparklab jobs").out


def test_the_plan_of_an_rdd_is_printed_and_nothing_runs(shell: Any, loaded: Any, links: Any) -> None:
    ran = loaded("%sparklab explain links.reduceByKey(lambda a, b: a + b)")

    assert ran.out.splitlines()[0].startswith("Plan of reduceByKey (RDD ")
    assert "2 stages, " in ran.out
    assert "1 shuffle" in ran.out
    assert "parallelize -> links" in ran.out
    with shell.user_ns["sc"].bus.lock:
        assert not shell.user_ns["sc"].bus.views.jobs


def test_a_plan_says_what_is_cached_and_what_is_skipped(loaded: Any, links: Any) -> None:
    links.persist()
    links.count()
    loaded("sums = links.reduceByKey(lambda a, b: a + b); sums.count()")

    assert "kept (MEMORY_ONLY): links" in loaded("%sparklab explain links").out
    assert "not run, because what is made from it is cached: parallelize" in loaded("%sparklab explain links").out
    again = loaded("%sparklab explain sums").out
    assert "1 stage, " in again
    assert "1 stage skipped" in again
    assert "skipped: its output is there already" in again


def test_the_lineage_is_drawn_in_words_where_there_is_no_front_end(loaded: Any, links: Any) -> None:
    assert "Plan of links" in loaded("%sparklab dag links").out
    assert "Plan of links" in loaded(f"%sparklab dag {links.id()}").out


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("%sparklab dag nowhere", "NameError: name 'nowhere' is not defined"),
        ("%sparklab dag 1 + 1", "it is an int, not an RDD"),
        ("%sparklab dag 999", "no living RDD has this number"),
        ("%sparklab drop-partition links 9", "it has 4 partitions"),
        ("%sparklab cancel 77", "running jobs: none"),
        ("%sparklab kill-executor 9", "executors: 0, 1"),
        ("%sparklab show links", "it is an RDD"),
        ("%sparklab show empty", "it is None"),
        ("%sparklab show nothing", "no such variable"),
        ("%sparklab persist links DISK", "invalid choice"),
        ("%sparklab persist run", "it is the Run of a cell, not an RDD"),
        ("%sparklab persist empty", "it is None, not an RDD"),
        ("%sparklab drop-partition cls 0", "it is the class RDD, not an RDD"),
        ("%sparklab unpersist sc", "To do: give a variable that holds an RDD"),
        ("%sparklab explain numbers", "it is a list, not an RDD\nTo do: an action's result is a plain value"),
        ("%sparklab profile links", "'links' is no whole number"),
        ("%sparklab report run", "has no ending .html"),
    ],
)
def test_a_line_about_what_is_not_there_says_what_was_found(loaded: Any, links: Any, line: str, found: str) -> None:
    loaded("%%sparklab -o run -q\nlinks.count()")
    loaded("empty, numbers = None, [1]; from sparklab import RDD as cls")
    ran = loaded(line)

    assert isinstance(ran.error, CommandError), ran.out
    assert found in ran.out


def test_the_cache_is_listed_against_its_budget(shell: Any, loaded: Any, links: Any) -> None:
    assert "Nothing is cached" in loaded("%sparklab cache").out
    assert "is kept (MEMORY_ONLY) when it is next computed" in loaded("%sparklab persist links").out
    assert links.getStorageLevel() == StorageLevel.MEMORY_ONLY
    links.count()

    ran = loaded("%sparklab cache -o rows")

    assert "links" in ran.out
    assert "4/4" in ran.out
    assert "executor 0" in ran.out
    assert shell.user_ns["rows"][0]["name"] == "links"

    assert "Dropped partition 2 of links" in loaded("%sparklab drop-partition links 2").out
    assert "3/4" in loaded("%sparklab cache").out
    assert "no longer kept" in loaded("%sparklab unpersist links").out
    assert "Nothing is cached" in loaded("%sparklab cache").out


def test_jobs_and_executors_are_listed(shell: Any, loaded: Any, links: Any) -> None:
    assert "No job has run yet." in loaded("%sparklab jobs").out
    loaded("links.count()")
    jobs = loaded("%sparklab jobs -o rows").out

    assert "count" in jobs
    assert "In [2]:1" in jobs
    assert "succeeded" in jobs
    assert shell.user_ns["rows"][0]["tasks"] == 4
    assert len(loaded("%sparklab executors").out.splitlines()) == 4


def test_a_run_is_shown_by_name_and_the_last_one_without(loaded: Any, links: Any) -> None:
    loaded("%%sparklab -q -o first\nlinks.count()")

    assert "4 tasks" in loaded("%sparklab show first").out
    assert "4 tasks" in loaded("%sparklab show").out


def test_a_killed_executor_is_told_with_its_loss(shell: Any, loaded: Any, links: Any) -> None:
    links.persist().count()

    ran = loaded("%sparklab kill-executor 1")

    assert "Killed executor 1: 2 cached partitions went with it; a new process takes its place." in ran.out
    assert loaded("%%sparklab -q -o again\nlinks.count()").value == 100
    assert shell.user_ns["again"].recomputed_partitions == 2

    loaded("twice = links.map(lambda x: 2 * x).setName('twice').persist(); twice.count()")
    told = str(loaded("%sparklab kill-executor 1").out)
    assert re.search(r"Killed executor 1: \d cached partitions \(\d of links, \d of twice\) went with it", told), told

    copied = "persist(StorageLevel.MEMORY_ONLY_2)"
    loaded("twice.unpersist(blocking=True); links.unpersist(blocking=True)")
    loaded(f"from sparklab import StorageLevel; links.{copied}.count()")
    views = shell.user_ns["sc"].bus.views
    wait_until(lambda: all(len(holders) == 2 for holders in views.cache[links.id()].blocks.values()))
    told = str(loaded("%sparklab kill-executor 1").out)
    assert re.search(r"1: 4 cached partitions \(4 with a copy elsewhere\) went with it", told), told


def test_every_running_job_is_cancelled_by_one_word(shell: Any, loaded: Any, links: Any) -> None:
    assert "Cancelled 0 jobs." in loaded("%sparklab cancel all").out


def test_freezing_without_a_front_end_says_that_there_was_nothing_to_freeze(loaded: Any) -> None:
    assert loaded("%sparklab freeze").out == "No panel is live: nothing to freeze.\n"


def test_the_doctor_runs_its_job_in_a_process_of_its_own(shell: Any, loaded: Any) -> None:
    ran = loaded("%sparklab doctor -o findings")

    assert ran.error is None
    assert {"versions", "job"} <= {row["subject"] for row in shell.user_ns["findings"]}
    assert "local[2] was ready" in ran.out
    assert "No job has run yet." in loaded("%sparklab jobs").out


def test_a_job_in_time_is_told_in_words_where_there_is_no_front_end(shell: Any, loaded: Any, links: Any) -> None:
    assert "no job has run yet" in loaded("%sparklab timeline").out
    loaded("pairs = links.reduceByKey(lambda a, b: a + b, 3)\npairs.count()\nlinks.count()")
    shown = loaded("%sparklab timeline 0").out.splitlines()
    assert shown[0].startswith("Job 0, count at In [")
    assert [line.split()[:3] for line in shown[1:3]] == [["stage", "0", "links"], ["stage", "1", "reduceByKey"]]
    assert "4 tasks, median" in shown[1]
    assert "###" in shown[2] or "#" in shown[2]
    assert loaded("%sparklab timeline").out.startswith("Job 1, count")
    assert "jobs 0 to 1" in loaded("%sparklab timeline 7").out


def test_the_skew_of_a_job_is_a_row_for_each_stage_and_a_verdict(shell: Any, loaded: Any, links: Any) -> None:
    loaded("links.reduceByKey(lambda a, b: a + b, 3).count()")
    ran = loaded("%sparklab skew -o rows")
    assert [(row["stage"], row["of"], row["tasks"]) for row in shell.user_ns["rows"]] == [
        (0, "links", 4),
        (1, "reduceByKey", 3),
    ]
    assert "slowest" in ran.out.splitlines()[0]
    assert ran.out.strip().splitlines()[-1].startswith(("Even", "Stage"))


def test_the_profile_of_a_job_is_a_row_for_each_line_or_says_why_there_is_none(loaded: Any, links: Any) -> None:
    loaded("links.count()")
    assert loaded("%sparklab profile").out.startswith(("No lines", "share"))
    assert "looking for job 77" in loaded("%sparklab profile 77").out


def test_a_mistyped_variable_is_told_the_nearest_rdd_or_run(loaded: Any, links: Any) -> None:
    assert "did you mean `links`?" in loaded("%sparklab dag linsk").out
    assert "did you mean `links`?" in loaded("%sparklab persist lniks").out
    loaded("%%sparklab -o first -q\nlinks.count()")
    assert "did you mean `first`?" in loaded("%sparklab show frist").out
