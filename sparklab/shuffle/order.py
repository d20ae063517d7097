"""The order of keys: as Python's own sort gives it, by machine numbers where that is the same."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

_WORTH_ARRAYS: Final = 5_000  # keys; below, making arrays costs as much as it saves
_WORTH_IMPORT: Final = 200_000  # keys; below, importing NumPy costs more than it saves


def sorted_order(keys: list[Any], ascending: bool = True) -> list[int]:
    """The positions of `keys` in sort order; equal keys keep the order they have, in both directions.

    Keys that are all int of 64 bits, or all float without NaN, are compared as machine numbers: half the time.
    """
    order = _of_numbers(keys, ascending)
    return sorted(range(len(keys)), key=keys.__getitem__, reverse=not ascending) if order is None else order


def _of_numbers(keys: list[Any], ascending: bool) -> list[int] | None:
    found = numbers_in_order(keys, ascending)
    return None if found is None else found[1].tolist()


def numbers_in_order(keys: list[Any], ascending: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """The keys as machine numbers, and their positions in sort order; None where Python's own sort has to do it."""
    if len(keys) < (_WORTH_ARRAYS if "numpy" in sys.modules else _WORTH_IMPORT):
        return None
    kinds = set(map(type, keys))
    if kinds != {int} and kinds != {float}:
        return None
    import numpy as np

    try:
        numbers = np.fromiter(keys, np.int64 if int in kinds else np.float64, len(keys))
    except OverflowError:
        return None
    if float in kinds and np.isnan(numbers).any():
        return None
    if not ascending:
        numbers = numbers[::-1]
    order = numbers.argsort(kind="stable")
    if not ascending:  # from the back twice: equal keys keep their order
        order = len(keys) - 1 - order[::-1]
    return (numbers if ascending else numbers[::-1]), order
