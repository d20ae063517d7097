"""Which record is in which partition. The expected layouts were observed on PySpark 4.3."""

from __future__ import annotations

from operator import add
from typing import Any

import pytest

from sparklab.rdd.xorshift import first_int
from tests.support.naive_driver import NaiveDriver

PAIRS = [(1, "a"), (2, "b"), (1, "c"), (3, "d"), (2, "e"), (10, "f"), (1, "g")]
OTHERS = [(1, "X"), (2, "Y"), (1, "Z"), (7, "W")]
NUMBERS = [5, 3, 8, 1, 9, 2, 7, 5, 3]


@pytest.fixture
def sc() -> NaiveDriver:
    return NaiveDriver(4)


def layout(rdd: Any) -> list[list[Any]]:
    return rdd.glom().collect()


def sizes(rdd: Any) -> list[int]:
    return [len(part) for part in layout(rdd)]


def test_a_list_is_dealt_out_in_batches_and_a_range_is_cut_evenly(sc: NaiveDriver) -> None:
    assert sizes(sc.parallelize(list(range(10)), 4)) == [2, 2, 2, 4]
    assert sizes(sc.parallelize(range(10), 4)) == sizes(sc.range(10, numSlices=4)) == [2, 3, 2, 3]
    assert sizes(sc.parallelize(list(range(2500)), 2)) == [1024, 1476]
    assert sizes(sc.parallelize(list(range(5000)), 3)) == [1024, 2048, 1928]
    assert layout(sc.parallelize(range(3, 40, 4), 7)) == [[3], [7], [11, 15], [19], [23, 27], [31], [35, 39]]


def test_anything_iterable_can_be_parallelized(sc: NaiveDriver) -> None:
    assert layout(sc.parallelize("hello", 2)) == [["h", "e"], ["l", "l", "o"]]
    assert sc.parallelize({1: 2, 3: 4}, 2).collect() == [1, 3]
    assert sc.parallelize(x * x for x in range(4)).collect() == [0, 1, 4, 9]


def test_an_empty_list_has_default_parallelism_partitions_and_an_empty_rdd_none(sc: NaiveDriver) -> None:
    assert layout(sc.parallelize([])) == [[], [], [], []]
    assert sc.emptyRDD().getNumPartitions() == 0
    assert sc.emptyRDD().reduceByKey(add).collect() == []


def test_parallelize_takes_the_data_as_it_is_at_the_call(sc: NaiveDriver) -> None:
    data = [[1], [2]]
    rdd = sc.parallelize(data, 2)
    data[0].append(99)
    data.append([3])

    assert rdd.collect() == [[1], [2]]
    rdd.foreach(lambda box: box.append(0))
    assert rdd.collect() == [[1], [2]]


def test_parallelize_into_no_slices_is_an_error(sc: NaiveDriver) -> None:
    with pytest.raises(ValueError, match="Positive number"):
        sc.parallelize([1], 0)


@pytest.mark.parametrize(
    ("bound", "starts"),
    [
        (2, [1, 1, 0, 0, 0, 0, 0, 1]),
        (3, [0, 1, 2, 0, 2, 2, 0, 2]),
        (4, [1, 1, 0, 3, 3, 0, 0, 2]),
        (5, [4, 4, 4, 3, 4, 1, 1, 1]),
        (7, [3, 6, 2, 0, 2, 2, 4, 2]),
        (16, [4, 4, 0, 12, 10, 15, 13, 7]),
    ],
)
def test_repartition_starts_each_partition_where_spark_does(bound: int, starts: list[int]) -> None:
    assert [(first_int(partition, bound) + 1) % bound for partition in range(8)] == starts


def test_the_generator_draws_again_where_spark_does() -> None:
    assert [first_int(seed, 2**30 + 1) for seed in range(4)] == [520798028, 512468703, 447153120, 943801493]


def test_repartition_moves_batches_of_ten(sc: NaiveDriver) -> None:
    assert sizes(sc.parallelize(range(10), 1).repartition(3)) == [10, 0, 0]
    assert sizes(sc.parallelize(range(100), 2).repartition(3)) == [30, 40, 30]
    assert layout(sc.parallelize(list(range(57)), 4).coalesce(3, shuffle=True)) == [
        [*range(10), *range(38, 52)],
        [*range(10, 24), *range(52, 57)],
        [*range(24, 38)],
    ]


def test_coalesce_joins_neighbours_and_cannot_grow(sc: NaiveDriver) -> None:
    rdd = sc.parallelize(range(20), 7)

    assert layout(rdd.coalesce(3)) == [[*range(5)], [*range(5, 11)], [*range(11, 20)]]
    assert sizes(rdd.coalesce(4)) == [2, 6, 6, 6]
    assert rdd.coalesce(10).getNumPartitions() == 7
    assert sizes(rdd.coalesce(10, shuffle=True)) == sizes(rdd.repartition(10))


@pytest.mark.parametrize("partitions", [0, -1])
def test_coalesce_and_repartition_need_a_positive_number(sc: NaiveDriver, partitions: int) -> None:
    for operator in (sc.parallelize([1]).coalesce, sc.parallelize([1]).repartition):
        with pytest.raises(ValueError, match=r"Number of partitions must be positive\."):
            operator(partitions)


