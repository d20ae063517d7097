"""What facts add up to: total on any prefix, right on a whole story, bounded over many."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sparklab import SparkConf, SparkContext
from sparklab.events.facts import KINDS, JobEnded, JobStarted, RddEdge, RddNode, Record, StageNode
from sparklab.events.journal import read_journal
from sparklab.events.run import headline, run_of
from sparklab.events.views import KEPT_JOBS, Views

small = st.integers(-1, 4)
words = st.sampled_from(["", "memory", "disk", "succeeded", "lost", "executor_lost", "evicted", "s0", "cache"])


def facts_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name, hint in kind.__annotations__.items():
        if kind is JobStarted and name == "rdds":
            fields[name] = st.just((RddNode(0, "a", "map", "x:1", 3, ""), RddNode(1, "b", "reduceByKey", "x:2", 2, "")))
        elif kind is JobStarted and name == "edges":
            fields[name] = st.just((RddEdge(0, 1, 0),))
        elif kind is JobStarted and name == "stages":
            fields[name] = st.just(
                (StageNode(0, "map", 0, 3, (0,), (), False), StageNode(1, "result", -1, 2, (1,), (0,), False))
            )
        else:
            fields[name] = {
                "int": small,
                "float": st.floats(0, 5),
                "str": words,
                "bool": st.booleans(),
                "tuple[int, ...]": st.lists(st.integers(0, 4), max_size=4).map(tuple),
                "tuple[str, ...]": st.lists(words, max_size=3).map(tuple),
            }[str(hint)]
    return st.builds(kind, **fields)


any_fact = st.one_of(*(facts_of(kind) for kind in KINDS.values()))


@settings(max_examples=150, deadline=None)
@given(st.lists(any_fact, max_size=40))
def test_folding_is_total_on_any_facts_in_any_order(facts: list[Any]) -> None:
    views = Views()
    for number, fact in enumerate(facts, 1):
        views.fold(Record(number, number * 0.1, fact))
        jobs = list(views.jobs.values())
        assert isinstance(headline(views, jobs), str)
        for cached in views.cache.values():
            cached.states()
    for scope in views.scopes:
        run_of(views, scope=scope)


def test_a_live_view_equals_the_fold_of_its_journal(tmp_path: Path) -> None:
    conf = SparkConf().set("sparklab.journal.dir", str(tmp_path)).set("sparklab.allowMultipleContexts", "true")
    with SparkContext("threads[2]", "journal", conf=conf) as sc:
        words = (
            sc.parallelize(["to", "be", "or", "not", "to", "be"], 3)
            .map(lambda w: (w, 1))
            .reduceByKey(lambda a, b: a + b)
        )
        words.cache().count()
        sc.kill_executor(0)
        with sc.scope("second") as second:
            words.collect()
        live = sc.run_of(second)
        (path,) = tmp_path.glob("*.jsonl")
        with sc.bus.lock:
            replayed = Views()
            for record in read_journal(path):
                replayed.fold(record)
            assert replayed.seq == sc.bus.seq
            assert [c.states() for c in replayed.cache.values()] == [c.states() for c in sc.views.cache.values()]
    again = run_of(replayed, scope=second)
    assert (again.tasks, again.recomputed_partitions, again.recomputed_of) == (
        live.tasks,
        live.recomputed_partitions,
        live.recomputed_of,
    )


def test_a_context_keeps_its_facts_in_a_file_without_a_name(tmp_path: Path) -> None:
    conf = SparkConf().set("spark.local.dir", str(tmp_path)).set("sparklab.allowMultipleContexts", "true")
    with SparkContext("threads[1]", "anonymous", conf=conf) as sc:
        sc.parallelize([1, 2], 2).count()
        assert [record.seq for record in sc.records()] == list(range(1, sc.bus.seq + 1))
        assert not [path for path in tmp_path.iterdir() if "journal" in path.name]


def test_only_the_newest_finished_jobs_are_kept() -> None:
    views = Views()
    for job in range(KEPT_JOBS * 3):
        node = StageNode(job, "result", -1, 1, (job,), (), False)
        rdd = RddNode(job, "r", "map", "x:1", 1, "")
        views.fold(Record(1, 0.0, JobStarted(job, "", "count", "x:1", job, "default", (rdd,), (), (node,))))
        views.fold(Record(2, 0.0, JobEnded(job, "succeeded", 0.1, "")))
    assert len(views.jobs) <= KEPT_JOBS + 1
    assert len(views.stages) <= KEPT_JOBS + 1
    assert len(views.rdds) <= KEPT_JOBS + 1
    assert views.jobs_total == KEPT_JOBS * 3


def test_a_run_counts_tasks_executors_caches_and_bytes(sc_threads: SparkContext) -> None:
    pairs = sc_threads.parallelize([(i % 3, i) for i in range(90)], 6)
    with sc_threads.scope("first") as first:
        sums = pairs.reduceByKey(lambda a, b: a + b, 2).cache()
        assert sums.count() == 3
    with sc_threads.scope("second") as second:
        assert sums.count() == 3
    one, two = sc_threads.run_of(first), sc_threads.run_of(second)
    assert (one.tasks, one.stages, one.stages_skipped, one.cache_misses, one.cache_hits) == (8, 2, 0, 2, 0)
    assert (two.tasks, two.stages, two.stages_skipped, two.cache_misses, two.cache_hits) == (2, 1, 1, 0, 2)
    assert one.bytes_shuffled > 0
    assert two.bytes_shuffled == 0
    assert sum(one.tasks_by_executor.values()) == 8
    assert two.headline.endswith("2 tasks, 2 from cache, recomputed 0 of 2")


def test_jobs_of_a_scope_count_in_the_scope_around_it(sc_threads: SparkContext) -> None:
    with sc_threads.scope("outer") as outer:
        sc_threads.parallelize([1], 1).count()
        with sc_threads.scope("inner") as inner:
            sc_threads.parallelize([1, 2], 2).count()
    assert sc_threads.run_of(inner).tasks == 2
    assert sc_threads.run_of(outer).tasks == 3


def test_a_scope_without_a_job_says_that_nothing_has_run(sc_threads: SparkContext) -> None:
    with sc_threads.scope("lazy") as lazy:
        sc_threads.parallelize(range(10)).map(lambda x: x + 1)
    assert sc_threads.run_of(lazy).headline == "0 jobs: nothing has run (lazy)"


def test_jobs_of_threads_belong_to_the_scope_they_were_started_in(sc_threads: SparkContext) -> None:
    import contextvars

    with sc_threads.scope("outer") as outer:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: sc_threads.parallelize([1], 1).count(),))
        thread.start()
        thread.join(10)
    assert len(sc_threads.run_of(outer).jobs) == 1
