"""An exception of the user's code names its operator, its call site and its record."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.errors import UserCodeError
from sparklab.rdd.usererror import describe_failure, short_repr
from tests.support.naive_driver import NaiveDriver


def boom(x: Any) -> Any:
    if x == 7:
        raise ValueError("no sevens")
    return x


def boom_later(x: Any) -> Iterator[Any]:
    yield x
    boom(x)


def stop(x: Any) -> Any:
    if x == 7:
        raise StopIteration
    return x


def boom_between(records: Iterator[Any]) -> Iterator[Any]:
    for x in records:
        yield boom(x)


PROGRAMS: dict[str, tuple[Callable[[Any], Any], str | None]] = {
    "map": (lambda r: r.map(boom).collect(), "7"),
    "filter": (lambda r: r.map(str).map(int).filter(boom).map(str).collect(), "7"),
    "flatMap": (lambda r: r.flatMap(boom_later).map(str).collect(), "7"),
    "flatMapValues": (lambda r: r.map(lambda x: (x, x)).flatMapValues(boom_later).map(str).collect(), "(7, 7)"),
    "mapValues": (lambda r: r.map(lambda x: (x, x)).mapValues(boom).reduceByKey(max).collect(), "(7, 7)"),
    "keyBy": (lambda r: r.keyBy(boom).groupByKey().collect(), "7"),
    "mapPartitions": (lambda r: r.mapPartitions(boom_between).map(str).map(str).collect(), None),
    "mapPartitionsWithIndex": (lambda r: r.mapPartitionsWithIndex(lambda i, x: boom_between(x)).collect(), None),
    "foreach": (lambda r: r.map(lambda x: x).foreach(boom), "7"),
    "reduce": (lambda r: r.reduce(lambda a, b: boom(b)), "7"),
    "reduceByKey": (lambda r: r.map(lambda x: (x % 2, x)).reduceByKey(lambda a, b: boom(b)).collect(), "(1, 7)"),
    "combineByKey": (lambda r: r.keyBy(str).combineByKey(boom, max, max).collect(), "('7', 7)"),
    "fold": (lambda r: r.fold(0, lambda a, b: boom(b)), "7"),
    "saveAsTextFile": (lambda r: r.map(lambda x: Unprintable() if x == 7 else x).saveAsTextFile("/tmp/never"), "<"),
}


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("cannot be printed")

    __repr__ = __str__


@pytest.mark.parametrize("operator", PROGRAMS)
def test_the_failing_operator_and_record_are_found(operator: str) -> None:
    program, record = PROGRAMS[operator]
    sc = NaiveDriver(2)

    with pytest.raises(ValueError, match=r"no sevens|cannot be printed") as failed:
        program(sc.parallelize(range(20), 2))

    assert sc.last_task is not None
    failure = describe_failure(failed.value, sc.last_task)
    assert failure.where.startswith(f"{operator} at test_rdd_usererror.py:")
    assert failure.where.endswith(", partition 0")
    assert failure.record_index == 7
    assert failure.record == ("<Unprintable whose repr raises ValueError>" if record == "<" else record)


def test_the_failing_merge_of_a_narrow_combination_is_found() -> None:
    sc = NaiveDriver(2)

    with pytest.raises(ValueError, match="no sevens") as failed:
        sc.parallelize(range(20), 2).keyBy(str).partitionBy(1).aggregateByKey(0, lambda a, b: boom(b), max, 1).count()

    assert sc.last_task is not None
    where, _, record = describe_failure(failed.value, sc.last_task)
    assert where.startswith("aggregateByKey at test_rdd_usererror.py:")
    assert record == "('7', 7)"


def test_a_stop_iteration_is_traced_to_its_operator() -> None:
    sc = NaiveDriver(2)

    for program in (lambda r: r.map(stop).map(str).collect(), lambda r: r.flatMap(stop).count()):
        with pytest.raises(RuntimeError, match="StopIteration") as failed:
            program(sc.parallelize([7], 1).map(lambda x: x))

        assert sc.last_task is not None
        failure = describe_failure(failed.value, sc.last_task)
        assert "test_rdd_usererror.py:" in failure.where
        assert failure.record == "7"


def test_a_result_that_cannot_be_iterated_names_the_record_it_was_made_of() -> None:
    sc = NaiveDriver(1)

    with pytest.raises(TypeError) as failed:
        sc.parallelize(range(20), 1).flatMap(lambda x: x if x == 7 else [x]).map(str).collect()

    assert sc.last_task is not None
    assert describe_failure(failed.value, sc.last_task).record == "7"


def test_the_index_counts_through_the_batches_of_a_partition() -> None:
    sc = NaiveDriver(1)

    with pytest.raises(ZeroDivisionError) as failed:
        sc.parallelize(list(range(12_000)), 1).map(lambda x: 1 // (x - 11_000)).count()

    assert sc.last_task is not None
    assert describe_failure(failed.value, sc.last_task).record_index == 11_000


class Damaged:
    """A record that can be pickled and not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (boom, (7,))


