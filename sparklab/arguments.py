"""What callers hand over, looked at in the call itself: later, in a job, nobody would see whose mistake it was."""

from __future__ import annotations

import operator
import reprlib
from typing import Any


def function(taker: str, given: Any) -> Any:
    """`given`, which can be called; TypeError in the name of `taker` where it cannot.

    Examples
    --------
    >>> function("map", 3)
    Traceback (most recent call last):
    TypeError: map takes a function, not int (3)
    """
    if not callable(given):
        raise TypeError(f"{taker} takes a function, not {_named(given)}")
    return given


def key_function(taker: str, given: Any) -> Any:
    """`given`, None or what can be called."""
    return given if given is None else function(taker, given)


def whole_number(taker: str, given: Any, of: str = "") -> int:
    """`given` as an int; TypeError where it is none. A float is none, whatever it holds.

    Examples
    --------
    >>> whole_number("repartition", 2.5, " of partitions")
    Traceback (most recent call last):
    TypeError: repartition takes a whole number of partitions, not float (2.5)
    """
    try:
        return operator.index(given)
    except TypeError:
        raise TypeError(f"{taker} takes a whole number{of}, not {_named(given)}") from None


def number(taker: str, given: Any) -> Any:
    """`given`, which can be told from 0 by size; TypeError where it cannot."""
    try:
        bool(given < 0)
    except (TypeError, ValueError):
        raise TypeError(f"{taker} takes a number, not {_named(given)}") from None
    return given


def text(taker: str, given: Any, noun: str = "a str") -> str:
    """`given`, a str; TypeError where it is none.

    Examples
    --------
    >>> text("saveAsTextFile", None, "a path as a str")
    Traceback (most recent call last):
    TypeError: saveAsTextFile takes a path as a str, not None
    """
    if not isinstance(given, str):
        raise TypeError(f"{taker} takes {noun}, not {_named(given)}")
    return given


PATH = "a path as a str"


def _named(given: Any) -> str:
    return "None" if given is None else f"{type(given).__name__} ({reprlib.repr(given)})"
