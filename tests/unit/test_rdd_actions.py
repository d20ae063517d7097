"""Actions: their values, their jobs, their errors."""

from __future__ import annotations

from operator import add, sub
from typing import Any

import pytest

from tests.support.naive_driver import NaiveDriver

NUMBERS = [5, 3, 8, 1, 9, 2, 7, 5, 3]


@pytest.fixture
def sc() -> NaiveDriver:
    return NaiveDriver(4)


def test_take_reads_one_partition_and_then_up_to_four_times_more(sc: NaiveDriver) -> None:
    assert sc.parallelize([], 20).take(1) == []
    assert sc.job_partitions == [[0], [1, 2, 3, 4], list(range(5, 20))]

    sc.job_partitions.clear()
    assert sc.parallelize(range(100), 20).take(50) == list(range(50))
    assert [len(partitions) for partitions in sc.job_partitions] == [1, 4, 10]


def test_take_stops_reading_a_partition_when_it_has_enough(sc: NaiveDriver) -> None:
    def one_only(records: Any) -> Any:
        yield next(records)
        raise AssertionError("read on")

    assert sc.parallelize(range(10), 1).mapPartitions(one_only).take(1) == [0]


@pytest.mark.parametrize(("num", "expected"), [(-1, []), (0, []), (2, [5, 3]), (100, NUMBERS)])
def test_take_gives_at_most_what_there_is(sc: NaiveDriver, num: int, expected: list[int]) -> None:
    assert sc.parallelize(NUMBERS, 3).take(num) == expected


def test_first_of_nothing_and_reductions_of_nothing_say_so(sc: NaiveDriver) -> None:
    empty = sc.parallelize([], 2)

    with pytest.raises(ValueError, match=r"^RDD is empty$"):
        empty.first()
    for action in (lambda r: r.reduce(add), lambda r: r.max(), lambda r: r.min()):
        with pytest.raises(ValueError, match=r"^Can not reduce\(\) empty RDD$"):
            action(empty)
    with pytest.raises(ValueError, match=r"^Cannot reduce empty RDD\.$"):
        empty.treeReduce(add)
    with pytest.raises(ValueError, match=r"^Depth cannot be smaller than 1 but got 0\.$"):
        empty.treeReduce(add, 0)
    with pytest.raises(ValueError, match=r"^top N cannot be negative\.$"):
        empty.takeOrdered(-1)


def test_fold_uses_its_zero_in_each_partition_and_once_more(sc: NaiveDriver) -> None:
    assert sc.parallelize([1, 2, 3, 4], 4).fold(1, add) == 15


def test_a_mutable_zero_is_copied_for_each_use(sc: NaiveDriver) -> None:
    zero: list[int] = []

    def gathered(acc: list[int], x: int) -> list[int]:
        acc.append(x)
        return acc

    def merged(a: list[int], b: list[int]) -> list[int]:
        a.extend(b)
        return a

    rdd = sc.parallelize([1, 2, 3, 4], 2)
    assert rdd.aggregate(zero, gathered, merged) == rdd.aggregate(zero, gathered, merged) == [1, 2, 3, 4]
    assert rdd.treeAggregate(zero, gathered, merged) == [1, 2, 3, 4]
    pairs = rdd.keyBy(lambda x: x % 2)
    assert pairs.aggregateByKey(zero, gathered, merged).collectAsMap() == {0: [2, 4], 1: [1, 3]}
    assert zero == []


def test_reduce_goes_in_partition_order(sc: NaiveDriver) -> None:
    # (5-3-8) - (1-9-2) - (7-5-3)
    assert sc.parallelize(NUMBERS, 3).reduce(sub) == 5


@pytest.mark.parametrize("partitions", [1, 2, 10, 17])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_trees_of_any_depth_give_the_flat_result(sc: NaiveDriver, partitions: int, depth: int) -> None:
    rdd = sc.parallelize(range(100), partitions)

    assert rdd.treeAggregate(0, add, add, depth) == rdd.treeReduce(add, depth) == 4950


def test_a_stop_iteration_of_the_user_fails_the_job_and_never_shortens_it(sc: NaiveDriver) -> None:
    def stop(*args: Any) -> Any:
        raise StopIteration

    rdd = sc.parallelize(range(10), 2)
    for program in (
        lambda: rdd.map(stop).collect(),
        lambda: rdd.filter(stop).count(),
        lambda: rdd.flatMap(stop).collect(),
        lambda: rdd.mapPartitions(stop).collect(),
        lambda: rdd.keyBy(stop).collect(),
        lambda: rdd.map(lambda x: (x, x)).mapValues(stop).collect(),
        lambda: rdd.map(lambda x: (x, x)).flatMapValues(stop).collect(),
        lambda: rdd.map(lambda x: (1, x)).reduceByKey(stop).collect(),
        lambda: rdd.reduce(stop),
        lambda: rdd.fold(0, stop),
        lambda: rdd.foreach(stop),
        lambda: rdd.takeOrdered(2, key=stop),
    ):
        with pytest.raises((RuntimeError, StopIteration)):
            program()


