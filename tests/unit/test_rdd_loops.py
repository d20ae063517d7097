"""Chains of record-wise operators as compiled loops: the records, the laziness and the errors of the chain."""

from __future__ import annotations

import dis
import itertools
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest

from sparklab.rdd import inlining, loops
from sparklab.rdd.fusion import Fused
from sparklab.rdd.operators import Filter, KeyBy, Keys, Map, MapValues, Operator, Origin, PairWith, Values
from sparklab.rdd.usererror import describe_failure
from tests.support.naive_driver import NaiveDriver

PAIRED = [Map(lambda p: (p[1], p[0])), Filter(lambda p: p[0] != 3), KeyBy(repr), MapValues(str), PairWith("a")]


def chained(operators: tuple[Operator, ...], records: Iterator[Any]) -> list[Any]:
    for operator in operators:
        records = operator(0, records)
    return list(records)


@pytest.mark.parametrize("last", [*PAIRED, Keys(), Values()], ids=lambda operator: type(operator).__name__)
def test_a_loop_gives_what_the_chain_of_its_operators_gives(last: Operator) -> None:
    for before in itertools.chain(itertools.product(PAIRED), itertools.product(PAIRED, PAIRED)):
        operators = (*before, last)
        pairs = [(i, i % 4) for i in range(9)]
        assert list(loops.Chain(operators)(0, iter(pairs))) == chained(operators, iter(pairs))


def test_a_loop_takes_no_record_before_it_is_asked_for() -> None:
    seen: list[int] = []
    records = loops.Chain((Map(lambda x: seen.append(x) or x), Map(str)))(0, iter(range(9)))
    assert seen == []
    assert next(records) == "0"
    assert seen == [0]


@pytest.mark.parametrize("inlined_from", [1, 100])
@pytest.mark.parametrize("loop_from", [1, 2, 100])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_operator_that_failed_in_a_loop_is_named_with_what_it_was_given(
    monkeypatch: pytest.MonkeyPatch, failing: int, loop_from: int, inlined_from: int
) -> None:
    monkeypatch.setattr(loops, "LOOPED_FROM", loop_from)
    monkeypatch.setattr(inlining, "INLINED_FROM", inlined_from)
    sc = NaiveDriver(1)

    def step(number: int, x: int) -> int:
        if number == failing and x == 30 + number:
            x = -1  # what the function makes of its own variable is not what it was given
            raise ValueError(x)
        return x + 1

    rdd = sc.parallelize(range(28, 40), 1)
    rdd = rdd.map(lambda x: step(0, x)).keyBy(lambda x: step(1, x)).filter(lambda pair: step(2, pair[0]))

    with pytest.raises(ValueError, match="-1") as failed:
        rdd.collect()

    assert sc.last_task is not None
    where, index, record = describe_failure(failed.value, sc.last_task)
    assert where.startswith(("map", "keyBy", "filter")[failing] + " at test_rdd_loops.py")
    assert record == ("30", "31", "(32, 31)")[failing]
    assert index == (2, 2, 2)[failing]


def test_a_record_that_a_loop_had_done_with_is_not_blamed_for_its_source() -> None:
    sc = NaiveDriver(1)

    def source(records: Iterator[int]) -> Iterator[int]:
        yield from itertools.islice(records, 3)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more") as failed:
        sc.parallelize(range(9), 1).mapPartitions(source).map(str).filter(len).collect()

    assert sc.last_task is not None
    assert describe_failure(failed.value, sc.last_task).record is None


def ended(count: int) -> Iterator[int]:
    yield from range(count)
    raise ValueError("no more")


class Ended:
    """As ``ended``, and no generator, which an interpreter may resume by an instruction of its own."""

    def __init__(self, count: int) -> None:
        self.records = ended(count)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        return next(self.records)


@pytest.mark.parametrize("count", [1, 3, 100])  # the interpreter specialises what it has run a few times
@pytest.mark.parametrize("source", [ended, Ended])
@pytest.mark.parametrize("filtered", [0, 1, 2])
@pytest.mark.parametrize("kind", [loops.Chain, Fused, "alone"])
def test_no_record_is_blamed_where_a_loops_own_input_fails(
    kind: Any, filtered: int, source: Callable[[int], Iterator[int]], count: int
) -> None:
    steps = tuple(Filter(lambda x: True) if step == filtered else Map(str) for step in range(2))
    for step in steps:
        step.origin = Origin(0, type(step).__name__, "here:1")
    operator = steps[0] if kind == "alone" else kind(steps)
    sc = NaiveDriver(1)

    with pytest.raises(ValueError, match="no more") as failed:
        list(operator(0, source(count)))

    failure = describe_failure(failed.value, sc._task(sc.parallelize([1], 1), 0))
    assert failure.where
    assert failure.record is None


@pytest.mark.parametrize("name", ["loop", "fused"])
def test_the_first_loop_in_a_loops_code_is_the_one_over_its_records(name: str) -> None:
    # A comprehension before it would be that one, inlined, since Python 3.12.
    loop = inlining.compiled(loops._written((Map, Filter, Map)), [str, len, str])
    code = loop._code if name == "loop" else Fused.__call__.__code__
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    loops_over = [each for each in dis.get_instructions(code) if each.opname == "FOR_ITER"]

    assert inner == []
    assert len(loops_over) == (1 if name == "loop" else 2)


def test_a_stop_iteration_in_a_loop_is_an_error_and_not_the_end() -> None:
    def stop(x: int) -> int:
        if x == 3:
            raise StopIteration
        return x

    with pytest.raises(RuntimeError, match="StopIteration"):
        NaiveDriver(1).parallelize(range(9), 1).map(stop).map(str).collect()
