"""What any shuffle must do, checked against plain lists for programs that nobody thought of."""

from __future__ import annotations

import operator
import tempfile
from itertools import chain
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparklab.rdd.task import TaskMetrics
from sparklab.shuffle.bounds import range_bounds
from sparklab.shuffle.combine import GROUPING, identity
from sparklab.shuffle.files import LocalFile
from sparklab.shuffle.reader import read_cogrouped, read_reduce_input
from sparklab.shuffle.spec import Aggregator, MapLocation, Ordering, ShuffleInput, ShuffleSpec
from sparklab.shuffle.stable_hash import HashPlacement
from sparklab.shuffle.writer import write_map_output
from tests.support.tasks import a_task

KEYS = st.one_of(
    st.integers(-5, 5),
    st.text("ab", max_size=2),
    st.none(),
    st.booleans(),
    st.tuples(st.integers(0, 1), st.text("a", max_size=1)),
    st.sampled_from([0.0, 1.0, 2.5]),
)
NUMBERS = st.integers(-20, 20)


def maps_of(keys: Any) -> Any:
    """Maps of pairs; `times` makes them long enough to be packed, spilled and divided."""
    pair = st.tuples(keys, NUMBERS)
    return st.tuples(st.lists(st.lists(pair, max_size=12), min_size=1, max_size=4), st.sampled_from([1, 1, 300]))


def long(maps: list[list[Any]], times: int) -> list[list[Any]]:
    return [each * times for each in maps]


def run(spec: ShuffleSpec, maps: list[list[Any]], budget_bytes: int) -> list[list[Any]]:
    """Every partition's records; each is read twice, and must be the same."""
    with tempfile.TemporaryDirectory() as directory:
        outputs = [
            write_map_output(iter(records), spec, i, directory, budget_bytes, TaskMetrics())
            for i, records in enumerate(maps)
        ]
        ordering = spec.ordering
        bounds = None
        if ordering is not None:
            bounds = range_bounds([o.samples for o in outputs], spec.num_partitions, ordering.ascending)
        found = ShuffleInput([MapLocation(output, 0, 1, "", "") for output in outputs], bounds)

        def read() -> list[list[Any]]:
            return [
                list(
                    read_reduce_input(
                        spec, p, found, lambda at: LocalFile(at.output.path), directory, budget_bytes, a_task()
                    )
                )
                for p in range(spec.num_partitions)
            ]

        partitions = read()
        assert read() == partitions
        return partitions


BUDGETS = st.sampled_from([1, 5_000, 1 << 26])
PROGRAM = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROGRAM
@given(maps_of(KEYS), st.integers(1, 5), BUDGETS)
def test_pairs_arrive_once_in_map_order_where_their_key_belongs(made: Any, partitions: int, budget_bytes: int) -> None:
    maps = long(*made)
    place = HashPlacement(partitions)
    expected: list[list[Any]] = [[] for _ in range(partitions)]
    for record in chain.from_iterable(maps):
        expected[place(record[0])].append(record)
    assert run(ShuffleSpec(1, len(maps), partitions, place), maps, budget_bytes) == expected


@PROGRAM
@given(maps_of(KEYS), st.integers(1, 5), BUDGETS, st.sampled_from([operator.add, lambda a, b: a + b]))
def test_reducing_gives_each_key_once_with_its_sum(made: Any, partitions: int, budget_bytes: int, add: Any) -> None:
    maps = long(*made)
    expected: dict[Any, int] = {}
    for k, v in chain.from_iterable(maps):
        expected[k] = expected.get(k, 0) + v
    spec = ShuffleSpec(1, len(maps), partitions, HashPlacement(partitions), Aggregator(identity, add, add))
    records = list(chain.from_iterable(run(spec, maps, budget_bytes)))
    assert len(records) == len(expected)
    assert dict(records) == expected


@PROGRAM
@given(maps_of(KEYS), st.integers(1, 5), BUDGETS, st.booleans())
def test_grouping_keeps_the_order_of_a_keys_values(
    made: Any, partitions: int, budget_bytes: int, map_side: bool
) -> None:
    maps = long(*made)
    expected: dict[Any, list[int]] = {}
    for k, v in chain.from_iterable(maps):
        expected.setdefault(k, []).append(v)
    grouping = Aggregator(lambda v: [v], lambda c, v: [*c, v], operator.add) if map_side else GROUPING
    spec = ShuffleSpec(1, len(maps), partitions, HashPlacement(partitions), grouping)
    records = list(chain.from_iterable(run(spec, maps, budget_bytes)))
    assert len(records) == len(expected)
    assert dict(records) == expected