def test_a_system_exit_of_the_user_passes_through(sc: NaiveDriver) -> None:
    with pytest.raises(SystemExit):
        sc.parallelize([1]).map(lambda x: exit(1)).collect()


def test_the_largest_and_the_smallest(sc: NaiveDriver) -> None:
    rdd = sc.parallelize(NUMBERS, 3)

    assert (rdd.max(), rdd.min(), rdd.max(key=lambda x: x % 5), rdd.min(key=lambda x: x % 3)) == (9, 1, 9, 3)
    assert rdd.top(3) == [9, 8, 7]
    assert rdd.top(3, key=lambda x: -x) == [1, 2, 3]
    assert rdd.takeOrdered(4) == [1, 2, 3, 3]
    assert rdd.takeOrdered(0) == []
    assert sc.emptyRDD().takeOrdered(2) == []


def test_counts_are_a_dictionary_with_default_zero(sc: NaiveDriver) -> None:
    counts = sc.parallelize(NUMBERS, 3).countByValue()

    assert (counts[5], counts[3], counts[100]) == (2, 2, 0)
    assert dict(sc.parallelize([("a", 1), ("a", 2)]).countByKey()) == {"a": 2}


def test_lookup_reads_one_partition_where_the_partitioner_says_which(sc: NaiveDriver) -> None:
    pairs = sc.parallelize([(1, "a"), (2, "b"), (1, "c")], 2)

    assert pairs.lookup(1) == ["a", "c"]
    assert sc.job_partitions[-1] == [0, 1]
    assert pairs.partitionBy(3).lookup(1) == ["a", "c"]
    assert sc.job_partitions[-1] == [1]
    assert pairs.lookup(9) == []


def test_a_local_iterator_runs_one_job_per_partition_when_it_gets_there(sc: NaiveDriver) -> None:
    records = sc.parallelize(range(6), 3).toLocalIterator()
    assert sc.jobs == []

    assert [next(records) for _ in range(3)] == [0, 1, 2]

    assert sc.job_partitions == [[0], [1]]


def test_zip_checks_partitions_at_once_and_lengths_in_the_job(sc: NaiveDriver) -> None:
    with pytest.raises(ValueError, match="same number of partitions"):
        sc.parallelize([1, 2], 2).zip(sc.parallelize([1, 2], 1))
    for left, right in (([1, 2, 3], [1, 2]), ([1, 2], [1, 2, 3])):
        zipped = sc.parallelize(left, 2).zip(sc.parallelize(right, 2))
        with pytest.raises(ValueError, match="same number of elements"):
            zipped.collect()


def test_foreach_partition_reads_what_a_generator_function_yields(sc: NaiveDriver) -> None:
    def check(records: Any) -> Any:
        for x in records:
            assert x < 3, "reached"
            yield x

    with pytest.raises(AssertionError, match="reached"):
        sc.parallelize(range(4), 1).foreachPartition(check)
    sc.parallelize(range(4), 1).foreachPartition(lambda records: None)


def test_jobs_carry_the_name_of_their_action(sc: NaiveDriver) -> None:
    rdd = sc.parallelize([(1, 2.0)], 1)
    rdd.collect()
    rdd.values().mean()
    rdd.first()
    rdd.countByKey()
    rdd.max()
    rdd.isEmpty()

    assert sc.jobs == ["collect", "mean", "first", "countByKey", "max", "isEmpty"]


# --- statistics ----------------------------------------------------------------------------------------


def test_statistics_of_numbers(sc: NaiveDriver) -> None:
    rdd = sc.parallelize(NUMBERS, 3)

    assert str(rdd.stats()) == "(count: 9, mean: 4.777777777777778, stdev: 2.615244954653293, max: 9.0, min: 1.0)"
    assert rdd.variance() == 6.8395061728395055
    assert rdd.stats().asDict()["variance"] == rdd.sampleVariance() == 7.694444444444444
    assert rdd.stats().asDict(True)["variance"] == rdd.variance()
    assert rdd.sampleStdev() ** 2 == pytest.approx(rdd.sampleVariance())


def test_statistics_of_nothing(sc: NaiveDriver) -> None:
    empty = sc.parallelize([], 2)

    assert (empty.sum(), empty.mean(), empty.count()) == (0, 0.0, 0)
    assert str(empty.stdev()) == str(empty.variance()) == str(empty.sampleStdev()) == "nan"
    assert (empty.stats().max(), empty.stats().min()) == (float("-inf"), float("inf"))


def test_statistics_of_arrays_are_taken_element_by_element(sc: NaiveDriver) -> None:
    import numpy as np

    stats = sc.parallelize([np.array([1.0, 4.0]), np.array([3.0, 2.0])], 2).stats()

    assert stats.max().tolist() == [3.0, 4.0]
    assert stats.mean().tolist() == [2.0, 3.0]
    assert stats.stdev().tolist() == [1.0, 1.0]


