"""Strings counted in columns give what a dict gives, in its order, whatever comes between them."""

from __future__ import annotations

import operator
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparklab import SparkContext
from sparklab.cluster import executor
from sparklab.errors import FetchFailedError
from sparklab.rdd.task import TaskMetrics
from sparklab.shuffle import buckets, order, reader, tally
from sparklab.shuffle.bounds import range_bounds
from sparklab.shuffle.combine import identity
from sparklab.shuffle.files import LocalFile
from sparklab.shuffle.idioms import is_addition, paired_constant
from sparklab.shuffle.reader import read_reduce_input
from sparklab.shuffle.spec import Aggregator, MapLocation, Ordering, ShuffleInput, ShuffleSpec
from sparklab.shuffle.stable_hash import HashPlacement
from sparklab.shuffle.writer import counts_keys, write_map_output
from sparklab.storage.codec import iter_frames
from tests.support.tasks import a_task

SUM = Aggregator(identity, lambda a, b: a + b, lambda a, b: a + b)
LARGEST = Aggregator(identity, max, max)
WORDS = st.text(max_size=3) | st.sampled_from(["a", "b", "naïve", "\U0001f40d", "\0", ""])
LONE = "\ud800"

outside = 3


def pair(word: Any) -> Any:
    """A function as people write it."""
    return word, 1


@pytest.mark.parametrize(
    ("function", "constant"),
    [
        (lambda x: (x, 1), 1),
        (pair, 1),
        (lambda word: (word, -7), -7),
        (lambda x: (x, 0), 0),
        (lambda x: (x, True), None),
        (lambda x: (x, 1.0), None),
        (lambda x: (x, 2**70), None),
        (lambda x: (1, x), None),
        (lambda x: (x, outside), None),
        (lambda x: [x, 1], None),
        (lambda x: (x, 1, 1), None),
        (lambda x: (x.lower(), 1), None),
        (lambda x, n=1: (x, n), None),
        (lambda *x: (x, 1), None),
        (str, None),
    ],
)
def test_a_constant_beside_the_record_is_known_by_what_the_function_does(function: Any, constant: int | None) -> None:
    assert paired_constant(function) == constant


@pytest.mark.parametrize(
    ("function", "adds"),
    [
        (operator.add, True),
        (lambda a, b: a + b, True),
        (lambda total, n: n + total, True),
        (lambda a, b: a - b, False),
        (lambda a, b: a + a, False),
        (lambda a, b: a + b + outside, False),
        (lambda a, b=1: a + b, False),
        (operator.iadd, False),
        (max, False),
    ],
)
def test_an_addition_is_known_by_what_the_function_does(function: Callable[..., Any], adds: bool) -> None:
    assert is_addition(function) == adds


def a_shuffle(maps: int, aggregator: Aggregator = SUM) -> ShuffleSpec:
    return ShuffleSpec(5, maps, 3, HashPlacement(3), aggregator)


