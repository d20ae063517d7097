"""Functions over a range of keys that return a value: computed where the weights are, combined by whoever asked.

Source: Li et al. 2014, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.keys import Array, Keys


@dataclass(frozen=True)
class RangeFunction:
    """A function in two halves.

    Parameters
    ----------
    part : callable
        ``part(keys, weights, **arguments)`` on one server's rows: plain data, small.
    whole : callable
        ``whole(parts, **arguments)``: the value.
    """

    part: Callable[..., Any]
    whole: Callable[..., Any]


def _norm_part(keys: Keys, weights: Array, order: float) -> float:
    if order == 0:
        return float(np.count_nonzero(weights))
    absolute = np.abs(weights.astype(np.float64))
    if np.isinf(order):
        return float(absolute.max(initial=0.0))
    return float((absolute**order).sum())


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


def _top_whole(parts: Sequence[list[list[float]]], count: int) -> list[tuple[int, Any]]:
    rows = sorted((row for part in parts for row in part), key=lambda row: (-max(map(abs, row[1:])), row[0]))
    return [(int(row[0]), row[1] if len(row) == 2 else tuple(row[1:])) for row in rows[:count]]


_MOST_CUTS: Final = 4096


def _quantile_part(keys: Keys, weights: Array, q: float) -> list[Any]:
    """Equally spaced order statistics, with the number of values they stand for: within 1/4096 of the rank."""
    values = np.sort(weights, axis=None).astype(np.float64)
    if len(values) > _MOST_CUTS:
        values = values[np.linspace(0, len(values) - 1, _MOST_CUTS).round().astype(np.int64)]
    return [int(weights.size), values.tolist()]


def _quantile_whole(parts: Sequence[list[Any]], q: float) -> float:
    values = np.concatenate([np.asarray(part[1]) for part in parts]) if parts else np.empty(0)
    if not len(values):
        return float("nan")
    weights = np.concatenate([np.full(len(p[1]), p[0] / max(1, len(p[1]))) for p in parts])
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    if np.allclose(weights, 1.0):
        return float(np.quantile(values, q))
    reached = np.cumsum(weights) - weights / 2
    return float(np.interp(q * weights.sum(), reached, values))


FUNCTIONS: Final[Mapping[str, RangeFunction]] = {
    "norm": RangeFunction(_norm_part, _norm_whole),
    "top_k": RangeFunction(_top_part, _top_whole),
    "quantile": RangeFunction(_quantile_part, _quantile_whole),
    "sum": RangeFunction(lambda keys, weights: float(weights.sum(dtype=np.float64)), sum),
    "count": RangeFunction(lambda keys, weights: len(keys), sum),
}


def function_named(name: str) -> RangeFunction:
    """The function of that name. Raises ParameterServerError where there is none."""
    if name not in FUNCTIONS:
        raise ParameterServerError(
            f"calling {name!r} on the servers", "no such function", f"there are {', '.join(FUNCTIONS)}"
        )
    return FUNCTIONS[name]
