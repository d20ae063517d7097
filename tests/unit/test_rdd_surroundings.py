"""What a function could tell its call from its loop by: it gives, raises and keeps the same in both."""

from __future__ import annotations

import sys
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparklab.rdd import inlining
from sparklab.rdd.fusion import fused
from sparklab.rdd.operators import Filter, Map, Operator, Origin
from sparklab.rdd.results import Reduce
from sparklab.rdd.straightline import straight_line
from sparklab.rdd.usererror import describe_failure, without_loops
from tests.support.naive_driver import NaiveDriver

names_here = locals
ARRAY = np.array([1, 2])
TABLE = pd.DataFrame({"a": [1, 2, 3]})


def through(operators: list[Operator], records: Any) -> Iterator[Any]:
    records = iter(records)
    for function, index in fused([(each, 0) for each in operators]):
        records = function(index, records)
    return records  # type: ignore[no-any-return]


def both(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> tuple[Any, Any]:
    """What `run` gives where functions are called, and where they stand in the loop."""
    outcomes = []
    for inlined_from in (sys.maxsize, 1):
        monkeypatch.setattr(inlining, "INLINED_FROM", inlined_from)
        try:
            outcomes.append(run())
        except Exception as error:
            without_loops(error)
            summary = traceback.TracebackException.from_exception(error)
            own = [frame for frame in summary.stack if frame.filename == __file__ and frame.name == "<lambda>"]
            outcomes.append([*traceback.StackSummary.from_list(own).format(), *summary.format_exception_only()])
    called, inlined = outcomes
    return called, inlined


def names_of_caller() -> list[str]:
    return sorted(sys._getframe(1).f_locals)


def line_of_callers_caller() -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("of whoever called", stacklevel=3)
    return caught[0].filename


def names_given(x: Any, names: Callable[[], Any] = locals) -> Any:
    return sorted(names())


LOOKING: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda x: sorted(names_here()), 1),
    (names_given, 1),
    (lambda x: names_of_caller(), 1),
    (lambda x: sys._getframe().f_code.co_varnames, 1),
    (lambda x: len(TABLE.query("a > @x")), 1),
    (lambda x: sys.getrefcount(x), "text"),
    (lambda x: line_of_callers_caller(), 1),
]


@pytest.mark.parametrize(("function", "record"), LOOKING)
def test_a_function_that_looks_around_sees_its_own_frame(
    monkeypatch: pytest.MonkeyPatch, function: Callable[[Any], Any], record: Any
) -> None:
    called, inlined = both(monkeypatch, lambda: list(through([Map(function)], [record])))

    assert inlined == called


def test_an_array_that_others_refer_to_is_not_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[Any]:
        return list(through([Map(lambda array: array.resize(5))], (np.zeros(3) for _ in range(1))))

    called, inlined = both(monkeypatch, run)

    assert "cannot resize" in called[-1]
    assert inlined == called


def test_a_variable_around_that_has_no_value_is_named_as_the_user_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[Any]:
        later = 1
        records = [later]
        function = lambda x: x + later  # noqa: E731, F821
        del later
        return list(through([Map(function)], records))

    called, inlined = both(monkeypatch, run)

    assert "'later'" in called[-1]
    assert inlined == called


class Moody:
    """True to every second who asks."""

    def __init__(self) -> None:
        self.asked = 0

    def __bool__(self) -> bool:
        self.asked += 1
        return self.asked % 2 == 0


ARRAYS: list[Callable[[Any], Any]] = [
    lambda x: x < ARRAY,
    lambda x: not (x < ARRAY),
    lambda x: (x < ARRAY) and x,
    lambda x: x and x < ARRAY,
    lambda x: ARRAY if x else None,
    lambda x: ARRAY + x,
]


@pytest.mark.parametrize("function", ARRAYS)
@pytest.mark.parametrize("after", [[], [Map(str)]])
def test_a_result_whose_truth_cannot_be_told_is_no_error_of_the_function(
    monkeypatch: pytest.MonkeyPatch, function: Callable[[Any], Any], after: list[Operator]
) -> None:
    called, inlined = both(monkeypatch, lambda: list(through([Filter(function), *after], [1])))

    assert "ambiguous" in called[-1]
    assert inlined == called


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x and x,
        lambda x: x or x,
        lambda x: not (x and x),
        lambda x: x,
        lambda x: 1 if x else x,
        lambda x: x in (x,) and x is not None,
    ],
)
def test_a_filter_asks_for_the_truth_of_what_its_function_returns(
    monkeypatch: pytest.MonkeyPatch, function: Callable[[Any], Any]
) -> None:
    def run() -> tuple[int, list[int]]:
        records = [Moody(), Moody()]
        return len(list(through([Filter(function), Map(lambda x: x)], records))), [x.asked for x in records]

    called, inlined = both(monkeypatch, run)

    assert inlined == called


class Part:
    """What can be referred to weakly."""


