"""Functions of the user's read off their bytecode: what is read, and what is left alone."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab.rdd.straightline import straight_line

OUTSIDE = 7


def with_docstring(pair: Any) -> Any:
    """A docstring is a constant like any other."""
    return pair[0]


def taken_apart(pair: Any) -> Any:
    key, value = pair
    return value, key


def over(word: Any) -> Callable[[Any], Any]:
    return lambda line: word in line


# fmt: off
READ: list[tuple[Callable[..., Any], str]] = [
    (lambda x: x, "x"),
    (lambda x: None, "None"),
    (lambda x: "text", "'text'"),
    (lambda line: line.startswith("ERROR"), "line.startswith('ERROR')"),
    (lambda line: line.split("\t")[2], "line.split('\\t')[2]"),
    (lambda x: x[1:3], "x[1:3]"),
    (lambda x: x[::2], "x[::2]"),
    (lambda x: (x, 1), "(x, 1)"),
    (lambda x: [x, (x,)], "[x, (x,)]"),
    (lambda x: {"key": x}, "{'key': x}"),
    (lambda x: -x ** 2 // OUTSIDE, "-x ** 2 // OUTSIDE"),
    (lambda x: not x, "not x"),
    (lambda x: x is None, "x is None"),
    (lambda x: x not in (1, 2), "x not in (1, 2)"),
    (lambda x: x in {1, 2}, "x in frozenset({1, 2})"),
    (lambda x: math.sqrt(x), "math.sqrt(x)"),
    (lambda x: sorted(x, key=len, reverse=True), "sorted(x, key=len, reverse=True)"),
    (lambda x: x > 1 and x, "x > 1 and x"),
    (lambda x: x or x + 1 or OUTSIDE, "x or (x + 1 or OUTSIDE)"),
    (lambda x: "y" if x > 1 else "z" if x else "n", "'y' if x > 1 else 'z' if x else 'n'"),
    (lambda x: f"{x!r}: {x:>3} {x}", "f'{x!r}: {x:>3} {x}'"),
    (lambda a, b: a + b, "a + b"),
    (lambda x, k=3: x * k, "x * k"),
    (with_docstring, "pair[0]"),
    (taken_apart, "key, value = pair; (value, key)"),
    (over(1), "word in line"),
]
CALLED: list[Callable[..., Any]] = [
    lambda x: [y for y in x],
    lambda x: (lambda: x),
    lambda *all: all,
    lambda x, *, k=3: x,
    lambda x: locals(),
    lambda x: eval("x"),
    lambda x: 0 < x < 3,
    lambda x: (y := x) + y,
    lambda x: print(*x),
    lambda x: (yield x),
]
# fmt: on

only_this_python = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the instructions of other Pythons are not read, the functions are called"
)


@only_this_python
@pytest.mark.parametrize(("function", "text"), READ, ids=[text for _, text in READ])
def test_a_function_of_one_expression_is_read(function: Callable[..., Any], text: str) -> None:
    read = straight_line(function.__code__)

    assert read is not None
    assert "; ".join(map(ast.unparse, [*read.unpacked, read.result])) == text


@pytest.mark.parametrize("function", CALLED)
def test_a_function_that_does_more_is_left_alone(function: Callable[..., Any]) -> None:
    assert straight_line(function.__code__) is None


def loop_of_its_own(x: Any) -> Any:
    while x > 3:
        x -= 1
    return x


def caught(x: Any) -> Any:
    try:
        return 1 / x
    except ZeroDivisionError:
        return 0


def assigned(x: Any) -> Any:
    y = x + 1
    return y * y


def raised(x: Any) -> Any:
    raise ValueError(x)


def assigned_again(pair: Any) -> Any:
    pair, value = pair
    return pair, value


@pytest.mark.parametrize("function", [loop_of_its_own, caught, assigned, raised, assigned_again])
def test_a_function_with_statements_is_left_alone(function: Callable[..., Any]) -> None:
    assert straight_line(function.__code__) is None


@only_this_python
@pytest.mark.parametrize("function", [function for function, _ in READ], ids=[text for _, text in READ])
def test_what_was_read_stands_where_it_was_written(function: Callable[..., Any]) -> None:
    read = straight_line(function.__code__)

    assert read is not None
    last = list(function.__code__.co_positions())[-1]
    assert (read.result.lineno, read.result.end_lineno) == last[:2]  # where what is returned was made


OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>", "@"]
expressions = st.recursive(
    st.sampled_from(["x", "OUTSIDE", "1", "2.5", "'a'", "None", "()", "x[0]", "x.real", "len"]),
    lambda inner: st.one_of(
        st.builds(
            "({} {} {})".format,
            inner,
            st.sampled_from(OPERATORS),
            inner,
        ),
        st.builds("({} {} {})".format, inner, st.sampled_from(["<", "<=", "==", "!=", ">", ">=", "in"]), inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({}{})".format, st.sampled_from(["-", "~", "not "]), inner),
        st.builds("len({})".format, inner),
        st.builds("max({}, {})".format, inner, inner),
        st.builds("({}, {})".format, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("str({}).join(str({}))".format, inner, inner),
    ),
    max_leaves=8,
)


def outcome(function: Callable[[Any], Any], x: Any) -> tuple[str, str]:
    try:
        return "gave", repr(function(x))
    except Exception as error:
        return type(error).__name__, str(error)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@given(expressions, st.sampled_from([0, 1, -3, 2.5, "ab", (), (1, 2), None, True]))
def test_what_was_read_gives_what_the_function_gives(expression: str, x: Any) -> None:
    function = eval(f"lambda x: {expression}", globals())
    read = straight_line(function.__code__)
    if read is None or "**" in expression or "<<" in expression:  # numbers without end
        return
    again = eval(f"lambda x: {ast.unparse(read.result)}".replace("frozenset()", "()"), globals())

    assert outcome(again, x) == outcome(function, x)
