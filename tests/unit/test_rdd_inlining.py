"""Loops that hold the user's functions: nobody can tell from what they give, say or let be seen that they do."""

from __future__ import annotations

import cProfile
import operator
import pstats
import sys
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sparklab.rdd import inlining
from sparklab.rdd.fusion import fused
from sparklab.rdd.operators import Filter, KeyBy, Map, MapValues, Operator, Origin
from sparklab.rdd.results import Aggregate, Reduce
from sparklab.rdd.usererror import describe_failure, without_loops
from tests.support.naive_driver import NaiveDriver

OUTSIDE = 7

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the instructions of other Pythons are not read, the functions are called"
)


@pytest.fixture(autouse=True)
def inlined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inlining, "INLINED_FROM", 1)


def through(operators: list[Operator], records: Any) -> Iterator[Any]:
    records = iter(records)
    for function, index in fused([(each, 0) for each in operators]):
        records = function(index, records)
    return records  # type: ignore[no-any-return]


def is_inlined(records: Any) -> bool:
    """Whether `records` come from a loop that holds functions of this file."""
    return bool(records.gi_code.co_filename == __file__)


def test_functions_of_one_expression_stand_in_the_loop_over_the_records() -> None:
    records = through([Filter(lambda x: x % 2), Map(lambda x: (x, OUTSIDE)), MapValues(lambda v: v + 1)], range(4))

    assert is_inlined(records)
    assert records.gi_code.co_name == "<lambda>"
    assert list(records) == [(1, 8), (3, 8)]


def test_functions_that_are_met_for_the_first_time_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inlining, "INLINED_FROM", 2)
    operators: list[Operator] = [Map(lambda x: x + 1000001)]

    assert not is_inlined(through(operators, [1]))
    assert is_inlined(through(operators, [1]))


def test_only_functions_that_share_file_names_and_globals_share_a_loop() -> None:
    elsewhere = eval(compile("lambda x: x + OUTSIDE", "elsewhere", "eval"), {"OUTSIDE": 100})

    def named(x: int) -> int:
        return x * 2

    for other, expected in [(elsewhere, 101), (named, 2), (str, "1")]:
        records = through([Map(lambda x: x + 1), Map(other)], [0])
        assert is_inlined(records)
        assert list(records) == [expected]
    assert through([Map(elsewhere), Map(lambda x: x + 1)], []).gi_code.co_filename == "elsewhere"


def test_the_same_code_of_two_files_is_two_loops() -> None:
    for file in ("one", "other"):
        function = eval(compile("lambda x: x + 1", file, "eval"))
        assert through([Map(function)], []).gi_code.co_filename == file


def test_globals_and_variables_around_are_read_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    around = 1

    def change() -> Iterator[int]:
        nonlocal around
        yield 0
        around = 10
        monkeypatch.setitem(globals(), "OUTSIDE", 70)
        yield 0

    assert list(through([Map(lambda x: x + around + OUTSIDE)], change())) == [8, 80]


def test_names_of_the_users_are_their_own() -> None:
    names = {"x": 1, "running": 2, "records": 3, "f0": 4, "total": 5, "f1": 6}
    add_all = eval("lambda each: each + x + running + records + f0 + total + f1", names)
    around = [eval(f"(lambda x: lambda pair: (pair[0] + x, pair[1]))({i})") for i in (10, 100)]

    assert list(through([Map(add_all)], [0])) == [21]
    assert Reduce(eval("lambda x, y: x + y + total", names))(0, iter([1, 1])) == [7]
    assert list(through([*map(Map, around), KeyBy(lambda x: x)], [(1, 2)])) == [((111, 2), (111, 2))]


def test_default_values_are_those_of_each_function() -> None:
    functions = [lambda x, add=add: x + add for add in (1, 10)]

    assert list(through([Map(f) for f in functions], [0])) == [11]
    assert Reduce(lambda a, b, c=100: a + b + c)(0, iter([1, 2])) == [103]


