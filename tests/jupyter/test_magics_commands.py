from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.jupyter.commands import Commands
from sparklab.jupyter.reports import held_by
from sparklab.storage.level import StorageLevel
from tests.jupyter.fakes import FakeContext, FakeRDD


def test_a_cancel_without_a_number_cancels_the_running_jobs_of_the_panels_cell() -> None:
    sc = FakeContext(jobs={1: "succeeded", 2: "running", 3: "running"})
    sc.bus.views.jobs[3].scope = "another"

    answer = Commands(sc).handle({"cmd": "cancel", "scope": "s1", "id": 7})

    assert answer["ok"]
    assert answer["text"] == "cancelled job 2"
    assert sc.done == [("cancel", 2)]


def test_a_cancel_that_comes_too_late_says_so() -> None:
    sc = FakeContext(jobs={1: "succeeded"})

    assert Commands(sc).handle({"cmd": "cancel", "job": 1}) == {
        "ok": True,
        "text": "nothing was running any more",
        "message": "nothing was running any more",
    }
    assert sc.done == []


def test_a_killed_executor_is_reported_with_what_went_with_it() -> None:
    sc = FakeContext()
    commands = Commands(sc)

    cost = commands.cost({"cmd": "kill-executor", "executor": 1})
    assert cost == "executor 1: 12 cached partitions live there, 1 task running"
    answer = commands.handle({"cmd": "kill-executor", "executor": 1, "stay_dead": True})

    assert answer["text"] == "killed executor 1: 12 cached partitions went with it"
    assert sc.done == [("kill", 1, True)]


def test_a_dropped_partition_is_named() -> None:
    sc = FakeContext([FakeRDD(3)])

    answer = Commands(sc).handle({"cmd": "drop-partition", "rdd": 3, "partition": 2})

    assert answer["ok"]
    assert sc.done == [("drop", 3, 2)]


def test_reset_puts_levels_back_as_the_program_had_set_them() -> None:
    kept, plain = FakeRDD(1).persist(StorageLevel.MEMORY_AND_DISK), FakeRDD(2, name="words")
    commands = Commands(FakeContext([kept, plain]))

    commands.handle({"cmd": "unpersist", "rdd": 1})
    commands.handle({"cmd": "persist", "rdd": 2, "level": "MEMORY_ONLY"})
    commands.handle({"cmd": "unpersist", "rdd": 2})
    assert plain.storage_level == StorageLevel.NONE
    answer = commands.handle({"cmd": "reset"})

    assert kept.storage_level == StorageLevel.MEMORY_AND_DISK
    assert answer["text"] == "as the program set it: links (RDD 1)"


def test_a_look_at_a_cached_partition_is_five_texts_and_no_more() -> None:
    answer = Commands(FakeContext([FakeRDD(3)])).handle({"cmd": "peek", "rdd": 3, "partition": 1})

    assert answer == {"ok": True, "records": ["('links', 1)"] * 5}


def test_a_sample_is_five_bounded_texts() -> None:
    answer = Commands(FakeContext([FakeRDD(3)])).handle({"cmd": "sample", "rdd": 3, "scope": "s1", "id": 7})

    assert answer["ok"]
    assert [len(text) for text in answer["records"]] == [200] * 5


def test_a_sample_that_meets_an_error_of_the_readers_own_shows_it() -> None:
    class Broken(FakeRDD):
        def made(self) -> Any:
            raise KeyError("y" * 300)

    answer = Commands(FakeContext([Broken(3)])).handle({"cmd": "sample", "rdd": 3})

    assert not answer["ok"]
    assert answer["error"].startswith("KeyError: 'yyy")
    assert len(answer["error"]) == 200


def test_one_sample_at_a_time_and_a_cancel_never_waits_for_it() -> None:
    class Nested(FakeRDD):
        def made(self) -> Any:
            return commands.handle({"cmd": "sample", "rdd": 3})["error"], commands.handle({"cmd": "cancel"})["ok"]

    commands = Commands(FakeContext([Nested(3)]))
    answer = commands.handle({"cmd": "sample", "rdd": 3})

    assert answer["records"] == ["('another sample is being computed: try again when it is there', True)"] * 5


