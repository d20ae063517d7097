"""Where the work of an action is done, and how often: on executors, once, and no more of it than is asked for."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sparklab import SparkContext


@pytest.fixture(scope="module")
def sc() -> Iterator[SparkContext]:
    with SparkContext("local[2]", "where") as context:
        yield context


@pytest.fixture
def noted(tmp_path: Path) -> Callable[[], list[str]]:
    """The lines that functions have written into ``tmp_path / "notes"``."""
    return lambda: (tmp_path / "notes").read_text().split() if (tmp_path / "notes").exists() else []


def note(folder: Path, what: object) -> None:
    with (folder / "notes").open("a") as file:  # a short line is appended whole
        file.write(f"{what}\n")


@pytest.fixture
def sent(sc: SparkContext, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each task of an action sent to the driver."""
    found: list[Any] = []
    run = sc.run_job_alone

    def watched(*args: Any) -> list[Any]:
        values = run(*args)
        found.extend(values)
        return values

    monkeypatch.setattr(sc, "run_job_alone", watched)
    return found


@pytest.mark.parametrize("ascending", [True, False])
def test_sorting_evaluates_its_input_once_and_only_when_asked(
    sc: SparkContext, tmp_path: Path, noted: Callable[[], list[str]], ascending: bool
) -> None:
    def key(n: int) -> int:
        note(tmp_path, n)
        return n * 37 % 101

    ordered = sc.parallelize(range(200), 5).map(lambda n: (key(n), n)).sortByKey(ascending, 4)
    assert ordered.getNumPartitions() == 4
    assert noted() == []
    assert ordered.keys().collect() == sorted((n * 37 % 101 for n in range(200)), reverse=not ascending)
    assert sorted(noted(), key=int) == [str(n) for n in range(200)]
    ordered.count()
    assert len(noted()) == 200, "the map outputs are used again"


def test_the_largest_and_smallest_are_chosen_on_executors(sc: SparkContext, sent: list[Any]) -> None:
    numbers = sc.parallelize([n * 7919 % 10_007 for n in range(10_000)], 8)
    expected = sorted(n * 7919 % 10_007 for n in range(10_000))
    assert numbers.top(3) == expected[:-4:-1]
    assert numbers.takeOrdered(3) == expected[:3]
    assert [len(part) for part in sent] == [3] * 16


def test_a_tree_is_reduced_on_executors_level_by_level(
    sc: SparkContext, tmp_path: Path, noted: Callable[[], list[str]], sent: list[Any]
) -> None:
    def merged(a: int, b: int) -> int:
        note(tmp_path, os.getpid())
        return a + b

    assert sc.parallelize(range(100), 16).treeAggregate(0, lambda a, n: a + n, merged, 2) == 4950
    by_driver = noted().count(str(os.getpid()))
    assert by_driver <= 4, "the square root of the partitions, not all of them"
    assert len(noted()) - by_driver >= 12
    assert sum(map(len, sent)) <= 4


def test_take_computes_no_more_partitions_than_it_needs(
    sc: SparkContext, tmp_path: Path, noted: Callable[[], list[str]]
) -> None:
    rdd = sc.parallelize(range(100), 20).mapPartitionsWithIndex(lambda i, part: note(tmp_path, i) or part)
    assert rdd.take(3) == [0, 1, 2]
    assert noted() == ["0"]


class Counted:
    """A record that this process counts while it is alive."""

    alive: ClassVar[weakref.WeakSet[Counted]] = weakref.WeakSet()

    def __init__(self, number: int) -> None:
        self.number = number
        Counted.alive.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Counted, (self.number,)


def test_a_local_iterator_holds_one_partition(sc: SparkContext) -> None:
    records = sc.parallelize(range(60), 6).map(Counted).toLocalIterator()
    most = 0
    for at, record in enumerate(records):
        assert record.number == at
        del record
        most = max(most, len(Counted.alive))
    assert at == 59
    assert most == 10
