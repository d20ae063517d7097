"""Short chains of operators that take one record to at most one, as one loop each, compiled when first met.

A chain of generators passes each record through a frame per operator; one loop calls the user's functions one after the
other, which is a tenth of the time of functions as small as a comparison, or holds them (:mod:`sparklab.rdd.inlining`).
What puts the records together in the end, as ``reduce`` does, joins the loop. The loop is a generator like those of the
operators: lazy, record by record, and with an error for a StopIteration that leaves the user's code (PEP 479).
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from functools import cache
from types import GeneratorType
from typing import Any, Final

from sparklab.rdd.inlining import Line, Loop, Running, compiled
from sparklab.rdd.operators import Filter, KeyBy, Keys, Map, MapValues, Operator, PairWith, Records, Values

LOOPED_FROM = 2  # operators in a row: alone, each is such a loop already
_RESULTS: Final[dict[type[Operator], str]] = {
    Map: "f{0}({1})",
    KeyBy: "(f{0}({1}), {1})",
    MapValues: "(k{0}, f{0}(v{0}))",
    Keys: "{1}[0]",
    Values: "{1}[1]",
    PairWith: "({1}, f{0})",
}
_CALLING: Final = frozenset({Map, Filter, KeyBy, MapValues})


class Chain(Operator):
    """The operators ``f``, one after the other on each record."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        functions = [each.f for each in self.f]
        made = compiled(_written(tuple(map(type, self.f))), functions)
        if len(self.f) >= LOOPED_FROM or made.holds_users_code:
            looped: Records = made(self.f, functions, records)
            return looped
        for each in self.f:
            records = each(index, records)
        return records


def reduced(reduce: Operator, records: Records) -> Iterator[Any]:
    """``f(f(f(x0, x1), x2)...)`` of `records` as the only one, nothing where there are none; ``f`` is of `reduce`."""
    return _ended("added" if reduce.f is operator.add else "reduced", reduce, (reduce.f,), records)


def aggregated(aggregate: Operator, zero: Any, records: Records) -> Iterator[Any]:
    """``f(f(zero, x0), x1)...`` of `records` as the only one; ``f`` is of `aggregate`."""
    return _ended("aggregated", aggregate, (aggregate.f, zero), records)


def _ended(end: str, last: Operator, given: tuple[Any, ...], records: Records) -> Iterator[Any]:
    """The loop over `records` that `last` ends with the functions and values `given`; that of a chain is taken over."""
    before: tuple[Operator, ...] = ()
    names = _not_begun(records)
    running = names.get(".running")
    if isinstance(running, Running):
        before, records = running.operators, names[".records"]
    functions = [*(each.f for each in before), *given]
    loop = _written(tuple(map(type, before)), end)
    ended: Iterator[Any] = compiled(loop, functions)((*before, last, last), functions, records)
    return ended


def _not_begun(records: Any) -> dict[str, Any]:
    """The variables of `records` where that is a generator that has done nothing yet, so that nobody would miss it."""
    if type(records) is not GeneratorType or records.gi_frame is None:
        return {}
    return records.gi_frame.f_locals if inspect.getgeneratorstate(records) == inspect.GEN_CREATED else {}


@cache
def _written(kinds: tuple[type[Operator], ...], end: str = "") -> Loop:
    """The loop over operators of these kinds, and what puts the records together that they make."""
    steps, given, value = _steps(kinds, yields=not end)
    head = [Line("def loop(running, records):")]
    over = [Line("    for x in records:"), *steps]
    last = len(kinds)
    called = f"        total = f{last}(total, {value})"
    arguments = tuple(int(kind in _CALLING) for kind in kinds)
    given = (*given, value, value)
    if not end:
        return Loop((*head, *over), arguments, given)
    if end == "aggregated":
        lines = [*head, Line(f"    total = f{last + 1}"), *over, Line(called, last), Line("    yield total")]
        return Loop(tuple(lines), (*arguments, 2, 0), given)
    first = [*over, Line(f"        total = {value}"), Line("        break"), Line("    else:"), Line("        return")]
    if end == "added":
        called = f"        total = total + {value}"
    lines = [*head, *first, *over, Line(called, last), Line("    yield total")]
    return Loop(tuple(lines), (*arguments, 2), given)


def _steps(kinds: tuple[type[Operator], ...], yields: bool) -> tuple[list[Line], tuple[str, ...], str]:
    """The lines of operators of these kinds, the variables with what each is given, and that with the last result."""
    lines: list[Line] = []
    given, value = [], "x"
    for step, kind in enumerate(kinds):
        given.append(value)
        yields_here = yields and step == len(kinds) - 1
        if kind is Filter:
            passed = f"if f{step}({value}): yield {value}" if yields_here else f"if not f{step}({value}): continue"
            lines.append(Line(f"        {passed}", step))
            continue
        if kind is MapValues:
            lines.append(Line(f"        k{step} = {value}[0]", step))
            lines.append(Line(f"        v{step} = {value}[1]", step))
        result = _RESULTS[kind].format(step, value)
        if not yields_here:
            value = f"x{step}"
        lines.append(Line(f"        yield {result}" if yields_here else f"        {value} = {result}", step))
    return lines, tuple(given), value
