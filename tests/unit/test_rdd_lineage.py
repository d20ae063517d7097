"""What an RDD knows before anything runs: laziness, partitioners, narrow and wide, long lineages, names."""

from __future__ import annotations

import inspect
import pickle
from operator import add
from typing import Any

import cloudpickle
import pytest

from sparklab.rdd import RDD, Partitioner, portable_hash
from sparklab.rdd.dependency import Shuffle
from sparklab.rdd.sources import union
from sparklab.storage.level import StorageLevel
from tests.support.naive_driver import NaiveDriver


@pytest.fixture
def sc() -> NaiveDriver:
    return NaiveDriver(3)


def shuffles(rdd: Any) -> int:
    """The number of shuffles in the lineage of `rdd`."""
    found, stack, seen = 0, [rdd], set()
    while stack:
        node = stack.pop()
        if node.id() in seen:
            continue
        seen.add(node.id())
        found += sum(isinstance(d, Shuffle) for d in node.dependencies)
        stack.extend(d.rdd for d in node.dependencies)
    return found


def boom(*args: Any) -> Any:
    raise AssertionError("called while an RDD was being defined")


def test_defining_rdds_runs_no_user_function_and_starts_no_job(sc: NaiveDriver) -> None:
    rdd = sc.parallelize([(1, 2), (3, 4)], 2)

    made = [
        rdd.map(boom), rdd.filter(boom), rdd.flatMap(boom), rdd.mapPartitions(boom),
        rdd.keyBy(boom), rdd.mapValues(boom),
        rdd.reduceByKey(boom), rdd.combineByKey(boom, boom, boom), rdd.aggregateByKey(0, boom, boom), rdd.groupBy(boom),
        rdd.partitionBy(2, boom), rdd.sortBy(boom), rdd.sortByKey(keyfunc=boom), rdd.zipWithIndex(),
        rdd.map(boom).join(rdd),
        rdd.zipWithIndex().map(boom).reduceByKey(boom), rdd.map(boom).zipWithUniqueId(), rdd.map(boom).cartesian(rdd),
        rdd.map(boom).sample(False, 0.5), rdd.map(boom).cache(), rdd.map(boom).distinct(),
        rdd.map(boom).repartition(3),
        sc.textFile("/no/such/file"), sc.textFile("/no/such/file").union(rdd).map(boom),
    ]  # fmt: skip

    assert sc.jobs == []
    assert all(isinstance(r, RDD) for r in made)


def test_zip_with_index_counts_once_and_only_when_an_action_asks(sc: NaiveDriver) -> None:
    indexed = sc.parallelize("abcd", 3).zipWithIndex()
    assert indexed.map(str).getNumPartitions() == 3
    assert sc.jobs == []

    indexed.collect()
    indexed.count()

    assert sc.jobs == ["zipWithIndex", "collect", "count"]
    assert sc.job_partitions[0] == [0, 1]  # the size of the last partition is nobody's offset


def test_zip_with_index_of_one_partition_needs_no_counting_job(sc: NaiveDriver) -> None:
    sc.parallelize("abcd", 1).zipWithIndex().collect()

    assert sc.jobs == ["collect"]


def test_operators_that_keep_keys_keep_the_partitioner_and_map_drops_it(sc: NaiveDriver) -> None:
    pairs = sc.parallelize([(1, 2)], 2).partitionBy(4)

    assert pairs.partitioner == Partitioner(4, portable_hash)
    kept = [
        pairs.mapValues(str),
        pairs.flatMapValues(list),
        pairs.filter(bool),
        pairs.map(str, True),
        pairs.join(pairs),
    ]
    assert all(r.partitioner == pairs.partitioner for r in kept)
    assert pairs.map(str).partitioner is None
    assert pairs.keyBy(str).partitioner is None
    assert pairs.sortByKey().partitioner is None