class Whole:
    """Makes its parts when it is taken apart."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[Part]] = []

    def __iter__(self) -> Iterator[Any]:
        part = Part()
        self.made.append(weakref.ref(part))
        return iter((part, 1))


def of_parts(whole: Any) -> Any:
    _first, second = whole
    return second


@pytest.mark.parametrize("operators", [[Map(of_parts)], [Map(of_parts), Map(str)], [Filter(of_parts)]])
def test_the_parts_that_a_function_takes_a_record_into_are_gone_when_it_returns(
    monkeypatch: pytest.MonkeyPatch, operators: list[Operator]
) -> None:
    def run() -> bool:
        record = Whole()
        records = through(operators, [record, record])
        next(records)
        return record.made[0]() is None

    assert both(monkeypatch, run) == (True, True)


def add(left: Any, right: Any) -> Any:
    total, count = left
    _value, one = right
    return total, count + one


def test_a_reduction_keeps_no_part_of_a_record_that_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[int]:
        made: list[weakref.ref[Part]] = []
        alive: list[int] = []

        def source() -> Iterator[tuple[Part, int]]:
            for _ in range(4):
                alive.append(sum(each() is not None for each in made))
                part = Part()
                made.append(weakref.ref(part))
                record = (part, 1)
                del part
                yield record
                del record

        Reduce(add)(0, through([Map(lambda x: (x[0], x[1]))], source()))
        return alive

    called, inlined = both(monkeypatch, run)

    assert inlined == called


def test_a_function_that_is_large_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = eval("lambda x: x" + " + 1" * 400)

    assert both(monkeypatch, lambda: list(through([Map(deep)], [1]))) == ([401], [401])


def test_a_function_is_called_where_a_loop_cannot_be_compiled_so_deep_in_the_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    function = eval("lambda x: x" + " + 1" * 60)

    def run(depth: int) -> list[Any]:
        return run(depth - 1) if depth else list(through([Map(function)], [1]))

    free = sys.getrecursionlimit() - len(traceback.extract_stack())
    assert both(monkeypatch, lambda: run(free - 150)) == ([61], [61])


def test_constants_that_no_compiler_makes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def paired(x: Any) -> Any:
        return x, 7

    changed = tuple([7] if constant == 7 else constant for constant in paired.__code__.co_consts)
    paired.__code__ = paired.__code__.replace(co_consts=changed)

    assert both(monkeypatch, lambda: list(through([Map(paired)], [1]))) == ([(1, [7])], [(1, [7])])


def test_functions_whose_constants_are_equal_but_not_the_same_are_different_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = ["1", "True", "1.0", "0.0", "-0.0", "(1, 0)", "(True, -0.0)", "(1.0, 0.0)", "b''", "''", "1e999 - 1e999"]
    functions = [eval(f"lambda x: (x, {text})") for text in texts]

    called, inlined = both(monkeypatch, lambda: [repr(list(through([Map(f)], [1]))) for f in functions])

    assert inlined == called
    assert len(set(inlined)) == len(texts)


# --- tracebacks ------------------------------------------------------------------------------------------------------


def frames_of(error: BaseException | None) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)] if error is not None else []


def broken() -> Iterator[int]:
    yield 1
    raise ValueError("no more")


@pytest.mark.parametrize("kind", ["context", "cause", "group"])
def test_a_loop_that_was_waiting_is_not_shown_in_an_error_that_came_before(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(inlining, "INLINED_FROM", 1)
    with pytest.raises(ValueError, match="no more") as failed:
        list(through([Map(lambda x: x + 1)], broken()))
    first = failed.value
    assert frames_of(first)[-2:] == ["<lambda>", "broken"]
    error: BaseException = ExceptionGroup("several", [first]) if kind == "group" else RuntimeError("another")
    if kind == "context":
        error.__context__ = first
    elif kind == "cause":
        error.__cause__ = first
    first.__context__ = error  # which need not end

    without_loops(error)

    assert "<lambda>" not in frames_of(first)
    assert frames_of(first)[-1] == "broken"


@dataclass(frozen=True)
class Frozen(Exception):
    """An exception whose attributes cannot be set."""

    value: int


def test_the_traceback_of_an_error_that_cannot_be_changed_is_that_of_its_users() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise Frozen(1)

    with pytest.raises(Frozen) as failed:
        list(through([Map(lambda x: x + 1)], source()))

    without_loops(failed.value)
    assert frames_of(failed.value)[-1] == "source"


class Names:
    """Variables of what is executed: they can be read and set, and nothing else."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.values[name] = value


def test_an_error_in_what_the_user_executes_with_other_variables_is_described() -> None:
    step = Map(lambda x: exec("1 / 0", {}, Names()))
    step.origin = Origin(3, "map", "here:1")
    sc = NaiveDriver(1)
    with pytest.raises(ZeroDivisionError) as failed:
        list(through([step, Map(str)], [1]))

    assert describe_failure(failed.value, sc._task(sc.parallelize([1], 1), 0)).record == "1"
    without_loops(failed.value)


# --- what the compiler says ------------------------------------------------------------------------------------------

DOUBTFUL = [
    *("[1, x][x, 1]", "[x]['a']", "'abc'['a']", "(x, 1)['a']", "f'{x}'['a']", "{x: 1}(x)", "(x, x)(x)", "'a'(x)"),
    *("None[x]", "1[x]", "x is ()", "x is 1", "[x][f'{x}']", "'abc'[None]", "[x][x, x]", "(1)(x)", "f'{x}'(x)"),
]


@pytest.mark.parametrize("expression", DOUBTFUL)
def test_a_user_is_warned_once_of_an_expression_that_must_fail(expression: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function = eval(f"lambda x: {expression}")
        said = len(caught)
        straight_line(function.__code__)

    assert len(caught) == said


def test_nothing_is_underlined_where_the_user_has_compiled_without_places() -> None:
    def inverse(x: Any) -> Any:
        return 1 / x

    lines_alone = bytes([0xE8 | 7, 0, 0xE8 | 7, 2])  # of 16 instruction units
    inverse.__code__ = inverse.__code__.replace(co_linetable=lines_alone)

    assert straight_line(inverse.__code__) is None
