"""Keys that have more values than fit in memory: spilled, iterated in order, the same as if they had fitted."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import tracemalloc
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from sparklab.errors import FetchFailedError, SparklabError
from sparklab.rdd.resultiterable import ResultIterable
from sparklab.rdd.task import TaskMetrics
from sparklab.shuffle.bounds import Cut, heavy_keys, with_heavy
from sparklab.shuffle.combine import GROUPING, append_value, extend_list, identity, new_list
from sparklab.shuffle.groups import Groups, SpilledValues
from sparklab.shuffle.reader import group_records, read_cogrouped
from sparklab.shuffle.runs import sort_records
from sparklab.shuffle.spec import Aggregator, Ordering, ShuffleSpec
from sparklab.shuffle.spill import SpillFile
from sparklab.shuffle.stable_hash import HashPlacement
from sparklab.shuffle.writer import deep_bytes, write_map_output
from tests.support.tasks import a_task
from tests.unit.test_shuffle_roundtrip import AMPLE, Exchange, by_hash, by_order, joined, open_local

SMALL = 200_000


def value_of(n: int, length: int = 500) -> bytes:
    """Different for each `n`, and never the same object twice, which pickle would write but once."""
    return n.to_bytes(4, "big") * (length // 4)


def skewed(maps: int = 3, records: int = 4_000, length: int = 500) -> list[list[Any]]:
    """Nine of ten records have one key; every value is a different one."""
    return [
        [("hot" if n % 10 else f"key {n % 300}", (m, n, value_of(n, length))) for n in range(records)]
        for m in range(maps)
    ]


def expected_of(records: list[Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for k, v in records:
        groups.setdefault(k, []).append(v)
    return groups


def hot_group(tmp_path: Path, task: Any = None, length: int = 500) -> SpilledValues:
    exchange = Exchange(tmp_path, by_hash(3, 1, GROUPING), skewed(length=length))
    exchange.budget_bytes = SMALL
    return next(v for k, v in exchange.reading(0, task) if k == "hot")


def test_a_group_larger_than_the_budget_is_read_from_disk_in_input_order(tmp_path: Path) -> None:
    task = a_task()
    values = hot_group(tmp_path, task)
    assert isinstance(values, SpilledValues)
    expected = expected_of(joined(skewed()))["hot"]
    assert len(values) == len(expected) == 10_800
    assert list(values) == expected
    assert list(values) == expected, "again"
    assert task.metrics.spilled_bytes > 500 * len(expected)
    assert values[0] == expected[0]
    assert values[-1] == expected[-1]
    assert values[5:7] == expected[5:7]
    with pytest.raises(IndexError):
        _ = values[len(expected)]


def test_groups_are_the_same_whatever_was_spilled(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, by_hash(3, 2, GROUPING), skewed())
    ample = exchange.read()
    for budget_bytes in (SMALL, 20_000, 1):
        exchange.budget_bytes = budget_bytes
        spilled = exchange.read()
        assert [dict(part) for part in spilled] == [dict(part) for part in ample]
        assert exchange.read() == spilled, "and come in the same order each time"


def test_iterating_a_spilled_group_takes_little_memory(tmp_path: Path) -> None:
    values = hot_group(tmp_path, length=4_000)
    total = sum(len(v[2]) for v in values)
    tracemalloc.start()
    try:
        assert sum(len(v[2]) for v in values) == total > 40_000_000
        assert tracemalloc.get_traced_memory()[1] < 15_000_000
    finally:
        tracemalloc.stop()


def test_a_spilled_group_outlives_its_task_and_leaves_no_file(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    values = hot_group(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [f"shuffle_5_{m}" for m in range(3)]
    for m in range(3):
        os.unlink(tmp_path / f"shuffle_5_{m}")
    assert sum(1 for _ in values) == 10_800
    del values
    if before is not None:
        assert set(os.listdir("/proc/self/fd")) <= before


def test_a_result_iterable_of_spilled_values_is_pickled_and_copied_as_a_list(tmp_path: Path) -> None:
    group = ResultIterable(hot_group(tmp_path))
    assert len(group) == group.maxindex == 10_800
    for other in (pickle.loads(pickle.dumps(group)), copy.deepcopy(group)):
        assert type(other) is ResultIterable
        assert type(other.data) is list
        assert other.data == list(group)


@pytest.mark.parametrize("narrow", [(), (0,), (0, 1)])
def test_both_sides_of_a_cogroup_may_have_a_hot_key(tmp_path: Path, narrow: tuple[int, ...]) -> None:
    lefts, rights = skewed(), [[(k, (v[1], v[0])) for k, v in records] for records in skewed(2, 5_000)]
    place = HashPlacement(1)
    made = [
        Exchange(tmp_path, ShuffleSpec(n, len(maps), 1, place, GROUPING), maps)
        for n, maps in enumerate((lefts, rights))
    ]
    expected: dict[Any, Any] = {}
    for n, maps in enumerate((lefts, rights)):
        for k, v in joined(maps):
            expected.setdefault(k, ([], []))[n].append(v)

    def read(budget_bytes: int) -> list[Any]:
        sides: list[Any] = [
            iter(joined(maps)) if n in narrow else (made[n].spec, made[n].input)
            for n, maps in enumerate((lefts, rights))
        ]
        return list(read_cogrouped(sides, 1, 0, open_local, str(tmp_path), budget_bytes, a_task()))

    assert dict(read(AMPLE)) == expected
    records = read(SMALL)
    assert dict(records) == expected
    assert isinstance(dict(records)["hot"][0], SpilledValues)
    assert read(SMALL) == records


@pytest.mark.parametrize("budget_bytes", [AMPLE, SMALL, 1])
def test_pairs_that_are_placed_already_are_grouped_within_the_budget(tmp_path: Path, budget_bytes: int) -> None:
    records = joined(skewed())
    task = a_task()
    groups = list(group_records(iter(records), str(tmp_path), budget_bytes, task))
    assert len(groups) == len(dict(groups))
    assert dict(groups) == expected_of(records)
    assert (task.metrics.spilled_bytes > 0) == (budget_bytes < AMPLE)
    assert os.listdir(tmp_path) == []


def test_many_pairs_with_no_hot_key_among_them_are_divided_and_not_held(tmp_path: Path) -> None:
    drawn = 0

    def records() -> Iterator[Any]:
        nonlocal drawn
        for n in range(30_000):
            drawn += 1
            yield n % 10_000, value_of(n)

    task = a_task()
    tracemalloc.start()
    try:
        count = sum(len(v) for _, v in group_records(records(), str(tmp_path), 2_000_000, task))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == drawn == 30_000
    assert task.metrics.spilled_bytes > 15_000_000
    assert peak < 8_000_000


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("hot", [0, 5, 9])
def test_a_sort_hands_out_the_records_of_a_hot_key_frame_by_frame(tmp_path: Path, hot: int, ascending: bool) -> None:
    maps = [[(hot if n % 7 else n % 10, (m, n, value_of(n, 4_000))) for n in range(4_000)] for m in range(3)]
    exchange = Exchange(tmp_path, by_order(3, 1, Ordering(identity, ascending)), maps, 32_000_000)
    reading = exchange.reading(0)
    assert list(reading) == sorted(joined(maps), key=lambda r: r[0], reverse=not ascending)
    tracemalloc.start()
    try:
        assert sum(1 for _ in exchange.reading(0)) == 12_000
        assert tracemalloc.get_traced_memory()[1] < 24_000_000 < 12_000 * 4_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("budget_bytes", [AMPLE, 400_000, 1])
@pytest.mark.parametrize("ascending", [True, False])
def test_a_partition_is_sorted_within_the_budget_and_stable(tmp_path: Path, ascending: bool, budget_bytes: int) -> None:
    records = [(n * 7919 % 50, (n, value_of(n, 40))) for n in range(6_000 if budget_bytes > 1 else 300)]
    task = a_task()
    found = list(sort_records(iter(records), itemgetter(0), ascending, str(tmp_path), budget_bytes, task))
    assert found == sorted(records, key=itemgetter(0), reverse=not ascending)
    assert (task.metrics.spilled_bytes > 0) == (budget_bytes < AMPLE)
    assert os.listdir(tmp_path) == []


def test_merging_runs_takes_the_memory_of_one(tmp_path: Path) -> None:
    def drawn() -> Iterator[Any]:
        return ((n * 7919 % 10_007, value_of(n, 2_000)) for n in range(20_000))

    tracemalloc.start()
    try:
        count = sum(1 for _ in sort_records(drawn(), itemgetter(0), True, str(tmp_path), 16_000_000, a_task()))
        assert tracemalloc.get_traced_memory()[1] < 20_000_000 < 20_000 * 2_000
    finally:
        tracemalloc.stop()
    assert count == 20_000


def test_heavy_keys_are_found_and_cut_out() -> None:
    weighted = [("a", 1), ("b", 3), ("b", 3), ("c", 1), ("d", 9), ("e", 1)]
    assert heavy_keys(weighted, 5, True) == ["b", "d"]
    assert heavy_keys(weighted[::-1], 5, False) == ["d", "b"]
    assert heavy_keys([], 5, True) == []
    cuts = with_heavy([Cut("b"), Cut("c")], ["b", "d"], True)
    assert cuts == [Cut("b", True), Cut("b"), Cut("c"), Cut("d", True), Cut("d")]
    items = ["a", "b", "b", "c"]
    assert [Cut("b", True).count(items, True, str), Cut("b").count(items, True, str)] == [1, 3]
    assert [Cut("b", True).count(items[::-1], False, str), Cut("b").count(items[::-1], False, str)] == [1, 3]


def test_a_combiner_that_grows_among_many_others_is_written_before_it_is_too_large(tmp_path: Path) -> None:
    lists = Aggregator(new_list, append_value, extend_list)
    # the others come first, so that the hot key is hardly ever in a sample of all keys
    maps = [[*((n, n) for n in range(20_000)), *(("hot", (n, value_of(n, 100))) for n in range(60_000))]]
    exchange = Exchange(tmp_path, by_hash(1, 1, lists), maps, 8_000_000)
    assert exchange.map_metrics.spilled_bytes > 3_000_000
    exchange.budget_bytes = AMPLE
    assert dict(exchange.read()[0])["hot"] == [(n, value_of(n, 100)) for n in range(60_000)]


def test_large_values_of_a_combiner_are_not_drawn_by_the_thousand(tmp_path: Path) -> None:
    lists = Aggregator(new_list, append_value, extend_list)
    metrics = TaskMetrics()
    tracemalloc.start()
    try:
        records = (("hot", bytes(100_000)) for _ in range(600))
        write_map_output(records, by_hash(1, 1, lists), 0, str(tmp_path), 4_000_000, metrics)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert metrics.spilled_bytes > 40_000_000
    assert peak < 25_000_000


def test_values_that_cannot_be_pickled_may_be_combined_away(tmp_path: Path) -> None:
    counts = Aggregator(lambda v: next(v), lambda c, v: c + next(v), lambda a, b: a + b)
    exchange = Exchange(tmp_path, by_hash(1, 1, counts), [[(n % 2, iter([n])) for n in range(100)]])
    assert dict(exchange.read()[0]) == {0: 2450, 1: 2500}


class Opaque:
    def __init__(self, size: int) -> None:
        self.held = bytes(size)


def test_memory_is_estimated_within_a_factor_of_three() -> None:
    for value, real in [
        ([bytes(1_000)] * 1_000, 1_033_000),
        ({n: [bytes(100)] * 10 for n in range(100)}, 160_000),
        ({float(n) for n in range(10_000)}, 760_000),
        (Opaque(100_000), 100_100),
        ([[(n, "x" * 50)] for n in range(1_000)], 300_000),
    ]:
        assert real / 4 < deep_bytes(value) < 5 * real


def test_a_damaged_spill_file_has_the_task_run_again(tmp_path: Path) -> None:
    values = hot_group(tmp_path)
    os.pwrite(values._file._file.fileno(), b"damage", 3_000)
    with pytest.raises(FetchFailedError, match="a spill file"):
        list(values)


def test_a_spill_file_needs_no_folder_that_outlives_cleaners_but_an_executor_that_does(tmp_path: Path) -> None:
    file = SpillFile(str(tmp_path / "shuffle"))
    file.append([b"data"])
    file.close()
    assert os.listdir(tmp_path / "shuffle") == []
    with pytest.raises(FileNotFoundError):
        SpillFile(str(tmp_path / "closed" / "shuffle"))
    assert not (tmp_path / "closed").exists()


def test_a_full_disk_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SpillFile(str(tmp_path))

    class Full:
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None: ...

    file.close()
    monkeypatch.setattr(file, "_file", Full())
    with pytest.raises(SparklabError, match=r"(?s)is full.*spark.local.dir"):
        file.append([b"frame"])


def test_the_largest_lists_are_spilled_and_small_ones_stay(tmp_path: Path) -> None:
    groups = Groups(1, str(tmp_path), 10_000, 1, TaskMetrics())
    for n in range(100):
        groups.add(0, ["hot"] * 50 + [n], list(range(51)), 500)
    found = {key: values for key, (values,) in groups.items()}
    assert isinstance(found.pop("hot"), SpilledValues)
    assert all(values == [50] for values in found.values())