def test_partition_by_the_same_partitioner_gives_the_same_object(sc: NaiveDriver) -> None:
    pairs = sc.parallelize([(1, 2)], 2).partitionBy(2)

    assert pairs.partitionBy(2) is pairs
    assert pairs.partitionBy(3) is not pairs
    assert pairs.partitionBy(2, hash) is not pairs


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (lambda p, q: p.reduceByKey(add), 1),
        (lambda p, q: p.groupByKey(), 1),
        (lambda p, q: p.aggregateByKey(0, add, add), 1),
        (lambda p, q: p.join(q), 2),
        (lambda p, q: p.cogroup(q), 2),
        (lambda p, q: p.union(q).reduceByKey(add), 2),
        (lambda p, q: p.reduceByKey(add, 5), 2),
        (lambda p, q: p.reduceByKey(add, None, hash), 2),
        (lambda p, q: p.mapValues(str).join(q.mapValues(str)).groupByKey(), 2),
        (lambda p, q: p.map(lambda x: x).join(q), 4),
    ],
)
def test_equal_partitioners_make_an_operator_narrow(sc: NaiveDriver, operator: Any, expected: int) -> None:
    left = sc.parallelize([(1, 2), (2, 3)], 2).partitionBy(4)
    right = sc.parallelize([(1, 5), (1, 6)], 2).partitionBy(4)

    assert shuffles(operator(left, right)) == expected


def test_a_side_that_is_partitioned_alike_is_not_shuffled_again(sc: NaiveDriver) -> None:
    left, right = sc.parallelize([(1, 2)], 2).partitionBy(4), sc.parallelize([(1, 5)], 2)

    joined = left.join(right, 4)

    assert shuffles(joined) == 2
    assert joined.collect() == [(1, (2, 5))]


def test_narrow_and_wide_operators_give_the_same(sc: NaiveDriver) -> None:
    pairs = sc.parallelize([(i % 5, [i]) for i in range(40)], 4)
    placed = pairs.partitionBy(4)

    def extended(a: list[int], b: list[int]) -> list[int]:
        a.extend(b)
        return a

    for operator in (
        lambda r: r.reduceByKey(extended, 4),
        lambda r: r.foldByKey([], extended, 4),
        lambda r: r.groupByKey(4).mapValues(list),
        lambda r: r.cogroup(placed, 4).mapValues(lambda groups: tuple(map(list, groups))),
    ):
        assert operator(placed).glom().collect() == operator(pairs).glom().collect()


def test_without_a_number_a_shuffle_takes_the_configured_parallelism(sc: NaiveDriver) -> None:
    pairs = sc.parallelize([(1, 2)], 2)
    assert pairs.reduceByKey(add).getNumPartitions() == 2

    sc.configured_parallelism = 7  # type: ignore[attr-defined]

    assert pairs.reduceByKey(add).getNumPartitions() == pairs.join(pairs).getNumPartitions() == 7


# --- long lineages -----------------------------------------------------------------------------------


def test_a_lineage_ten_thousand_long_is_walked_without_recursion(sc: NaiveDriver) -> None:
    rdd = sc.parallelize(range(4), 2)
    for _ in range(10_000):
        rdd = rdd.map(lambda x: x + 1)

    assert rdd.getNumPartitions() == 2
    assert len(rdd.toDebugString().splitlines()) == 10_001
    assert rdd.filter(lambda x: x % 2).collect() == [10_001, 10_003]


def test_a_union_grown_round_by_round_is_computed_without_recursion(sc: NaiveDriver) -> None:
    rdd = start = sc.parallelize([0], 1)
    for _ in range(2_000):
        rdd = rdd.union(start)

    assert rdd.getNumPartitions() == 2_001
    assert rdd.context.run_job(rdd, lambda index, records: list(records), [0, 1_999]) == [[0], [0]]


def test_operators_and_unions_by_turns_are_no_recursion(sc: NaiveDriver) -> None:
    rdd = start = sc.parallelize([0], 1)
    for _ in range(400):
        rdd = rdd.union(start).map(lambda x: x + 1)

    assert rdd.collect() == [400, *range(400, 0, -1)]


def test_each_operator_is_called_with_the_index_its_own_rdd_has(sc: NaiveDriver) -> None:
    def tagged(index: int, records: Any) -> Any:
        return ((*x, index) for x in records)

    rdd = start = sc.parallelize([()], 1)
    for _ in range(60):
        rdd = start.union(rdd.mapPartitionsWithIndex(tagged).map(lambda x: x))

    assert rdd.collect()[60] == tuple(range(60))


