"""Data that an operator of ours cannot handle: three parts that name line, operator and types, without frames."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from sparklab import RDD, SparkContext
from sparklab.errors import SparklabError, UserCodeError

PAIRS = [([1], 1), ([2], 2)]


def fails(program: Callable[[], Any]) -> tuple[UserCodeError, str]:
    with pytest.raises(UserCodeError) as caught:
        program()
    shown = "".join(traceback.format_exception(caught.value))
    return caught.value, shown


BY_KEY: dict[str, Callable[[RDD], Any]] = {
    "reduceByKey": lambda r: r.reduceByKey(lambda a, b: a + b).collect(),
    "groupByKey": lambda r: r.groupByKey().collect(),
    "aggregateByKey": lambda r: r.aggregateByKey(0, max, max).collect(),
    "partitionBy": lambda r: r.partitionBy(2).collect(),
    "join": lambda r: r.join(r.context.parallelize([(1, 1)])).collect(),
    "countByKey": lambda r: r.countByKey(),
    "reduceByKeyLocally": lambda r: r.reduceByKeyLocally(max),
    "collectAsMap": lambda r: r.collectAsMap(),
}


@pytest.mark.parametrize("operator", BY_KEY)
def test_a_key_that_cannot_be_hashed_is_named_with_its_operator_and_line(sc_local: SparkContext, operator: str) -> None:
    error, shown = fails(lambda: BY_KEY[operator](sc_local.parallelize(PAIRS, 2)))

    assert error.attempted.startswith(f"running {operator} at test_bad_keys.py:")
    assert error.found.startswith("a key of type list, which cannot be hashed")
    assert "tuple" in error.do
    assert isinstance(error.__cause__, TypeError)
    assert error.remote_traceback == ""
    for inner in ("stable_hash.py", "combine.py", "executor.py", "writer.py", "results.py"):
        assert inner not in shown


def test_a_record_that_cannot_be_hashed_is_no_key_of_a_pair(sc_local: SparkContext) -> None:
    for name in ("distinct", "countByValue"):
        rdd = sc_local.parallelize([[1], [2]], 2)
        program = rdd.countByValue if name == "countByValue" else lambda rdd=rdd: rdd.distinct().collect()
        error, _ = fails(program)
        assert error.attempted.startswith(f"running {name} at test_bad_keys.py:")
        assert error.found.startswith("a record of type list, which cannot be hashed")


@pytest.mark.parametrize(
    ("key", "kind", "advice"),
    [
        ((1, [2]), "tuple", "tuple"),
        ({"a": 1}, "dict", "sorted"),
        ({1}, "set", "frozenset"),
        (bytearray(b"x"), "bytearray", "bytes"),
    ],
)
def test_the_advice_fits_the_keys_type(sc_local: SparkContext, key: Any, kind: str, advice: str) -> None:
    for act in ("reduceByKey", "groupByKey"):
        error, _ = fails(lambda act=act: BY_KEY[act](sc_local.parallelize([(key, 1)], 1)))  # type: ignore[misc]
        assert f"a key of type {kind}" in error.found
        assert advice in error.do


def test_an_unhashable_value_in_the_users_own_function_keeps_his_own_lines(sc_local: SparkContext) -> None:
    error, _ = fails(lambda: sc_local.parallelize([[[1]]], 1).map(lambda x: set(x)).collect())
    assert "in <lambda>" in error.remote_traceback
    assert error.found.startswith("TypeError: unhashable")
    error, _ = fails(lambda: sc_local.parallelize([[[1]]], 1).map(set).collect())
    assert error.found.startswith("TypeError: unhashable")


def test_keys_without_an_order_are_named(sc_local: SparkContext) -> None:
    error, shown = fails(lambda: sc_local.parallelize([({1: 2}, 1), ({3: 4}, 1)], 2).sortByKey().collect())
    assert error.attempted.startswith("running sortByKey at test_bad_keys.py:")
    assert "'<' not supported between instances of 'dict' and 'dict'" in error.found
    assert "keyfunc" in error.do
    assert "bounds.py" not in shown


@pytest.mark.parametrize("action", ["sum", "mean"])
def test_arithmetic_on_what_is_no_number_names_the_action_and_its_line(sc_local: SparkContext, action: str) -> None:
    rdd = sc_local.parallelize(["a", "b", "c"], 2)
    error, shown = fails(getattr(rdd, action))
    assert error.attempted.startswith(f"running {action} at test_bad_keys.py:")
    assert "map(float)" in error.do
    assert 'statistics.py", line' not in shown.split("The above exception")[0]


def test_an_unequal_zip_says_at_which_record_one_side_ended(sc_local: SparkContext) -> None:
    ten, nine = sc_local.parallelize(range(10), 2), sc_local.parallelize(range(9), 2)
    error, _ = fails(lambda: ten.zip(nine).collect())
    assert error.attempted.startswith("running zip at test_bad_keys.py:")
    assert "partition 0, record 4" in error.attempted
    assert "Can only zip RDDs with same number of elements in each partition" in str(error.__cause__)
    assert "the right one has 4 records, the left one more" in error.found
    error, _ = fails(lambda: nine.zip(ten).collect())
    assert "the left one has 4 records, the right one more" in error.found


@pytest.mark.parametrize("action", ["max", "top", "takeOrdered"])
def test_records_that_cannot_be_compared_are_told_alike_from_executor_and_driver(
    sc_local: SparkContext, action: str
) -> None:
    for partitions in (1, 2):
        rdd = sc_local.parallelize([1, "a"], partitions)
        error, _ = fails(lambda rdd=rdd: rdd.max() if action == "max" else getattr(rdd, action)(1))  # type: ignore[misc]
        assert error.attempted.startswith(f"running {action} at test_bad_keys.py:")
        assert error.found.startswith("records that have no order among each other")
        assert "key=" in error.do


def test_records_without_order_in_a_histogram_are_told_alike_from_executor_and_driver(sc_local: SparkContext) -> None:
    for partitions, buckets, do in ((1, 2, "numbers"), (2, 2, "numbers"), (1, [0, 1, 2], "that of the edges")):
        rdd = sc_local.parallelize([1, "a"], partitions)
        error, _ = fails(lambda rdd=rdd, buckets=buckets: rdd.histogram(buckets))  # type: ignore[misc]
        assert error.attempted.startswith("running histogram at test_bad_keys.py:")
        assert error.found.startswith("records that have no order among each other")
        assert do in error.do


def test_a_histogram_of_text_or_with_edges_without_order_says_what_helps(sc_local: SparkContext) -> None:
    for records, buckets, attempted, found, do in (
        ("ab", 2, "making 2 buckets of equal width from 'a' to 'b'", "Can not generate buckets with non-n", "edges"),
        ("ab", [0, "b"], "making buckets", "edges that have no order among each other", "one type"),
    ):
        with pytest.raises(TypeError) as caught:
            sc_local.parallelize(records, 2).histogram(buckets)
        error = caught.value
        assert isinstance(error, SparklabError)
        assert error.attempted == attempted
        assert found in error.found
        assert do in error.do


NO_PAIRS: dict[str, Callable[[RDD], Any]] = {
    "keys": lambda r: r.keys().collect(),
    "values": lambda r: r.values().collect(),
    "mapValues": lambda r: r.mapValues(abs).collect(),
    "flatMapValues": lambda r: r.flatMapValues(abs).collect(),
    "lookup": lambda r: r.lookup(1),
    "countByKey": lambda r: r.countByKey(),
    "reduceByKeyLocally": lambda r: r.reduceByKeyLocally(max),
    "collectAsMap": lambda r: r.collectAsMap(),
    "sampleByKey": lambda r: r.sampleByKey(False, {1: 0.5}).collect(),
}


@pytest.mark.parametrize("operator", NO_PAIRS)
def test_records_that_are_no_pairs_are_told_without_frames_of_ours(sc_local: SparkContext, operator: str) -> None:
    error, shown = fails(lambda: NO_PAIRS[operator](sc_local.parallelize([1, 2, 3], 2)))

    assert error.attempted.startswith(f"running {operator} at test_bad_keys.py:")
    assert error.found.startswith("a record of type int, where a pair (key, value) is meant")
    assert "map(lambda x: (x, 1))" in error.do
    assert "results.py" not in shown
    assert "operators.py" not in shown


MISCALLED: dict[str, tuple[Callable[[RDD], Any], str]] = {
    "map": (lambda r: r.map(lambda k, v: v).collect(), "lambda pair: (pair[0], pair[1])"),
    "filter": (lambda r: r.filter(lambda: True).count(), "one argument, a record"),
    "mapValues": (lambda r: r.mapValues(lambda k, v: v).collect(), "the value of a pair"),
    "mapPartitions": (lambda r: r.mapPartitions(lambda i, records: records).count(), "an iterator"),
    "mapPartitionsWithIndex": (lambda r: r.mapPartitionsWithIndex(lambda records: records).count(), "number"),
    "reduce": (lambda r: r.reduce(lambda a: a), "two arguments"),
    "reduceByKey": (lambda r: r.reduceByKey(lambda a: a).collect(), "two arguments"),
    "foreach": (lambda r: r.foreach(lambda k, v: None), "one argument, a record"),
}


@pytest.mark.parametrize("operator", MISCALLED)
def test_a_function_that_takes_other_arguments_is_told_without_frames_of_ours(
    sc_local: SparkContext, operator: str
) -> None:
    program, do = MISCALLED[operator]
    error, shown = fails(lambda: program(sc_local.parallelize([(1, 2), (1, 4), (1, 6), (1, 8)], 2)))

    assert error.attempted.startswith(f"running {operator} at test_bad_keys.py:")
    assert error.found.startswith("TypeError: ")
    assert "<lambda>()" in error.found
    assert do in error.do
    assert "executor.py" not in shown
    assert "operators.py" not in shown


def test_a_call_that_fails_in_the_users_own_function_shows_that_line(sc_local: SparkContext) -> None:
    def half(x: int) -> float:
        return x / 2

    error, _ = fails(lambda: sc_local.parallelize([1], 1).map(lambda x: half(x, 2)).collect())  # type: ignore[call-arg]

    assert "test_bad_keys.py" in error.remote_traceback
    assert error.do.startswith("mend what the traceback points to")


@pytest.mark.parametrize("operator", ["flatMap", "flatMapValues", "mapPartitions", "mapPartitionsWithIndex"])
def test_a_result_that_is_not_iterable_names_the_operator_that_wants_one(sc_local: SparkContext, operator: str) -> None:
    rdd = sc_local.parallelize([(1, 2), (3, 4)], 2)

    error, shown = fails(lambda: getattr(rdd, operator)(lambda *given: 3).collect())

    assert error.attempted.startswith(f"running {operator} at test_bad_keys.py:")
    assert error.found.startswith(f"what the function given to {operator} returned is not iterable")
    assert "a list or a generator" in error.do
    assert "operators.py" not in shown


def test_a_partition_function_that_gives_no_number_is_told_as_such(sc_local: SparkContext) -> None:
    error, shown = fails(lambda: sc_local.parallelize([(1, 2)], 1).partitionBy(2, lambda key: None).collect())

    assert error.attempted.startswith("running partitionBy at test_bad_keys.py:")
    assert error.found.startswith("what the partitionFunc returned is no whole number")
    assert "partitioner.py" not in shown


def test_a_command_that_is_not_there_is_named_without_frames(sc_local: SparkContext) -> None:
    with pytest.raises(SparklabError) as caught:
        sc_local.parallelize(["x"], 1).pipe("no-such-command -v").collect()

    assert caught.value.attempted.startswith("running the command `no-such-command -v`, in pipe at test_bad_keys.py:")
    assert "subprocess.py" not in "".join(traceback.format_exception(caught.value))
