"""Functions over a range of keys that return a value: computed where the weights are, combined by whoever asked.

Source: Li et al. 2014, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Any, Final

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.keys import Array, Keys

PAGE_ROWS: Final = 1 << 20  # of a function's rows that are in hand at once


@dataclass(frozen=True)
class RangeFunction:
    """A function in two halves.

    Parameters
    ----------
    part : callable
        ``part(keys, weights, **arguments)`` on one server's rows: plain data, small.
    whole : callable
        ``whole(parts, **arguments)``: the value.
    merged : callable, optional
        ``merged(one, other, **arguments)``: one part of two. With it `part` gets a server's rows a page of at most
        :data:`PAGE_ROWS` at a time; without it all at once, which for a large table takes as much memory again.
    """

    part: Callable[..., Any]
    whole: Callable[..., Any]
    merged: Callable[..., Any] | None = None

    def over(self, pages: Iterable[tuple[Keys, Array]], arguments: Mapping[str, Any]) -> Any:
        """The part of one server, whose rows come page by page, at least one.

        Parts are merged in pairs of about the same size, like the digits of a counter: each takes part in few mergers.
        """
        found: list[tuple[int, Any]] = []
        for keys, weights in pages:
            found.append((1, self.part(keys, weights, **arguments)))
            while len(found) > 1 and found[-1][0] >= found[-2][0]:
                self._merge_last(found, arguments)
        while len(found) > 1:
            self._merge_last(found, arguments)
        return found[0][1]

    def failed(self, error: BaseException) -> tuple[str, str]:
        """What was found, and what to do, where it raised on a server."""
        return f"{type(error).__name__}: {error}", "mend the function or its arguments"

    def _merge_last(self, found: list[tuple[int, Any]], arguments: Mapping[str, Any]) -> None:
        assert self.merged is not None
        (many, one), (more, other) = found[-2:]
        found[-2:] = [(many + more, self.merged(one, other, **arguments))]


def _norm_part(keys: Keys, weights: Array, order: float) -> float:
    if order == 0:
        return float(np.count_nonzero(weights))
    absolute = np.abs(weights.astype(np.float64))
    if np.isinf(order):
        return float(absolute.max(initial=0.0))
    return float((absolute**order).sum())


def _norm_merged(one: float, other: float, order: float) -> float:
    return max(one, other) if np.isinf(order) else one + other


def _norm_whole(parts: Sequence[float], order: float) -> float:
    if np.isinf(order):
        return max(parts, default=0.0)
    total = float(sum(parts))
    return total if order == 0 else total ** (1 / order)


def _top_part(keys: Keys, weights: Array, count: int) -> list[list[float]]:
    size = np.abs(weights).max(axis=1) if weights.shape[1] > 1 else np.abs(weights[:, 0])
    chosen = np.argpartition(-size, min(count, len(size) - 1))[:count] if len(size) > count else np.arange(len(size))
    order = np.lexsort((keys[chosen], -size[chosen]))
    return [[int(keys[i]), *map(float, weights[i])] for i in chosen[order]]


def _top_merged(one: list[list[float]], other: list[list[float]], count: int) -> list[list[float]]:
    return sorted((*one, *other), key=lambda row: (-max(map(abs, row[1:])), row[0]))[:count]


def _top_whole(parts: Sequence[list[list[float]]], count: int) -> list[tuple[int, Any]]:
    rows = _top_merged([row for part in parts for row in part], [], count)
    return [(int(row[0]), row[1] if len(row) == 2 else tuple(row[1:])) for row in rows]


_MOST_CUTS: Final = 1 << 16


def _quantile_part(keys: Keys, weights: Array, q: float) -> list[Any]:
    """How many values there are, and order statistics that stand for as many of them each: all of a few."""
    values = np.sort(weights, axis=None).astype(np.float64)
    if len(values) > _MOST_CUTS:
        values = values[np.linspace(0, len(values) - 1, _MOST_CUTS).round().astype(np.int64)]
    return [int(weights.size), values.tolist()]


def _together(parts: Sequence[list[Any]]) -> tuple[Array, Array]:
    """The order statistics of all `parts`, ascending, and how many values each of them stands for."""
    values = np.concatenate([np.asarray(part[1], np.float64) for part in parts])
    stand_for = np.concatenate([np.full(len(part[1]), part[0] / max(1, len(part[1]))) for part in parts])
    order = np.argsort(values, kind="stable")
    return values[order], stand_for[order]


def _quantile_merged(one: list[Any], other: list[Any], q: float) -> list[Any]:
    """The same of both: what stands at a rank moves by 1/65536 of all at most."""
    values, stand_for = _together([one, other])
    count = one[0] + other[0]
    if len(values) > _MOST_CUTS:
        at = np.searchsorted(np.cumsum(stand_for), np.linspace(0, count, _MOST_CUTS))
        values = values[np.minimum(at, len(values) - 1)]
    return [count, values.tolist()]


def _quantile_whole(parts: Sequence[list[Any]], q: float) -> float:
    values, stand_for = _together(parts or [[0, []]])
    if not len(values):
        return float("nan")
    if np.allclose(stand_for, 1.0):
        return float(np.quantile(values, q))
    reached = np.cumsum(stand_for) - stand_for / 2
    return float(np.interp(q * stand_for.sum(), reached, values))


FUNCTIONS: Final[Mapping[str, RangeFunction]] = {
    "norm": RangeFunction(_norm_part, _norm_whole, _norm_merged),
    "top_k": RangeFunction(_top_part, _top_whole, _top_merged),
    "quantile": RangeFunction(_quantile_part, _quantile_whole, _quantile_merged),
    "sum": RangeFunction(lambda keys, weights: float(weights.sum(dtype=np.float64)), sum, add),
    "count": RangeFunction(lambda keys, weights: len(keys), sum, add),
}


def function_named(name: str) -> RangeFunction:
    """The function of that name. Raises ParameterServerError where there is none."""
    if name not in FUNCTIONS:
        raise ParameterServerError(
            f"calling {name!r} on the servers", "no such function", f"there are {', '.join(FUNCTIONS)}"
        )
    return FUNCTIONS[name]