def test_reduced_keys_are_placed_by_their_hash_in_order_of_appearance(sc: NaiveDriver) -> None:
    pairs = sc.parallelize(PAIRS, 3)

    assert layout(pairs.reduceByKey(add)) == [[(3, "d")], [(1, "acg"), (10, "f")], [(2, "be")]]
    # Each partition of the input starts a fold of its own for key 1.
    assert layout(pairs.foldByKey("-", add, 2)) == [[(2, "-b-e"), (10, "-f")], [(1, "-a-c-g"), (3, "-d")]]
    assert layout(pairs.groupByKey(4).mapValues(list)) == [
        [],
        [(1, ["a", "c", "g"])],
        [(2, ["b", "e"]), (10, ["f"])],
        [(3, ["d"])],
    ]
    keys = sc.parallelize([((i % 3, i % 2), 1) for i in range(12)], 2)
    assert layout(keys.reduceByKey(add, 4)) == [
        [((1, 1), 2), ((2, 0), 2)],
        [((0, 1), 2)],
        [((0, 0), 2)],
        [((1, 0), 2), ((2, 1), 2)],
    ]


def test_sets_are_placed_like_keys(sc: NaiveDriver) -> None:
    numbers = sc.parallelize(NUMBERS, 3)

    assert layout(numbers.distinct()) == [[3, 9], [1, 7], [5, 8, 2]]
    assert layout(numbers.intersection(sc.parallelize([3, 5, 5, 100], 2))) == [[5], [], [], [3], []]
    assert layout(numbers.subtract(sc.parallelize([3, 9], 2))) == [[5, 5], [1], [2, 7], [8], []]


def test_a_join_has_the_partitions_of_both_sides_and_pairs_values_in_order(sc: NaiveDriver) -> None:
    left, right = sc.parallelize(PAIRS, 3), sc.parallelize(OTHERS, 2)
    ones = [(1, (v, w)) for v in "acg" for w in "XZ"]
    twos = [(2, ("b", "Y")), (2, ("e", "Y"))]

    assert layout(left.join(right)) == [[], ones, twos, [], []]
    assert layout(left.join(right, 2)) == [twos, ones]
    assert layout(left.fullOuterJoin(right)) == [
        [(10, ("f", None))],
        ones,
        [*twos, (7, (None, "W"))],
        [(3, ("d", None))],
        [],
    ]
    assert left.leftOuterJoin(right).count() == 10
    assert left.rightOuterJoin(right).count() == 9
    assert layout(left.subtractByKey(right, 2)) == [[(10, "f")], [(3, "d")]]


def test_cogroup_gives_iterables_of_known_length_in_input_order(sc: NaiveDriver) -> None:
    left, right = sc.parallelize(PAIRS, 3), sc.parallelize(OTHERS, 2)

    grouped = left.cogroup(right, 2)

    assert [[(k, list(v), list(w)) for k, (v, w) in part] for part in layout(grouped)] == [
        [(2, ["b", "e"], ["Y"]), (10, ["f"], [])],
        [(1, ["a", "c", "g"], ["X", "Z"]), (3, ["d"], []), (7, [], ["W"])],
    ]
    assert len(grouped.first()[1][0]) == 2
    assert [len(groups) for _, groups in left.groupWith(right, right).collect()] == [3] * 5


def test_a_union_of_equally_partitioned_rdds_keeps_partitions_and_partitioner(sc: NaiveDriver) -> None:
    left, right = sc.parallelize(PAIRS, 3).partitionBy(3), sc.parallelize(OTHERS, 2).partitionBy(3)

    both = left.union(right)

    assert both.partitioner == left.partitioner
    assert layout(both)[2] == [(2, "b"), (2, "e"), (2, "Y")]
    assert left.union(sc.parallelize(OTHERS, 2)).getNumPartitions() == 5
    assert left.union(sc.parallelize(OTHERS, 2)).partitioner is None


def test_pairs_are_sorted_within_the_partition_their_key_is_placed_in(sc: NaiveDriver) -> None:
    pairs = sc.parallelize(PAIRS, 3)

    assert layout(pairs.repartitionAndSortWithinPartitions(2, ascending=False)) == [
        [(10, "f"), (2, "b"), (2, "e")],
        [(3, "d"), (1, "a"), (1, "c"), (1, "g")],
    ]


def test_a_sort_is_stable_in_both_directions_and_keeps_a_key_in_one_partition(sc: NaiveDriver) -> None:
    pairs = sc.parallelize(PAIRS, 3)

    for ascending in (True, False):
        ordered = pairs.sortByKey(ascending, 3)
        assert ordered.collect() == sorted(PAIRS, key=lambda pair: pair[0], reverse=not ascending)
        keys = [{k for k, _ in part} for part in layout(ordered)]
        assert sum(map(len, keys)) == len(set.union(*keys))
    assert sc.parallelize(NUMBERS, 3).sortBy(lambda x: -x).collect() == sorted(NUMBERS, reverse=True)


def test_unique_ids_step_by_the_number_of_partitions(sc: NaiveDriver) -> None:
    numbers = sc.parallelize(NUMBERS, 3)

    assert layout(numbers.zipWithUniqueId()) == [
        [(5, 0), (3, 3), (8, 6)],
        [(1, 1), (9, 4), (2, 7)],
        [(7, 2), (5, 5), (3, 8)],
    ]
    assert numbers.zipWithIndex().values().collect() == list(range(9))


def test_cartesian_has_the_product_of_the_partitions(sc: NaiveDriver) -> None:
    product = sc.parallelize([1, 2, 3], 2).cartesian(sc.parallelize("ab", 2))

    assert layout(product) == [[(1, "a")], [(1, "b")], [(2, "a"), (3, "a")], [(2, "b"), (3, "b")]]