def written_and_read(
    folder: Path,
    spec: ShuffleSpec,
    maps: list[list[Any]],
    constant: int | None,
    budget_bytes: int,
    damaged: bool = False,
) -> tuple[list[list[Any]], TaskMetrics]:
    metrics = TaskMetrics()
    outputs = [
        write_map_output(iter(some), spec, i, str(folder), budget_bytes, metrics, constant=constant)
        for i, some in enumerate(maps)
    ]
    if damaged:
        raw = bytearray(Path(outputs[0].path).read_bytes())
        raw[40] ^= 1
        Path(outputs[0].path).write_bytes(raw)
    bounds = None
    if spec.ordering is not None:
        bounds = range_bounds([output.samples for output in outputs], spec.num_partitions, spec.ordering.ascending)
    given = ShuffleInput([MapLocation(output, 3, 7, "", "") for output in outputs], bounds)

    def read(index: int) -> Iterator[Any]:
        return read_reduce_input(
            spec, index, given, lambda at: LocalFile(at.output.path), str(folder), budget_bytes, a_task()
        )

    return [list(read(index)) for index in range(spec.num_partitions)], metrics


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Called with whether to count in columns: both ways divide alike from the first record on."""
    monkeypatch.setattr(buckets, "_WORTH_DIVIDING", 1)
    monkeypatch.setattr(reader, "_WORTH_DIVIDING_BYTES", 1)

    def choose(columns: bool) -> None:
        monkeypatch.setattr(tally, "_WORTH_TALLY", 1 if columns else 1 << 60)
        monkeypatch.setattr(tally, "_COUNTED_AT_ONCE_BYTES", 100)

    return choose


repeatedly = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@repeatedly
@given(
    maps=st.lists(st.lists(WORDS, max_size=60), min_size=1, max_size=3),
    other=st.none() | st.sampled_from([LONE, 7, 7.5, None, (1, "a"), b"x", True]),
    constant=st.sampled_from([1, -2, 0]),
    budget_bytes=st.sampled_from([1 << 26, 2_000]),
)
def test_counting_in_columns_gives_what_a_dict_gives(
    few_are_enough: Any,
    tmp_path_factory: pytest.TempPathFactory,
    maps: list[list[Any]],
    other: Any,
    constant: int,
    budget_bytes: int,
) -> None:
    if other is not None:
        maps = [[*some[: len(some) // 2], other, *some[len(some) // 2 :]] for some in maps]
    spec = a_shuffle(len(maps))
    few_are_enough(False)
    pairs = [[(word, constant) for word in some] for some in maps]
    expected, _ = written_and_read(tmp_path_factory.mktemp("dict"), spec, pairs, None, budget_bytes)
    few_are_enough(True)

    found, _ = written_and_read(tmp_path_factory.mktemp("columns"), spec, maps, constant, budget_bytes)

    assert sorted(map(repr, chain(*found))) == sorted(map(repr, chain(*expected)))
    assert [sorted(map(repr, part)) for part in found] == [sorted(map(repr, part)) for part in expected]
    if budget_bytes > 2_000:  # else they come in the order of the parts that went to disk
        assert found == expected


@repeatedly
@given(
    maps=st.lists(
        st.lists(st.tuples(WORDS, st.integers(-9, 9) | st.sampled_from([2**53, -(2**63), 2**64])), max_size=40),
        min_size=1,
        max_size=3,
    ),
    aggregator=st.sampled_from([SUM, LARGEST]),
)
def test_numbers_of_any_size_travel_in_columns_and_are_combined_exactly(
    few_are_enough: Any,
    tmp_path_factory: pytest.TempPathFactory,
    maps: list[list[Any]],
    aggregator: Aggregator,
) -> None:
    spec = a_shuffle(len(maps), aggregator)
    few_are_enough(False)
    expected, _ = written_and_read(tmp_path_factory.mktemp("dict"), spec, maps, None, 1 << 26)
    few_are_enough(True)

    found, _ = written_and_read(tmp_path_factory.mktemp("columns"), spec, maps, None, 1 << 26)

    assert found == expected
    assert all(type(value) is int for part in found for _, value in part)


@repeatedly
@given(
    maps=st.lists(
        st.lists(st.tuples(st.integers(-5, 5) | st.sampled_from([2**63 - 1, -(2**63)]), WORDS), max_size=60),
        min_size=1,
        max_size=3,
    ),
    other=st.none() | st.sampled_from([(2**63, "a"), (True, "a"), (1.5, "a"), (1, LONE), (1, b"a"), (1, "x" * 300)]),
    ascending=st.booleans(),
    budget_bytes=st.sampled_from([1 << 26, 2_000]),
)
def test_sorting_in_columns_gives_what_lists_give(
    few_are_enough: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    maps: list[list[Any]],
    other: Any,
    ascending: bool,
    budget_bytes: int,
) -> None:
    monkeypatch.setattr(order, "_WORTH_ARRAYS", 1)
    monkeypatch.setattr(order, "_WORTH_IMPORT", 1)
    monkeypatch.setattr(tally, "_LARGEST_FRAME_BYTES", 250)
    if other is not None:
        maps = [[*some, other] for some in maps]
    spec = ShuffleSpec(5, len(maps), 3, HashPlacement(1), None, Ordering(identity, ascending))
    few_are_enough(False)
    expected, _ = written_and_read(tmp_path_factory.mktemp("lists"), spec, maps, None, budget_bytes)
    few_are_enough(True)

    found, _ = written_and_read(tmp_path_factory.mktemp("columns"), spec, maps, None, budget_bytes)

    assert repr(found) == repr(expected)
    assert [k for k, _ in chain(*found)] == sorted([k for k, _ in chain(*maps)], reverse=not ascending)


def test_sorted_numbers_with_strings_stand_in_the_file_as_columns(few_are_enough: Any, tmp_path: Path) -> None:
    few_are_enough(True)
    spec = ShuffleSpec(5, 1, 2, HashPlacement(1), None, Ordering(identity))
    pairs = [(i * 7 % 6_000, str(i)) for i in range(6_000)]
    output = write_map_output(iter(pairs), spec, 0, str(tmp_path), 1 << 26, TaskMetrics())
    stored = Path(output.path).read_bytes()
    first = next(iter_frames(stored))

    assert first.is_numbered
    assert first.rows() == sorted(pairs)[: first.records]
    assert first.whole() == stored[: len(first.whole())]


def test_strings_and_numbers_stand_in_the_file_as_columns(few_are_enough: Any, tmp_path: Path) -> None:
    few_are_enough(True)
    output = write_map_output(
        iter(["to", "be", "or", "not", "to", "be"]), a_shuffle(1), 0, str(tmp_path), 1 << 26, TaskMetrics(), constant=1
    )
    stored = Path(output.path).read_bytes()
    first = next(iter_frames(stored))

    assert first.is_tally
    assert first.rows() == list(zip(*first.columns(), strict=True))
    assert first.whole() == stored[: len(first.whole())]


def test_more_strings_than_the_budget_holds_are_written_in_between(few_are_enough: Any, tmp_path: Path) -> None:
    few_are_enough(True)
    words = [f"word {i % 5_000}" for i in range(30_000)]

    found, metrics = written_and_read(tmp_path, a_shuffle(1), [words], 1, 100_000)

    assert dict(chain(*found)) == {f"word {i}": 6 for i in range(5_000)}
    assert metrics.spilled_bytes > 0


def test_a_damaged_tally_is_a_lost_map_output(few_are_enough: Any, tmp_path: Path) -> None:
    few_are_enough(True)
    with pytest.raises(FetchFailedError, match="digest"):
        written_and_read(tmp_path, a_shuffle(1), [["to", "be", "or", "not"] * 9], 1, 1 << 26, damaged=True)


def test_only_sums_of_keys_placed_by_value_are_counted() -> None:
    assert counts_keys(a_shuffle(1))
    assert not counts_keys(a_shuffle(1, LARGEST))
    assert not counts_keys(ShuffleSpec(5, 1, 3, lambda key: 0, SUM))
    assert not counts_keys(ShuffleSpec(5, 1, 3, HashPlacement(3), Aggregator(identity, operator.add, max)))
    assert not counts_keys(ShuffleSpec(5, 1, 3, HashPlacement(3), None))


def test_a_word_count_hands_its_words_to_the_shuffle_without_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = []
    unwatched = executor.write_map_output

    def watched(*arguments: Any) -> Any:
        constants.append(arguments[-1])
        return unwatched(*arguments)

    monkeypatch.setattr(executor, "write_map_output", watched)
    with SparkContext("threads[2]") as sc:
        words = sc.parallelize(["to be or not", "to be"], 2).flatMap(str.split)
        plain = words.map(pair).reduceByKey(lambda a, b: a + b)
        assert dict(plain.collect()) == {"to": 2, "be": 2, "or": 1, "not": 1}
        assert constants == [1, 1]
        cached = words.map(pair).cache().reduceByKey(lambda a, b: a + b)
        assert dict(cached.collect()) == dict(plain.collect())
        assert constants == [1, 1, None, None]


@given(st.lists(st.text(st.characters(codec=None), max_size=5), max_size=20))
def test_strings_enter_arrow_as_by_its_own_way(strings: list[str]) -> None:
    made = tally._array(strings)
    if any("\ud800" <= character <= "\udfff" for character in "".join(strings)):
        assert made is None
    else:
        made.validate(full=True)
        assert made.to_pylist() == strings


def test_columns_of_strings_do_without_pandas() -> None:
    program = """
import sys
from sparklab.shuffle import tally

counting = tally.Counting(1)
for _ in range(2):
    counting.add([f"é{i % 7}" for i in range(1_000_000)])
counted = counting.take()
assert counted.lists() == ([f"é{i}" for i in range(7)], [285716] + [285714] * 6), counted.lists()
frames = tally.spread(counted, 3)
order, ordered = tally.ordered(list(range(60_000, 0, -1)), [f"v{i}" for i in range(60_000)], True, 1_000)
assert ordered.lists()[0][:2] == ["v59999", "v59998"]
assert len(list(tally.slices(ordered, 1_000))) == 60
assert "pyarrow" in sys.modules and "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