def test_a_long_lineage_names_the_failing_operator(sc: NaiveDriver) -> None:
    from sparklab.rdd.usererror import describe_failure

    rdd = sc.parallelize(range(4), 1)
    for i in range(200):
        rdd = rdd.filter(lambda x: True) if i % 2 else rdd.map(lambda x: x + 1)
        if i == 100:
            culprit = rdd = rdd.map(lambda x: 1 // (x - 53))
            rdd = rdd.map(lambda x: x)

    with pytest.raises(ZeroDivisionError) as failed:
        rdd.collect()

    assert sc.last_task is not None
    where, index, record = describe_failure(failed.value, sc.last_task)
    assert f"(RDD {culprit.id()})" in where
    assert (index, record) == (2, "53")


# --- names and pictures --------------------------------------------------------------------------------


def test_the_debug_string_indents_as_spark_does(sc: NaiveDriver) -> None:
    left = sc.parallelize([(1, 2)], 2).reduceByKey(add)
    right = sc.parallelize([(1, 2)], 12).cache()

    text = left.join(right, 3).setName("joined").toDebugString().decode()

    shape = [line.split("RDD[")[0].rstrip() for line in text.splitlines()]
    assert shape == [
        "(3) joined join",
        " |  join",
        " +-(2) reduceByKey",
        " |  +-(2) parallelize",
        " +-(12) parallelize",
    ]
    assert text.splitlines()[-1].endswith("[Memory Serialized 1x Replicated]")
    assert "test_rdd_lineage.py:" in text


def test_repr_names_operator_id_and_call_site(sc: NaiveDriver) -> None:
    rdd = sc.parallelize([1]).map(str)

    line = inspect.currentframe().f_lineno - 2  # type: ignore[union-attr]
    assert repr(rdd) == f"map RDD[{rdd.id()}] at test_rdd_lineage.py:{line}"
    assert repr(rdd.setName("words")).startswith("words map RDD[")
    assert rdd.name() == "words"


def test_one_operator_of_several_steps_carries_one_name(sc: NaiveDriver) -> None:
    text = sc.parallelize([1]).distinct().toDebugString().decode()

    assert [line.split("RDD[")[0].split()[-1] for line in text.splitlines()] == ["distinct"] * 3 + ["parallelize"]


@pytest.mark.parametrize(
    "name",
    [
        "union",
        "intersection",
        "subtract",
        "cartesian",
        "zip",
        "cogroup",
        "groupWith",
        "join",
        "leftOuterJoin",
        "rightOuterJoin",
        "fullOuterJoin",
        "subtractByKey",
    ],
)
def test_a_list_in_the_place_of_an_rdd_is_refused_at_the_call(sc: NaiveDriver, name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name} takes an RDD, not list: make one of it with sc.parallelize$"):
        getattr(sc.parallelize([("a", 1)]), name)([("a", 2)])


def test_a_union_of_rdds_and_a_list_is_refused_at_the_call(sc: NaiveDriver) -> None:
    for rdds in ([sc.parallelize([1]), [2]], [[2]], [sc.parallelize([1]), range(2)]):
        with pytest.raises(TypeError, match=r"^union takes an RDD, not (list|range): make one of it with sc\.para"):
            union(sc, rdds)


# --- persistence ---------------------------------------------------------------------------------------


def test_persisting_at_another_level_raises_until_unpersisted(sc: NaiveDriver) -> None:
    rdd = sc.parallelize([1, 2]).cache()

    assert rdd.cache() is rdd
    with pytest.raises(ValueError, match="Cannot change storage level"):
        rdd.persist(StorageLevel.MEMORY_AND_DISK)
    rdd.unpersist().persist(StorageLevel.MEMORY_AND_DISK)
    assert rdd.getStorageLevel() == StorageLevel.MEMORY_AND_DISK
    assert rdd.is_cached


@pytest.mark.parametrize("level", ["MEMORY_ONLY", None, 1])
def test_a_level_that_is_no_storage_level_is_refused_and_changes_nothing(sc: NaiveDriver, level: Any) -> None:
    rdd = sc.parallelize([1, 2])

    with pytest.raises(TypeError, match=f"persist takes a StorageLevel, for example .*MEMORY_AND_DISK, not {level!r}"):
        rdd.persist(level)
    assert not rdd.is_cached
    assert rdd.cache().collect() == [1, 2]


def test_a_persisted_rdd_is_computed_once(sc: NaiveDriver) -> None:
    rdd = sc.parallelize(range(4), 2).map(lambda x: [x]).cache()

    assert rdd.map(lambda box: box.append(1) or len(box)).collect() == [2, 2, 2, 2]
    assert rdd.map(len).collect() == [1, 1, 1, 1]
    assert sc.last_task is not None
    assert (sc.last_task.metrics.cache_hits, sc.last_task.metrics.cache_misses) == (1, 0)


def test_signatures_are_pysparks() -> None:
    expected = {
        "aggregate": "zeroValue, seqOp, combOp",
        "aggregateByKey": "zeroValue, seqFunc, combFunc, numPartitions, partitionFunc",
        "cartesian": "other",
        "coalesce": "numPartitions, shuffle",
        "cogroup": "other, numPartitions",
        "combineByKey": "createCombiner, mergeValue, mergeCombiners, numPartitions, partitionFunc",
        "distinct": "numPartitions",
        "flatMap": "f, preservesPartitioning",
        "fold": "zeroValue, op",
        "foldByKey": "zeroValue, func, numPartitions, partitionFunc",
        "groupBy": "f, numPartitions, partitionFunc",
        "groupByKey": "numPartitions, partitionFunc",
        "histogram": "buckets",
        "join": "other, numPartitions",
        "map": "f, preservesPartitioning",
        "mapPartitionsWithIndex": "f, preservesPartitioning",
        "max": "key",
        "partitionBy": "numPartitions, partitionFunc",
        "persist": "storageLevel",
        "pipe": "command, env, checkCode",
        "randomSplit": "weights, seed",
        "reduceByKey": "func, numPartitions, partitionFunc",
        "repartitionAndSortWithinPartitions": "numPartitions, partitionFunc, ascending, keyfunc",
        "sample": "withReplacement, fraction, seed",
        "sampleByKey": "withReplacement, fractions, seed",
        "saveAsTextFile": "path, compressionCodecClass",
        "sortBy": "keyfunc, ascending, numPartitions",
        "sortByKey": "ascending, numPartitions, keyfunc",
        "subtract": "other, numPartitions",
        "takeOrdered": "num, key",
        "takeSample": "withReplacement, num, seed",
        "toLocalIterator": "prefetchPartitions",
        "top": "num, key",
        "treeAggregate": "zeroValue, seqOp, combOp, depth",
        "treeReduce": "f, depth",
        "unpersist": "blocking",
    }

    found = {name: ", ".join(list(inspect.signature(getattr(RDD, name)).parameters)[1:]) for name in expected}

    assert found == expected


def test_every_public_method_has_a_docstring_with_an_example() -> None:
    own = [
        (name, member)
        for name, member in inspect.getmembers(RDD, inspect.isfunction)
        if not name.startswith("_") and member.__module__.startswith("sparklab.rdd.") and name in dir(RDD)
    ]
    hooks = {"compute", "iterator", "preferred_locations", "shipped_state"}

    missing = [name for name, member in own if name not in hooks and ">>>" not in (member.__doc__ or "")]

    assert missing == []
    assert len(own) > 80


def test_python_calls_every_kind_an_rdd(sc: NaiveDriver) -> None:
    numbers = sc.parallelize([1, 2])
    for rdd in (numbers, numbers.map(str), numbers.map(lambda x: (x, x)).groupByKey(), numbers.union(numbers)):
        with pytest.raises(TypeError, match="^'RDD' object is not iterable$"):
            iter(rdd)  # type: ignore[call-overload]
        assert pickle.loads(cloudpickle.dumps(type(rdd))) is type(rdd)