def test_a_record_that_an_operator_was_done_with_is_not_blamed() -> None:
    sc = NaiveDriver(1)

    with pytest.raises(ValueError, match="no sevens") as failed:
        sc.parallelize([*range(5_000), Damaged()], 1).map(str).count()

    assert sc.last_task is not None
    where, index, record = describe_failure(failed.value, sc.last_task)
    assert where.startswith("map at")
    assert (index, record) == (4_999, None)


def test_an_error_outside_of_any_operator_has_no_place_and_no_record() -> None:
    sc = NaiveDriver(1)
    rdd = sc.parallelize([1], 1)
    task = sc._task(rdd, 0)

    assert describe_failure(ValueError("elsewhere"), task) == ("", -1, None)


def test_call_sites_are_the_users_lines() -> None:
    rdd = NaiveDriver(1).parallelize([1]).map(boom).distinct()

    line = inspect.currentframe().f_lineno - 2  # type: ignore[union-attr]
    assert rdd.call_site == f"test_rdd_usererror.py:{line}"


def test_a_representation_is_cut_at_two_hundred_characters() -> None:
    assert len(short_repr("x" * 1000)) == 200
    assert short_repr("x" * 1000).endswith("...")
    assert short_repr([1, 2]) == "[1, 2]"


def test_a_failing_merge_is_found_on_both_sides_of_a_real_shuffle(sc_threads: SparkContext) -> None:
    for records, failing_pair in (([(1, 7)] * 4, "(1, 7)"), ([(1, 7)] * 2, "(1, 7)")):
        for merge in (lambda a, b: boom(b), lambda a, b: stop(b)):
            with pytest.raises(UserCodeError) as failed:
                sc_threads.parallelize(records, 2).reduceByKey(merge).collect()

            assert "reduceByKey at test_rdd_usererror.py:" in failed.value.attempted
            assert failing_pair in failed.value.attempted


def test_a_failing_partition_function_is_not_blamed_on_a_record_it_may_not_have_seen(sc_threads: SparkContext) -> None:
    pairs = sc_threads.parallelize([(i, i) for i in range(20)], 1)

    with pytest.raises(UserCodeError, match="no sevens") as failed:
        pairs.partitionBy(2, boom).collect()

    assert failed.value.attempted.startswith("running partitionBy at test_rdd_usererror.py:")
    assert "record" not in failed.value.attempted


@pytest.mark.parametrize("times", [1, 3])  # from the second time on functions are compiled into the loop
def test_what_reads_the_results_of_a_flat_map_is_blamed_for_its_own_errors(times: int) -> None:
    sc = NaiveDriver(1)
    words = sc.parallelize(["spark rdd", "dask"], 1).flatMap(str.split)
    lengths = words.map(lambda word: 1 // (len(word) - 3))

    for _ in range(times):
        with pytest.raises(ZeroDivisionError) as failed:
            lengths.collect()

    assert sc.last_task is not None
    where, _, record = describe_failure(failed.value, sc.last_task)
    assert where.startswith("map at test_rdd_usererror.py:")
    assert record == "'rdd'"