def test_a_sample_of_a_real_program_is_computed_beside_the_running_cell() -> None:
    with SparkContext("threads[2]") as sc:
        words = sc.parallelize(range(8), 4).map(lambda x: (x % 2, x))

        answer = Commands(sc).handle({"cmd": "sample", "rdd": words.id()})
        refused = Commands(sc).handle({"cmd": "sample", "rdd": words.map(lambda pair: pair[2]).id()})

    assert answer == {"ok": True, "records": ["(0, 0)", "(1, 1)", "(0, 2)", "(1, 3)", "(0, 4)"]}
    assert not refused["ok"]
    assert "gone" in refused["error"]


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ({}, "no command 'None'"),
        ({"cmd": "eval", "code": "1"}, "no command 'eval'"),
        ({"cmd": ["cancel"]}, "no command"),
        ({"cmd": "cancel", "code": "import os"}, "no field 'code'"),
        ({"cmd": "cancel", "jobs": ["1"]}, "jobs must be numbers"),
        ({"cmd": "cancel", "job": True}, "job must be of type int"),
        ({"cmd": "cancel", "job": 9}, "there is no job 9"),
        ({"cmd": "kill-executor"}, "executor is missing"),
        ({"cmd": "kill-executor", "executor": "1; import os"}, "executor must be of type int"),
        ({"cmd": "kill-executor", "executor": 5}, "there is no executor 5: 0, 1"),
        ({"cmd": "drop-partition", "rdd": 3, "partition": -1}, "has no partition -1"),
        ({"cmd": "drop-partition", "rdd": 4, "partition": 0}, "RDD 4 is gone"),
        ({"cmd": "peek", "rdd": 3}, "partition is missing"),
        ({"cmd": "peek", "rdd": 3, "partition": "0"}, "partition must be of type int"),
        ({"cmd": "peek", "rdd": 3, "partition": 4}, "has no partition 4"),
        ({"cmd": "peek", "rdd": 3, "partition": 0, "count": 9}, "no field 'count'"),
        ({"cmd": "sample"}, "rdd is missing"),
        ({"cmd": "sample", "rdd": 4}, "RDD 4 is gone: no variable refers to it any more"),
        ({"cmd": "sample", "rdd": 3, "code": "1"}, "no field 'code'"),
        ({"cmd": "persist", "rdd": 3, "level": "OFF_HEAP"}, "no storage level 'OFF_HEAP'"),
    ],
)
def test_a_message_outside_the_vocabulary_is_refused_and_does_nothing(command: dict[str, Any], found: str) -> None:
    sc = FakeContext([FakeRDD(3)], jobs={1: "running"})

    answer = Commands(sc).handle(command)

    assert not answer["ok"]
    assert found in answer["text"]
    assert answer["error"] == answer["text"]
    assert sc.done == []


def test_what_goes_with_an_executor_is_counted_by_rdd_with_its_map_outputs() -> None:
    sc = FakeContext()
    assert held_by(sc, 1) == "12 cached partitions"
    sc.bus.views.shuffles[0] = SimpleNamespace(outputs={0: (0, 10), 1: (1, 10), 2: (1, 10)})
    assert held_by(sc, 1) == "12 cached partitions and 2 map outputs"
    assert held_by(sc, 0) == "12 cached partitions and 1 map output"
    sc.bus.views.cache[8] = SimpleNamespace(name="ranks", blocks={0: {0: ("memory", 1), 1: ("memory", 1)}})
    assert held_by(sc, 0) == "13 cached partitions (12 of links, 1 of ranks, 1 with a copy elsewhere) and 1 map output"
    sc.bus.views.cache.clear()
    assert held_by(sc, 1) == "2 map outputs"
    assert held_by(sc, 2) == "0 cached partitions"
