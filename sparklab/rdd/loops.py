"""Short chains of operators that take one record to at most one, as one loop each, compiled when first met.

A chain of generators passes each record through a frame per operator; one loop calls the user's functions one after the
other, which is a tenth of the time of functions as small as a comparison. The loop is a generator like those: lazy,
record by record, and with an error for a StopIteration that leaves the user's code (PEP 479).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from operator import attrgetter
from typing import Any, Final

from sparklab.rdd.operators import Filter, KeyBy, Keys, Map, MapValues, Operator, PairWith, Records, Values

LOOPED_FROM = 2  # operators in a row: alone, each is such a loop already
_RESULTS: Final[dict[type[Operator], str]] = {
    Map: "f{0}({1})",
    KeyBy: "(f{0}({1}), {1})",
    MapValues: "({1}[0], f{0}({1}[1]))",
    Keys: "{1}[0]",
    Values: "{1}[1]",
    PairWith: "({1}, f{0})",
}
_FIRST_LINE: Final = 4  # of the steps, one a line
_FILE: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compiled loop")  # of this package: not shown


class Loop(Operator):
    """The operators ``f``, one after the other on each record."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        loop, _ = _compiled(tuple(map(type, self.f)))
        return loop(self, records)

    @staticmethod
    def waits_at(line: int) -> bool:
        """Whether no operator is at work at `line` of the loop: it begins, or waits for its next record."""
        return line < _FIRST_LINE

    def step_at(self, line: int) -> tuple[Operator, str]:
        """The operator at work at `line` of the loop, and the name of the variable with what it was given."""
        _, given = _compiled(tuple(map(type, self.f)))
        step = max(0, min(line - _FIRST_LINE, len(given) - 1))
        return self.f[step], given[step]


@cache
def _compiled(kinds: tuple[type[Operator], ...]) -> tuple[Callable[[Loop, Records], Iterator[Any]], list[str]]:
    """The loop over operators of these kinds, and the variables with what each of them is given."""
    functions = ", ".join(f"f{step}" for step in range(len(kinds)))
    lines = [
        "def loop(self, records):",
        f"    {functions}, = map(function_of, self.f)",
        "    for x in records:",
    ]
    given, value = [], "x"
    for step, kind in enumerate(kinds):
        given.append(value)
        last = step == len(kinds) - 1
        if kind is Filter:
            lines.append(
                f"        if f{step}({value}): yield {value}" if last else f"        if not f{step}({value}): continue"
            )
            continue
        result = _RESULTS[kind].format(step, value)
        if not last:
            value = f"x{step}"
        lines.append(f"        yield {result}" if last else f"        {value} = {result}")
    names: dict[str, Any] = {"function_of": attrgetter("f")}
    exec(compile("\n".join(lines), _FILE, "exec"), names)
    return names["loop"], given