def test_a_reduction_takes_over_the_loop_over_its_records() -> None:
    def run(end: Any, records: Any) -> Any:
        return end(0, through([Filter(lambda x: x), Map(lambda x: x * 2)], records))

    for add in (operator.add, lambda a, b: a + b, max):
        assert run(Reduce(add), []) == run(Reduce(add), [0, 0]) == []
        assert run(Reduce(add), [0, 3, 0]) == [6]
    assert run(Reduce(operator.add), [1, 0, 2, 3]) == [12]
    assert run(Reduce(lambda a, b: (a, b)), [1, 0, 2, 3]) == [((2, 4), 6)]
    assert run(Aggregate([], lambda a, x: [*a, x]), [1, 0, 2]) == [2, 4]
    assert run(Aggregate(5, lambda a, x: a + x), []) == 5


def test_a_reduction_of_records_that_somebody_has_begun_to_read_takes_the_rest() -> None:
    records = through([Map(lambda x: x * 2)], range(4))
    assert next(records) == 0

    assert Reduce(operator.add)(0, records) == [2 + 4 + 6]


def test_a_stop_iteration_from_the_users_code_is_no_end() -> None:
    for stopping in (Map(lambda x: next(iter([]))), Filter(lambda x: next(iter([])))):
        with pytest.raises(RuntimeError, match="StopIteration"):
            list(through([stopping], [1, 2]))
        with pytest.raises(RuntimeError, match="StopIteration"):
            Reduce(lambda a, b: a)(0, through([stopping], [1, 2]))
    with pytest.raises(RuntimeError, match="StopIteration"):
        Reduce(lambda a, b: next(iter([])))(0, iter([1, 2]))


# --- what a failure shows --------------------------------------------------------------------------------------------


def of_many_lines(pair: Any) -> Any:
    """A line of its own for each part."""
    key, value = pair
    return (
        key
        + 1 / value
        + len(
            str(value),
        )
    )


def helped(x: Any) -> Any:
    return helper(x, 0)


def helper(x: Any, y: Any) -> Any:
    return x / y


FAILING: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda x: 1 + 1 / x, 0),
    (lambda pair: pair[0] + pair[1] / pair[0], (0, 1)),
    (of_many_lines, (1, 0)),
    (of_many_lines, 5),
    (helped, 1),
    (lambda text: int(text.strip()), " x "),
]


def failure(monkeypatch: pytest.MonkeyPatch, inlined_from: int, run: Callable[[], Any]) -> list[str]:
    """The user's part of the traceback, as it is shown."""
    monkeypatch.setattr(inlining, "INLINED_FROM", inlined_from)
    with pytest.raises(Exception) as failed:  # noqa: PT011
        run()
    error = failed.value
    without_loops(error)
    summary = traceback.TracebackException.from_exception(error)
    shown = [frame for frame in summary.stack if frame.filename == __file__]
    lines = traceback.StackSummary.from_list(shown).format()
    start = next(i for i, frame in enumerate(shown) if frame.name == "attempt")
    return [*lines[start + 1 :], *summary.format_exception_only()]


@pytest.mark.parametrize(("function", "record"), FAILING)
@pytest.mark.parametrize("reduced", [False, True])
def test_a_traceback_is_that_of_a_function_that_is_called(
    monkeypatch: pytest.MonkeyPatch, function: Callable[[Any], Any], record: Any, reduced: bool
) -> None:
    def attempt() -> None:
        records = through([Map(function), Map(str)], [record, record])
        list(Reduce(lambda a, b: a)(0, records) if reduced else records)

    called = failure(monkeypatch, sys.maxsize, attempt)

    assert len(called) >= 2
    assert failure(monkeypatch, 1, attempt) == called


def test_a_traceback_of_a_reduction_is_that_of_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt() -> None:
        Reduce(lambda a, b: a + len(b))(0, through([Map(lambda x: x)], [1, 2]))

    called = failure(monkeypatch, sys.maxsize, attempt)

    assert "a + len(b)" in called[0]
    assert failure(monkeypatch, 1, attempt) == called


