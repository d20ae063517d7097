"""What a panel shows of real runs, and that it agrees with their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sparklab import SparkConf, SparkContext
from sparklab.jupyter.model import panel_model


@pytest.fixture
def sc() -> Iterator[SparkContext]:
    with SparkContext("threads[2]", conf=SparkConf().set("spark.executor.memory", "64m")) as sc:
        yield sc


def pictured(sc: SparkContext, scope: str, **choice: Any) -> dict[str, Any]:
    """The panel's model of a scope."""
    with sc.bus.lock:
        return panel_model(sc.bus.views, scope, **choice)


def node(model: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in model["dag"]["nodes"] if node["full"] == name)


def test_the_card_counts_the_records_of_what_a_run_cached(sc: SparkContext) -> None:
    with sc.scope("cell") as scope:
        odd = sc.parallelize(range(100), 4).filter(lambda x: x % 2).setName("odd").persist()
        assert odd.count() == 50
    assert dict(node(pictured(sc, scope), "odd")["facts"])["Records"] == "50 in 4 partitions"


def frames(model: dict[str, Any]) -> list[str]:
    return [frame["t"] for frame in model["dag"]["frames"]]


def states(model: dict[str, Any]) -> dict[str, str]:
    return {node["full"]: node["p"] for node in model["dag"]["nodes"]}


def test_each_jobs_tab_shows_what_that_job_ran_and_who_ran_the_rest(sc: SparkContext) -> None:
    with sc.scope("cell") as scope:
        pairs = sc.parallelize(range(60), 6).map(lambda x: (x % 3, x)).setName("pairs")
        sums = pairs.reduceByKey(lambda a, b: a + b, 4).setName("sums")
        sums.count()
        sums.collect()
    first, second = sc.run_of(scope).jobs
    one, two = pictured(sc, scope, job=first), pictured(sc, scope)
    assert two["job"] == second
    assert states(one) == {"parallelize": "d" * 6, "pairs": "d" * 6, "sums": "d" * 4}
    assert states(two) == {"parallelize": "s" * 6, "pairs": "s" * 6, "sums": "d" * 4}
    assert frames(two)[0].endswith(f"6 tasks, ran in job {first}")
    run = sc.run_of(scope)
    drawn = [frame for model in (one, two) for frame in frames(model)]
    assert (run.stages, run.stages_skipped) == (3, sum(", ran in job" in frame for frame in drawn))
    assert run.tasks == sum(
        row.count("d") for model in (one, two) for name, row in states(model).items() if name in ("pairs", "sums")
    )


def test_what_stands_above_a_partition_that_came_from_the_cache_is_drawn_as_skipped(sc: SparkContext) -> None:
    with sc.scope("cell") as scope:
        words = sc.parallelize(range(40), 8).map(str).setName("words").persist()
        kept = words.filter(bool).setName("kept")
        kept.count()
        kept.count()
        sc.drop_partition(words, 3)
        kept.count()
        kept.take(1)
    jobs = sc.run_of(scope).jobs
    pictures = [states(pictured(sc, scope, job=job)) for job in jobs]
    assert [picture["kept"] for picture in pictures] == ["d" * 8, "d" * 8, "d" * 8, "d" + "s" * 7]
    assert [picture["parallelize"] for picture in pictures] == ["d" * 8, "s" * 8, "sssasssss"[:8], "s" * 8]
    assert [picture["words"] for picture in pictures] == ["m" * 8, "m" * 8, "mmmammmm", "m" * 8]
    assert [sc.run_of_job(job).cache_hits for job in jobs] == [0, 8, 7, 1]
    words.unpersist(blocking=True)
    again = [states(pictured(sc, scope, job=job))["parallelize"] for job in jobs]
    assert again == [picture["parallelize"] for picture in pictures], "an ended job's picture stays"


def test_only_the_way_that_is_not_cached_is_computed_of_an_rdd_that_is_used_twice(sc: SparkContext) -> None:
    base = sc.parallelize(range(12), 3).map(lambda x: x + 1).setName("base")
    kept = base.map(lambda x: x * 2).setName("kept").persist()
    kept.count()
    with sc.scope("cell") as scope:
        kept.union(base.map(lambda x: -x).setName("negative")).setName("both").count()
    picture = states(pictured(sc, scope))
    assert (picture["kept"], picture["negative"], picture["base"]) == ("mmm", "ddd", "ddd")
    with sc.scope("cell") as scope:
        kept.union(kept).setName("twice").count()
    picture = states(pictured(sc, scope))
    assert (picture["twice"], picture["base"]) == ("dddddd", "sss")


def test_an_evicted_partition_is_drawn_as_not_cached_and_told_of(sc: SparkContext) -> None:
    with sc.scope("cell") as scope:
        old = sc.parallelize(range(8), 8).map(lambda x: bytes(5_000_000)).setName("old").persist()
        old.count()
        new = sc.parallelize(range(8), 8).map(lambda x: bytes(5_000_000)).setName("new").persist()
        assert new.count() == 8
    model = pictured(sc, scope, job=sc.run_of(scope).jobs[0])
    row = next(row for row in model["cache"]["rows"] if row["full"] == "old")
    assert "l" not in row["p"] + node(model, "old")["p"]
    assert "w" in row["p"]
    assert model["cache"]["log"].startswith("evicted old[")
    assert model["cache"]["log"].endswith(", 4.8 MiB, LRU")