@PROGRAM
@given(maps_of(st.integers(-9, 9)), st.integers(1, 5), BUDGETS, st.booleans())
def test_sorting_is_stable_and_splits_no_key(made: Any, partitions: int, budget_bytes: int, ascending: bool) -> None:
    maps = [[(k, (i, n, v)) for n, (k, v) in enumerate(each)] for i, each in enumerate(long(*made))]
    spec = ShuffleSpec(1, len(maps), partitions, HashPlacement(1), None, Ordering(identity, ascending))
    parts = run(spec, maps, budget_bytes)
    everything = sorted(chain.from_iterable(maps), key=lambda record: record[0], reverse=not ascending)
    assert list(chain.from_iterable(parts)) == everything
    keys = [{k for k, _ in part} for part in parts]
    assert sum(map(len, keys)) == len(set().union(*keys))


SIDES = st.lists(maps_of(KEYS), min_size=1, max_size=3)


@PROGRAM
@given(SIDES, st.integers(1, 4), BUDGETS, st.lists(st.booleans(), min_size=3, max_size=3))
def test_cogrouping_gives_each_key_once_with_its_values_of_every_side(
    made: Any, partitions: int, budget_bytes: int, narrow: list[bool]
) -> None:
    sides = [long(*side) for side in made]
    place = HashPlacement(partitions)
    with tempfile.TemporaryDirectory() as directory:
        inputs: list[Any] = []
        for n, maps in enumerate(sides):
            spec = ShuffleSpec(n, len(maps), partitions, place, GROUPING)
            outputs = [
                write_map_output(iter(records), spec, i, directory, budget_bytes, TaskMetrics())
                for i, records in enumerate(maps)
            ]
            inputs.append((spec, ShuffleInput([MapLocation(output, 0, 1, "", "") for output in outputs])))

        def read(p: int) -> list[Any]:
            given = [
                iter([r for r in chain.from_iterable(maps) if place(r[0]) == p]) if is_narrow else found
                for maps, found, is_narrow in zip(sides, inputs, narrow, strict=False)
            ]
            return list(
                read_cogrouped(
                    given, partitions, p, lambda at: LocalFile(at.output.path), directory, budget_bytes, a_task()
                )
            )

        for p in range(partitions):
            expected: dict[Any, tuple[list[Any], ...]] = {}
            for n, maps in enumerate(sides):
                for k, v in chain.from_iterable(maps):
                    if place(k) == p:
                        expected.setdefault(k, tuple([] for _ in sides))[n].append(v)
            records = read(p)
            assert len(records) == len(expected)
            assert dict(records) == expected
            assert read(p) == records
            if budget_bytes == 1 << 26 and all(times == 1 for _, times in made):
                assert [k for k, _ in records] == list(expected), "by first appearance, side after side"


class ByteSourceContract:
    """What a ByteSource must do; a test class for another one gives `source_of` and inherits the rest."""

    def source_of(self, data: bytes, directory: Any) -> Any:
        raise NotImplementedError

    def test_reads_any_range_in_any_order(self, tmp_path: Any) -> None:
        source = self.source_of(bytes(range(200)), tmp_path)
        assert source.size() == 200
        assert bytes(source.read(190, 10)) == bytes(range(190, 200))
        assert bytes(source.read(0, 3)) == b"\x00\x01\x02"
        assert bytes(source.read(5, 0)) == b""
        source.close()

    def test_a_read_beyond_the_end_comes_back_short(self, tmp_path: Any) -> None:
        source = self.source_of(b"abc", tmp_path)
        assert bytes(source.read(1, 10)) in (b"bc", b"")
        source.close()

    def test_closing_twice_is_fine(self, tmp_path: Any) -> None:
        source = self.source_of(b"abc", tmp_path)
        source.close()
        source.close()


class TestLocalFile(ByteSourceContract):
    def source_of(self, data: bytes, directory: Any) -> LocalFile:
        path = directory / "file"
        path.write_bytes(data)
        return LocalFile(str(path))

    def test_a_removed_file_can_be_read_until_it_is_closed(self, tmp_path: Any) -> None:
        source = self.source_of(b"abc", tmp_path)
        (tmp_path / "file").unlink()
        assert source.read(0, 3) == b"abc"
        source.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            source.read(0, 3)