@pytest.mark.parametrize(
    "operators",
    [
        [MapValues(lambda v: v + 1)],  # a record that is no pair: no line of the user's is to blame
        [Map(lambda x: x), Map(len)],
        [Map(lambda x: x), MapValues(lambda v: v)],
    ],
)
def test_what_the_user_did_not_write_is_no_line_of_the_users(
    monkeypatch: pytest.MonkeyPatch, operators: list[Operator]
) -> None:
    def attempt() -> None:
        list(through(operators, [5]))

    assert failure(monkeypatch, 1, attempt) == failure(monkeypatch, sys.maxsize, attempt)
    assert len(failure(monkeypatch, 1, attempt)) == 1


def test_a_source_that_fails_does_not_blame_the_loop_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    def attempt() -> None:
        list(through([Map(lambda x: x + 1)], source()))

    shown = failure(monkeypatch, 1, attempt)
    assert len(shown) == 2
    assert "in source" in shown[0]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_operator_and_the_record_of_a_failure_are_named_in_a_reduction(failing: int) -> None:
    sc = NaiveDriver(1)
    rdd = sc.parallelize([1, 2, 30, 4], 1)
    rdd = rdd.map(lambda x: 1 / (x - 30) if failing == 0 else x).filter(lambda x: x != 30 or failing != 1 or 1 / 0)

    with pytest.raises(ZeroDivisionError) as failed:
        rdd.reduce(lambda a, b: a + b if failing != 2 else 1 / 0)

    assert sc.last_task is not None
    where, _, record = describe_failure(failed.value, sc.last_task)
    assert where.startswith(("map", "filter", "reduce")[failing])
    assert record == ("30", "30", "2")[failing]


def test_a_warning_names_the_users_line() -> None:
    def lines(inlined_from: int) -> list[tuple[str, int, str]]:
        with warnings.catch_warnings(record=True) as caught, pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("always")
            patch.setattr(inlining, "INLINED_FROM", inlined_from)
            list(through([Map(lambda x: np.float64(1) / x), Map(str)], [np.float64(0)]))
        return [(each.filename, each.lineno, str(each.message)) for each in caught]

    assert lines(1) == lines(sys.maxsize)
    assert lines(1)[0][0] == __file__


# --- who watches -----------------------------------------------------------------------------------------------------


def doubled(x: int) -> int:
    return x * 2


def test_a_profile_counts_the_calls_of_each_function() -> None:
    profile = cProfile.Profile()
    profile.enable()
    try:
        assert Reduce(operator.add)(0, through([Map(doubled)], range(5))) == [20]
    finally:
        profile.disable()

    calls = {function: counts[1] for (_, _, function), counts in pstats.Stats(profile).stats.items()}  # type: ignore[attr-defined]
    assert calls["doubled"] == 5


def test_who_follows_the_lines_of_a_function_sees_its_frame() -> None:
    seen: list[str] = []

    def follow(frame: Any, event: str, argument: Any) -> Any:
        seen.append(frame.f_code.co_name)

    before = sys.gettrace()
    sys.settrace(follow)
    try:
        list(through([Map(doubled)], range(2)))
    finally:
        sys.settrace(before)

    assert seen.count("doubled") == 2


def test_a_debugger_that_runs_a_task_again_sees_the_variables_of_the_function() -> None:
    with inlining.functions_called(), pytest.raises(ZeroDivisionError) as failed:
        list(through([Map(of_many_lines)], [(1, 0)]))

    names = failed.traceback[-1].frame.f_locals
    assert (names["pair"], names["key"], names["value"]) == ((1, 0), 1, 0)


class Holds:
    """What can be referred to weakly."""


def test_a_loop_keeps_no_record_that_it_has_passed_on() -> None:
    records = through([Map(lambda x: Holds())], range(3))
    first = weakref.ref(next(records))

    assert first() is None


def test_an_operator_that_fails_in_a_loop_of_functions_is_named() -> None:
    step = Map(lambda x: 1 / x)
    step.origin = Origin(3, "map", "here:1")
    sc = NaiveDriver(1)

    with pytest.raises(ZeroDivisionError) as failed:
        list(through([step], [1, 0]))

    found = describe_failure(failed.value, sc._task(sc.parallelize([1], 1), 0))
    assert found.where == "map at here:1 (RDD 3), partition 0"
    assert found.record == "0"
