"""Fusion of long chains of operators that take one record to at most one.

A chain of generators is as deep a recursion as it is long, and passes each record through as many frames. Short chains
become compiled loops; in an iterative program that maps the same RDD again and again, a loop over the operators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from sparklab.rdd.loops import Chain
from sparklab.rdd.operators import Filter, KeyBy, Keys, Map, MapValues, Operator, PairWith, Records, Values

Function: TypeAlias = Callable[[int, Iterator[Any]], Iterator[Any]]

FUSED_ABOVE = 50  # a loop that is compiled for each length would be compiled again in each round

_STEPS: dict[type[Operator], Callable[[Any], Callable[[Any], Any]]] = {
    Map: lambda f: f,
    Filter: lambda f: f,
    KeyBy: lambda f: lambda x: (f(x), x),
    MapValues: lambda f: lambda x: (x[0], f(x[1])),
    Keys: lambda f: lambda x: x[0],
    Values: lambda f: lambda x: x[1],
    PairWith: lambda f: lambda x: (x, f),
}


def fused(steps: Sequence[tuple[Function, int]]) -> list[tuple[Function, int]]:
    """`steps`, functions with the partition index each is called with, where a run of record-wise operators is one."""
    result: list[tuple[Function, int]] = []
    for record_wise, run in groupby(steps, lambda step: type(step[0]) in _STEPS):
        alike = tuple(run)
        if not record_wise:
            result.extend(alike)
            continue
        operators = tuple(function for function, _ in alike)
        # What takes one record at a time does not look at the index.
        result.append((Chain(operators) if len(steps) <= FUSED_ABOVE else Fused(operators), -1))
    return result


class Fused(Operator):
    """The operators ``f``, one after the other on each record."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        # No comprehension here: `usererror` takes the first loop of this code for the one over the records.
        steps = tuple(map(_step, self.f))
        for x in records:
            # `self` is the operator at work, for whoever reads this frame in a traceback.
            for self, filters, f in steps:  # noqa: B007
                if not filters:
                    x = f(x)
                elif not f(x):
                    break
            else:
                yield x


def _step(operator: Operator) -> tuple[Any, bool, Callable[[Any], Any]]:
    """`operator`, whether it filters, and what it makes of a record."""
    return operator, type(operator) is Filter, _STEPS[type(operator)](operator.f)
