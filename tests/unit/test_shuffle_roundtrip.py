"""Shuffles from map files to reduce records: order, aggregation, sorting, budgets, damage and bad input."""

from __future__ import annotations

import operator
import os
import pickle
import random
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from sparklab import steps
from sparklab.errors import FetchFailedError, IdentityHashError, SparklabError
from sparklab.rdd.task import TaskContext, TaskMetrics
from sparklab.shuffle.bounds import range_bounds
from sparklab.shuffle.buckets import sub_buckets
from sparklab.shuffle.combine import GROUPING, append_value, extend_list, identity, new_list
from sparklab.shuffle.files import LocalFile, OutputFile, remove_shuffle
from sparklab.shuffle.reader import read_cogrouped, read_reduce_input
from sparklab.shuffle.spec import Aggregator, MapLocation, MapOutput, Ordering, ShuffleInput, ShuffleSpec
from sparklab.shuffle.stable_hash import HashPlacement
from sparklab.shuffle.writer import write_map_output
from tests.support.tasks import a_task

AMPLE = 1 << 26
BUDGETS = [AMPLE, 300_000, 10_000]

SUM = Aggregator(identity, operator.add, operator.add)


def open_local(location: MapLocation) -> LocalFile:
    return LocalFile(location.output.path)


def joined(lists: list[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


class Exchange:
    """Writes the map outputs of one shuffle and reads its partitions back."""

    def __init__(self, directory: Path, spec: ShuffleSpec, maps: list[list[Any]], budget_bytes: int = AMPLE) -> None:
        self.directory = str(directory)
        self.spec = spec
        self.budget_bytes = budget_bytes
        self.map_metrics = TaskMetrics()
        self.outputs: list[MapOutput] = [
            write_map_output(iter(records), spec, i, self.directory, budget_bytes, self.map_metrics)
            for i, records in enumerate(maps)
        ]
        bounds = None
        if spec.ordering is not None:
            samples = [output.samples for output in self.outputs]
            bounds = range_bounds(samples, spec.num_partitions, spec.ordering.ascending)
        self.input = ShuffleInput([MapLocation(output, 3, 7, "", "") for output in self.outputs], bounds)

    def reading(self, index: int, task: TaskContext | None = None) -> Iterator[Any]:
        return read_reduce_input(
            self.spec,
            index,
            self.input,
            open_local,
            self.directory,
            self.budget_bytes,
            task or a_task(),
        )

    def read(self) -> list[list[Any]]:
        return [list(self.reading(index)) for index in range(self.spec.num_partitions)]

    def read_all(self) -> list[Any]:
        return joined(self.read())


def by_hash(maps: int, partitions: int, aggregator: Aggregator | None = None) -> ShuffleSpec:
    return ShuffleSpec(5, maps, partitions, HashPlacement(partitions), aggregator)


def by_order(maps: int, partitions: int, ordering: Ordering) -> ShuffleSpec:
    return ShuffleSpec(5, maps, partitions, HashPlacement(1), None, ordering)


def random_pairs(maps: int, records: int, keys: int, seed: int = 1) -> list[list[Any]]:
    draw = random.Random(seed)
    return [[(f"key {draw.randrange(keys)}", draw.randrange(100)) for _ in range(records)] for _ in range(maps)]


@pytest.mark.parametrize("budget_bytes", BUDGETS)
def test_plain_pairs_arrive_in_map_order_whatever_the_budget(tmp_path: Path, budget_bytes: int) -> None:
    maps = random_pairs(3, 6_000, 500)
    exchange = Exchange(tmp_path, by_hash(3, 4), maps, budget_bytes)
    place = HashPlacement(4)
    records = [record for each in maps for record in each]
    assert exchange.read() == [[r for r in records if place(r[0]) == p] for p in range(4)]
    assert sum(output.records for output in exchange.outputs) == 18_000


@pytest.mark.parametrize("budget_bytes", BUDGETS)
@pytest.mark.parametrize("merge", [operator.add, lambda a, b: a + b])
def test_each_key_arrives_once_with_its_combiner(
    tmp_path: Path, budget_bytes: int, merge: Callable[[Any, Any], Any]
) -> None:
    maps = random_pairs(3, 30_000, 4_000)
    exchange = Exchange(tmp_path, by_hash(3, 4, Aggregator(identity, merge, merge)), maps, budget_bytes)
    expected: dict[str, int] = defaultdict(int)
    for each in maps:
        for k, v in each:
            expected[k] += v
    records = exchange.read_all()
    assert len(records) == len(expected)
    assert dict(records) == expected
    assert (exchange.map_metrics.spilled_bytes > 0) == (budget_bytes < AMPLE)


@pytest.mark.parametrize("budget_bytes", BUDGETS)
@pytest.mark.parametrize(
    "grouping",
    [
        GROUPING,
        Aggregator(lambda v: [v], lambda c, v: [*c, v], operator.add, map_side=False),
        Aggregator(new_list, append_value, extend_list),
    ],
)
def test_values_are_grouped_in_map_order(tmp_path: Path, budget_bytes: int, grouping: Aggregator) -> None:
    maps = random_pairs(3, 4_000, 300)
    expected: dict[str, list[int]] = defaultdict(list)
    for each in maps:
        for k, v in each:
            expected[k].append(v)
    records = Exchange(tmp_path, by_hash(3, 2, grouping), maps, budget_bytes).read_all()
    assert len(records) == len(expected)
    assert dict(records) == expected


@pytest.mark.parametrize("budget_bytes", [AMPLE, 4_000_000, 300_000])
@pytest.mark.parametrize("aggregator", [SUM, GROUPING])
def test_large_partitions_are_aggregated_sub_bucket_by_sub_bucket_with_small_maps_among_them(
    tmp_path: Path, aggregator: Aggregator, budget_bytes: int
) -> None:
    maps = [*random_pairs(2, 60_000, 30_000), *random_pairs(1, 700, 600, seed=7), []]
    exchange = Exchange(tmp_path, by_hash(4, 2, aggregator), maps, AMPLE)
    assert sub_buckets(exchange.spec) > 1
    assert min(array("Q", exchange.outputs[0].reduce_bytes)) * 2 > 1 << 18
    footers = [location.output.sub_buckets for location in exchange.input.locations]
    assert footers == [32, 32, 1, 1]
    exchange.budget_bytes = budget_bytes
    expected: dict[str, Any] = {}
    for each in maps:
        for k, v in each:
            if aggregator is SUM:
                expected[k] = expected.get(k, 0) + v
            else:
                expected.setdefault(k, []).append(v)
    task = a_task()
    partitions = [list(exchange.reading(index, task)) for index in range(2)]
    assert all(HashPlacement(2)(k) == p for p in range(2) for k, _ in partitions[p])
    assert sum(map(len, partitions)) == len(expected)
    assert dict(joined(partitions)) == expected
    assert exchange.read() == partitions
    assert task.metrics.shuffle_bytes_read == sum(sum(array("Q", o.reduce_bytes)) for o in exchange.outputs)
    assert task.metrics.records_read == sum(o.records for o in exchange.outputs)


@pytest.mark.parametrize("budget_bytes", [AMPLE, 3_000_000, 100_000])
@pytest.mark.parametrize("narrow", [False, True])
def test_large_cogroups_go_sub_bucket_by_sub_bucket(tmp_path: Path, budget_bytes: int, narrow: bool) -> None:
    left, right = random_pairs(2, 40_000, 30_000), [*random_pairs(2, 30_000, 60_000, seed=3), [("only", 1)]]
    place = HashPlacement(2)
    exchanges = [
        Exchange(tmp_path, ShuffleSpec(n, len(maps), 2, place, GROUPING), maps) for n, maps in enumerate((left, right))
    ]
    for p in range(2):
        sides: list[Any] = [(exchange.spec, exchange.input) for exchange in exchanges]
        mine = [[r for r in joined(maps) if place(r[0]) == p] for maps in (left, right)]
        if narrow:
            sides[0] = iter(mine[0])
        expected: dict[Any, Any] = {}
        for n in range(2):
            for k, v in mine[n]:
                expected.setdefault(k, ([], []))[n].append(v)
        task = a_task()
        records = list(read_cogrouped(sides, 2, p, open_local, str(tmp_path), budget_bytes, task))
        assert len(records) == len(expected)
        assert dict(records) == expected
        # half of the budget is not enough to draw a narrow side's pairs at once
        assert (task.metrics.spilled_bytes > 0) == (budget_bytes == 100_000 or (narrow and budget_bytes == 3_000_000))
    assert not [name for name in os.listdir(tmp_path) if not name.startswith("shuffle_")]


def test_many_small_maps_over_the_budget_are_split_through_files(tmp_path: Path) -> None:
    maps = random_pairs(60, 1_500, 20_000)
    exchange = Exchange(tmp_path, by_hash(60, 2, GROUPING), maps)
    exchange.budget_bytes = 500_000
    task = a_task()
    records = list(exchange.reading(0, task))
    place = HashPlacement(2)
    assert sum(len(values) for _, values in records) == sum(place(k) == 0 for each in maps for k, _ in each)
    assert len({k for k, _ in records}) == len(records)
    assert task.metrics.spilled_bytes > 0


@pytest.mark.parametrize("budget_bytes", [AMPLE, 300_000])
def test_a_map_output_lost_between_two_sub_buckets_is_named_or_was_read_already(
    tmp_path: Path, budget_bytes: int
) -> None:
    exchange = Exchange(tmp_path, by_hash(2, 1, GROUPING), random_pairs(2, 60_000, 30_000))
    exchange.budget_bytes = budget_bytes
    reading = exchange.reading(0)
    next(reading)
    os.unlink(exchange.outputs[1].path)
    if budget_bytes == AMPLE:
        assert len(list(reading)) > 20_000
    else:
        with pytest.raises(FetchFailedError):
            list(reading)


@pytest.mark.parametrize("budget_bytes", BUDGETS)
def test_reading_again_gives_the_same_records_in_the_same_order(tmp_path: Path, budget_bytes: int) -> None:
    maps = random_pairs(3, 4_000, 900)
    for aggregator in (None, SUM, GROUPING):
        exchange = Exchange(tmp_path, by_hash(3, 2, aggregator), maps, budget_bytes)
        first = exchange.read()
        files = [Path(output.path).read_bytes() for output in exchange.outputs]
        again = Exchange(tmp_path, by_hash(3, 2, aggregator), maps, budget_bytes)
        assert again.read() == first
        assert [Path(output.path).read_bytes() for output in again.outputs] == files


@pytest.mark.parametrize("budget_bytes", BUDGETS)
@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("keyfunc", [identity, lambda k: -k, lambda k: k % 10])
def test_sorted_partitions_concatenate_to_the_stable_sort_of_everything(
    tmp_path: Path, budget_bytes: int, ascending: bool, keyfunc: Callable[[Any], Any]
) -> None:
    draw = random.Random(2)
    maps = [[(draw.randrange(2_000), (i, n)) for n in range(9_000)] for i in range(3)]
    exchange = Exchange(tmp_path, by_order(3, 4, Ordering(keyfunc, ascending)), maps, budget_bytes)
    records = [record for each in maps for record in each]
    partitions = exchange.read()
    assert joined(partitions) == sorted(records, key=lambda r: keyfunc(r[0]), reverse=not ascending)
    keys_of = [{keyfunc(k) for k, _ in partition} for partition in partitions]
    assert sum(map(len, keys_of)) == len(set().union(*keys_of)), "a key is in one partition"
    if keyfunc is identity:
        assert all(5_000 < len(partition) < 9_000 for partition in partitions)


def test_sorting_asks_keys_for_less_than_alone(tmp_path: Path) -> None:
    maps = [[(Version(i % 70), i) for i in range(3_000)]]
    exchange = Exchange(tmp_path, by_order(1, 3, Ordering(identity)), maps, 50_000)
    assert [k.number for part in exchange.read() for k, _ in part] == sorted(i % 70 for i in range(3_000))


class Version:
    __slots__ = ("number",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: int) -> None:
        self.number = number

    def __lt__(self, other: Version) -> bool:
        return self.number < other.number

    def __reduce__(self) -> tuple[Any, ...]:
        return (Version, (self.number,))


@pytest.mark.parametrize("budget_bytes", [AMPLE, 10_000])
def test_one_key_with_most_of_the_records_breaks_nothing(tmp_path: Path, budget_bytes: int) -> None:
    maps = [[("hot" if n % 10 else n, n) for n in range(20_000)] for _ in range(2)]
    groups = dict(Exchange(tmp_path, by_hash(2, 2, GROUPING), maps, budget_bytes).read_all())
    assert len(groups["hot"]) == 36_000
    assert groups["hot"][:3] == [1, 2, 3]
    ordered = [[(0 if n % 10 else n, n) for n in range(20_000)] for _ in range(2)]
    exchange = Exchange(tmp_path, by_order(2, 3, Ordering(identity)), ordered, budget_bytes)
    assert exchange.read_all() == sorted(joined(ordered), key=lambda r: r[0])


def test_empty_maps_and_empty_partitions_are_fine(tmp_path: Path) -> None:
    for aggregator in (None, SUM):
        assert Exchange(tmp_path, by_hash(2, 3, aggregator), [[], [(1, 1)]]).read() == [[], [(1, 1)], []]
        assert Exchange(tmp_path, by_hash(2, 3, aggregator), [[], []]).read() == [[], [], []]
    assert Exchange(tmp_path, by_order(2, 3, Ordering(identity)), [[], []]).read() == [[], [], []]
    assert Exchange(tmp_path, by_order(2, 3, Ordering(identity)), [[], [(1, 1)]]).read_all() == [(1, 1)]


def test_large_records_do_not_pile_up(tmp_path: Path) -> None:
    drawn: list[int] = []

    def records() -> Iterator[Any]:
        for i in range(30):
            drawn.append(i)
            yield i, bytes(1_000_000)

    metrics = TaskMetrics()
    output = write_map_output(records(), by_hash(1, 2), 0, str(tmp_path), 4_000_000, metrics)
    assert metrics.spilled_bytes > 20_000_000
    assert output.bytes > 30_000_000


def test_growing_combiners_are_flushed_though_their_keys_are_few(tmp_path: Path) -> None:
    lists = Aggregator(new_list, append_value, extend_list)
    maps = [[(n % 3, n) for n in range(100_000)]]
    exchange = Exchange(tmp_path, by_hash(1, 1, lists), maps, 200_000)
    assert exchange.map_metrics.spilled_bytes > 0
    assert dict(exchange.read()[0]) == {r: list(range(r, 100_000, 3)) for r in range(3)}


def test_nothing_is_opened_before_the_first_record_is_asked_for(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, by_hash(1, 1), [[(1, 1)]])
    os.unlink(exchange.outputs[0].path)
    reading = exchange.reading(0)
    with pytest.raises(FetchFailedError):
        next(reading)


def test_counters_say_what_was_written_and_read(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, by_hash(2, 2), random_pairs(2, 3_000, 100))
    sizes = [os.path.getsize(output.path) for output in exchange.outputs]
    assert [output.bytes for output in exchange.outputs] == sizes
    assert exchange.map_metrics.shuffle_bytes_written == sum(sizes)
    task = a_task()
    for index in range(2):
        list(exchange.reading(index, task))
    by_reduce = [array("Q", output.reduce_bytes) for output in exchange.outputs]
    assert task.metrics.shuffle_bytes_read == sum(map(sum, by_reduce))
    assert task.metrics.records_read == 6_000
    assert task.metrics.spilled_bytes == 0


def test_spilling_on_the_reduce_side_is_counted_and_leaves_no_file(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, by_hash(2, 1, GROUPING), random_pairs(2, 5_000, 1_000))
    exchange.budget_bytes = 20_000
    before = sorted(os.listdir(tmp_path))
    task = a_task()
    reading = exchange.reading(0, task)
    next(reading)
    assert task.metrics.spilled_bytes > 0
    assert sorted(os.listdir(tmp_path)) == before


def test_the_position_reported_is_the_one_in_the_reduce_input(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, by_hash(2, 1), [[(1, n) for n in range(7)]] * 2)
    task = a_task()
    reading = exchange.reading(0, task)
    for _ in range(9):
        next(reading)
    assert task.source.record_index() == 8


def cut_end(path: str) -> None:
    os.truncate(path, os.path.getsize(path) - 1)


def cut_all(path: str) -> None:
    os.truncate(path, 3)


def flip_first(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(40)
        byte = file.read(1)
        file.seek(40)
        file.write(bytes([byte[0] ^ 1]))


def flip_footer(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(-40, os.SEEK_END)
        byte = file.read(1)
        file.seek(-40, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("harm", [os.unlink, cut_end, cut_all, flip_first, flip_footer])
@pytest.mark.parametrize("kind", [by_hash(2, 1), by_hash(2, 1, SUM), by_order(2, 1, Ordering(identity))])
def test_a_lost_or_damaged_map_output_is_named_with_its_executor(
    tmp_path: Path, harm: Callable[[str], None], kind: ShuffleSpec
) -> None:
    exchange = Exchange(tmp_path, kind, random_pairs(2, 500, 100))
    harm(exchange.outputs[1].path)
    with pytest.raises(FetchFailedError) as caught:
        exchange.read()
    error = caught.value
    assert (error.shuffle_id, error.map_index, error.executor, error.epoch) == (5, 1, 3, 7)
    assert error.found


def test_a_record_whose_unpickling_fails_is_no_lost_map_output(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, by_hash(1, 1), [[(1, Refusing())]])
    with pytest.raises(OSError, match="by the user"):
        exchange.read()


def refuse() -> None:
    raise OSError("raised by the user")


class Refusing:
    def __reduce__(self) -> tuple[Any, ...]:
        return (refuse, ())


@pytest.mark.parametrize("aggregator", [None, SUM, GROUPING])
@pytest.mark.parametrize("record", [7, (1, 2, 3), (1,), None])
def test_a_record_that_is_no_pair_is_a_clear_error(tmp_path: Path, aggregator: Aggregator | None, record: Any) -> None:
    with pytest.raises(SparklabError, match="no \\(key, value\\) pair"):
        Exchange(tmp_path, by_hash(1, 2, aggregator), [[(1, 2), record]])
    assert os.listdir(tmp_path) == []


def test_pairs_may_be_lists(tmp_path: Path) -> None:
    assert Exchange(tmp_path, by_hash(1, 1), [[[1, 2], (3, 4), "ab"]]).read() == [[(1, 2), (3, 4), ("a", "b")]]


def test_an_error_of_the_users_function_stays_the_users(tmp_path: Path) -> None:
    def unpack(a: Any, b: Any) -> Any:
        (x,) = (a, b)
        return x

    with pytest.raises(ValueError, match="too many values"):
        Exchange(tmp_path, by_hash(1, 1, Aggregator(identity, unpack, unpack)), [[(1, 2), (1, 3)]])


@pytest.mark.parametrize("place", [lambda key: 2, lambda key: -1, lambda key: 0.5, lambda key: None])
def test_a_partition_out_of_range_is_a_clear_error(tmp_path: Path, place: Callable[[Any], Any]) -> None:
    with pytest.raises(SparklabError, match="from 0 to 1"):
        Exchange(tmp_path, ShuffleSpec(5, 1, 2, place), [[("a", 1)]])


def test_a_key_hashed_by_its_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityHashError):
        Exchange(tmp_path, by_hash(1, 2), [[(object(), 1)]])


def test_keys_that_only_the_users_partition_function_can_place_are_aggregated_beyond_the_budget(
    tmp_path: Path,
) -> None:
    maps = [[(Named(f"n{n % 200}"), 1) for n in range(3_000)] for _ in range(2)]
    spec = ShuffleSpec(5, 2, 1, lambda key: 0, SUM)
    records = Exchange(tmp_path, spec, maps, 10_000).read()[0]
    assert {key.name: count for key, count in records} == {f"n{n}": 30 for n in range(200)}


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def test_a_failed_map_task_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> Iterator[Any]:
        yield from ((n, n) for n in range(9_000))
        raise ZeroDivisionError

    for spec in (by_hash(1, 2), by_hash(1, 2, SUM), by_order(1, 2, Ordering(identity))):
        with pytest.raises(ZeroDivisionError):
            write_map_output(failing(), spec, 0, str(tmp_path), 10_000, TaskMetrics())
    assert os.listdir(tmp_path) == []


def test_files_are_for_this_user_alone_and_go_with_their_shuffle(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, by_hash(2, 2), [[(1, 1)], [(2, 2)]])
    other = write_map_output(
        iter([(1, 1)]), ShuffleSpec(51, 1, 1, HashPlacement(1)), 0, str(tmp_path), 1, TaskMetrics()
    )
    assert os.stat(exchange.outputs[0].path).st_mode & 0o777 == 0o600
    assert remove_shuffle(str(tmp_path), 5) == 2
    assert os.listdir(tmp_path) == [os.path.basename(other.path)]


def test_a_combiner_shared_by_two_keys_is_not_changed_for_both(tmp_path: Path) -> None:
    shared = [1]
    exchange = Exchange(tmp_path, by_hash(1, 1, SUM), [[("a", shared), ("b", shared), ("a", [2])]])
    assert exchange.read() == [[("a", [1, 2]), ("b", [1])]]
    assert shared == [1]


def sample(keys: list[Any], weight: int = 1) -> bytes:
    return pickle.dumps((keys, weight))


def test_bounds_are_even_by_weight() -> None:
    assert range_bounds([sample(list(range(100)))], 4) == [24, 49, 74]
    assert range_bounds([sample([1, 2], 1), b"", sample([10, 20, 30], 100)], 3) == [10, 20]
    assert range_bounds([sample(list(range(100)))], 4, ascending=False) == [75, 50, 25]


def test_bounds_never_repeat_a_key_and_may_be_fewer() -> None:
    assert range_bounds([sample([5] * 90 + [6] * 10)], 4) == [5, 6]
    assert range_bounds([], 4) == []
    assert range_bounds([sample([1, 2, 3])], 1) == []


def test_bounds_do_not_depend_on_the_order_of_equal_keys() -> None:
    samples = [sample([1, 3, 5], 2), sample([1, 3, 4], 5)]
    assert range_bounds(samples, 3) == range_bounds(list(reversed(samples)), 3)


def test_a_map_output_that_is_stopped_before_it_has_its_name_leaves_nothing(tmp_path: Path) -> None:
    def stop(step: str, path: str) -> None:
        raise KeyboardInterrupt

    out = OutputFile(str(tmp_path / "shuffle_0_0"))
    with steps.watched(stop), pytest.raises(KeyboardInterrupt):
        out.commit(["hashed"])
    out.abandon()
    assert list(tmp_path.iterdir()) == []
