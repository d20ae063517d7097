"""RDDs must be the same when they are computed again: checked on request, and undone as a whole where they are not."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from sparklab import SparkConf, SparkContext
from sparklab.conf import ConfError, Settings
from sparklab.errors import JobFailed
from sparklab.events import facts as f
from sparklab.testing import inject, kill
from tests.waiting import wait_until

CHECKED = SparkConf().set("sparklab.checkDeterminism", "1.0")


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "determinism", conf=CHECKED) as context:
        yield context


def differed(sc: SparkContext, since: int) -> list[f.PartitionDiffered]:
    return [r.fact for r in sc.records() if r.seq > since and isinstance(r.fact, f.PartitionDiffered)]


def warnings(sc: SparkContext, since: int) -> list[str]:
    return [
        f"{r.fact.subject}: {r.fact.message}" for r in sc.records() if r.seq > since and isinstance(r.fact, f.Warned)
    ]


def test_a_function_that_draws_numbers_is_found(sc: SparkContext) -> None:
    since = sc.bus.seq
    noise = sc.parallelize(range(8), 2).map(lambda x: (x, os.urandom(4)))
    assert noise.count() == 8
    found = differed(sc, since)
    assert sorted(fact.partition for fact in found) == [0, 1]
    assert found[0].rdd == noise._id
    assert "record 0 of 4 is another one" in found[0].found
    assert any(
        "map at test_determinism.py" in text and "no deterministic function" in text for text in warnings(sc, since)
    )


def test_functions_that_are_deterministic_pass_whatever_they_share_or_change(sc: SparkContext) -> None:
    since = sc.bus.seq
    word = "shared"
    boxes = sc.parallelize(range(200), 4).map(lambda x: [word, word, x])

    def change(box: list[Any]) -> tuple[str, int]:
        box.append(len(box))
        return box[0], len(box)

    cached = boxes.cache()
    assert cached.map(change).reduceByKey(lambda a, b: a + b).collect() == [("shared", 800)]
    assert cached.map(change).count() == 200
    assert cached.repartition(3).zipWithIndex().count() == 200
    assert cached.take(3) == [["shared", "shared", i] for i in range(3)]
    rng = sc.parallelize(range(100), 2).sample(False, 0.5, seed=3)
    rng.count()
    assert differed(sc, since) == []


def test_checking_counts_accumulators_once(sc: SparkContext) -> None:
    counter = sc.accumulator(0)
    sc.parallelize(range(50), 4).foreach(lambda _: counter.add(1))
    sc.parallelize(range(50), 4).map(lambda x: (counter.add(1), x)[1]).repartition(2).count()
    assert counter.value == 100


def test_what_comes_back_otherwise_after_a_loss_is_found() -> None:
    # No second computation here: the digests of what was kept are compared with those of what came back.
    conf = SparkConf().set("sparklab.checkDeterminism", "0.0000001").set("sparklab.allowMultipleContexts", "true")
    with SparkContext("local[2]", "digests", conf=conf) as own:
        noise = own.parallelize(range(8), 4).map(lambda x: (x, os.urandom(4))).cache()
        steady = own.parallelize(range(8), 4).map(lambda x: [x, str(x)]).cache()
        noise.count()
        steady.count()
        assert differed(own, 0) == []
        own.kill_executor(0)
        wait_until(lambda: all(info.alive for info in own.executorInfos()))
        noise.count()
        steady.count()
        found = differed(own, 0)
        assert {fact.rdd for fact in found} == {noise._id}
        assert {fact.found for fact in found} == {"computed again after it was lost, and other records than before"}


def test_without_the_setting_nothing_is_checked() -> None:
    with SparkContext("threads[2]", conf=SparkConf().set("sparklab.allowMultipleContexts", "true")) as own:
        assert own.parallelize(range(8), 2).map(lambda x: random.random()).count() == 8
        assert differed(own, 0) == []


def test_the_share_is_a_number_from_0_to_1() -> None:
    assert Settings.from_conf(CHECKED).check_determinism == 1.0
    with pytest.raises(ConfError, match="from 0 to 1"):
        Settings.from_conf(SparkConf().set("sparklab.checkDeterminism", "2"))


# --- rollback -----------------------------------------------------------------------------------------------


def test_records_of_an_indeterminate_rdd_are_neither_lost_nor_doubled_by_a_death() -> None:
    """Each record goes to a random place; were one map output alone made again, some would come twice, some never."""
    with SparkContext("local[2]", "rollback") as own:
        placed = own.parallelize(range(400), 4).map(lambda x: (random.SystemRandom().randrange(4), x))
        shuffled = placed.asNondeterministic().partitionBy(4, lambda key: key).values()
        for k in range(6):
            wait_until(lambda: all(info.alive for info in own.executorInfos()))
            with inject(own, kill("map", 4 + k)):  # in the maps of the second shuffle, which have read the first
                again = shuffled.map(lambda x: (x % 3, x)).partitionBy(3, lambda key: key).values()
                assert sorted(again.collect()) == list(range(400))


def test_a_result_that_is_half_delivered_cannot_be_undone_and_says_so() -> None:
    with SparkContext("local[2]", "half") as own:
        placed = own.parallelize(range(400), 4).map(lambda x: (random.SystemRandom().randrange(8), x))
        shuffled = placed.asNondeterministic().partitionBy(8, lambda key: key).values()
        with (
            inject(own, kill("result", 5)),
            pytest.raises(JobFailed, match="not the same when computed again"),
        ):
            shuffled.collect()
        assert sorted(shuffled.collect()) == list(range(400)), "run again, it succeeds"