def test_histograms(sc: NaiveDriver) -> None:
    rdd = sc.parallelize(NUMBERS, 3)

    assert rdd.histogram(1) == ([1, 9], [9])
    assert rdd.histogram(2) == ([1, 5, 9], [4, 5])
    assert rdd.histogram(5) == ([1.0, 2.6, 4.2, 5.800000000000001, 7.4, 9], [2, 2, 2, 1, 2])
    assert rdd.histogram((0, 2, 10)) == ((0, 2, 10), [1, 8])
    assert rdd.histogram([0, 5, 10]) == ([0, 5, 10], [4, 5])
    assert sc.parallelize([1, 1]).histogram(2) == ([1, 1], [2])
    assert sc.parallelize([None, float("nan"), 1.5, 9.0]).histogram(2) == ([1.5, 5.25, 9.0], [1, 1])


@pytest.mark.parametrize(
    ("buckets", "error", "text"),
    [
        (0, ValueError, "number of buckets must be >= 1"),
        ([1], ValueError, "more than one value"),
        ([3, 1], ValueError, "sorted"),
        ([1, 1], ValueError, "duplicated"),
        ([1, None], ValueError, "None or NaN"),
        ("x", TypeError, "should be a list"),
    ],
)
def test_histograms_refuse_odd_buckets(sc: NaiveDriver, buckets: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        sc.parallelize(NUMBERS).histogram(buckets)


# --- samples -------------------------------------------------------------------------------------------


def test_samples_are_those_of_spark(sc: NaiveDriver) -> None:
    rdd = sc.parallelize(range(100), 4)

    assert rdd.sample(False, 0.1, 81).collect() == [4, 26, 39, 41, 42, 52, 63, 76, 80, 86, 97]
    assert rdd.sample(True, 0.5, 81).glom().first() == [8, 8, 8, 10, 11, 14, 14, 17, 18, 23, 23]
    assert [part.count() for part in sc.parallelize(range(500), 1).randomSplit([2, 3], 17)] == [192, 308]
    assert sc.parallelize(range(50), 3).takeSample(False, 7, 5) == [33, 34, 6, 28, 49, 29, 45]
    pairs = sc.parallelize([(i % 2, i) for i in range(60)], 3)
    assert pairs.sampleByKey(True, {0: 0.2, 1: 0.7}, 3).values().take(6) == [0, 1, 5, 7, 9, 11]


def test_a_sample_stays_the_same_however_often_it_is_computed(sc: NaiveDriver) -> None:
    sample = sc.parallelize(range(100), 4).sample(False, 0.3)

    assert sample.collect() == sample.collect()


def test_random_splits_share_out_every_record(sc: NaiveDriver) -> None:
    parts = sc.parallelize(range(50), 3).randomSplit([2, 3, 5], 17)

    assert parts[0].collect() == [7, 9, 11, 23, 26, 27, 38, 42, 45, 46, 47]
    assert sorted(x for part in parts for x in part.collect()) == list(range(50))


def test_take_sample_gives_as_many_as_asked(sc: NaiveDriver) -> None:
    rdd = sc.parallelize(range(50), 3)

    assert [len(rdd.takeSample(False, n, 5)) for n in (0, 1, 49, 60)] == [0, 1, 49, 50]
    assert [len(rdd.takeSample(True, n, 5)) for n in (0, 1, 49, 60)] == [0, 1, 49, 60]


def test_samples_refuse_odd_fractions(sc: NaiveDriver) -> None:
    rdd = sc.parallelize([(1, 1)])

    with pytest.raises(ValueError, match=r"^Fraction must be nonnegative\.$"):
        rdd.sample(False, -1.0)
    with pytest.raises(ValueError, match=r"^Sample size cannot be negative\.$"):
        rdd.takeSample(False, -1)
    with pytest.raises(ValueError, match=r"^Sample size cannot be greater than 9223372006484770808"):
        rdd.takeSample(False, 2**63)
    with pytest.raises(ValueError, match=r"^Weights must be nonnegative$"):
        rdd.randomSplit([-1, 2])
    with pytest.raises(ValueError, match=r"^Sum of weights must be positive$"):
        rdd.randomSplit([0, 0])
    with pytest.raises(AssertionError, match="Negative fraction value: -1"):
        rdd.sampleByKey(False, {1: -1.0})


# --- pipe ----------------------------------------------------------------------------------------------


def test_pipe_feeds_records_as_lines_and_reads_lines_back(sc: NaiveDriver) -> None:
    assert sc.parallelize([3, 1, 2], 1).pipe("sort -r").collect() == ["3", "2", "1"]
    assert sc.parallelize(range(100_000), 1).pipe("cat").count() == 100_000
    assert sc.parallelize(["x"], 1).pipe("/usr/bin/env", {"A": "1"}).collect() == ["A=1"]


def test_pipe_fails_the_job_on_request_and_passes_on_errors_of_the_input(sc: NaiveDriver) -> None:
    assert sc.parallelize([1], 1).pipe("false").collect() == []
    with pytest.raises(ValueError, match="pipe takes a command"):
        sc.parallelize([1], 1).pipe(" ")
    with pytest.raises(RuntimeError, match="exited with error code 1"):
        sc.parallelize([1], 1).pipe("false", checkCode=True).collect()
    with pytest.raises(ZeroDivisionError):
        sc.parallelize([0], 1).map(lambda x: 1 // x).pipe("cat").collect()
