"""What a mistyped name may have meant, and by what name a class of many parts is known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import FunctionType
from typing import Any, Final, TypeVar

T = TypeVar("T")

_ALIKE: Final = 0.65
"""The least share of letters in common, as :func:`difflib.get_close_matches` counts it: ``tua`` is still ``tau``."""

_MOST: Final = 3
"""How many names are offered at most that begin as the word does."""


def did_you_mean(name: str, names: Iterable[str], *, before: str = "", then: str = "") -> str:
    """The question whether one of `names` was meant by `name`, followed by `then`; `then` alone if none is near.

    Parameters
    ----------
    before : str
        Stands in front of each name that is offered.
    then : str
        What else can be done, said with or without a guess.

    Examples
    --------
    >>> did_you_mean("tauu", ["lr", "tau"])
    'did you mean `tau`?'
    >>> did_you_mean("sta", ["start", "status", "stop"], before="%sparklab ", then="`%sparklab help` lists them all")
    'did you mean `%sparklab start` or `%sparklab status`? `%sparklab help` lists them all'
    >>> did_you_mean("speed", ["lr", "tau"], then="set lr or tau")
    'set lr or tau'
    """
    near = " or ".join(f"`{before}{each}`" for each in nearest(name, names))
    return " ".join(part for part in (f"did you mean {near}?" if near else "", then) if part)


def no_attribute(thing: object, name: str, kind: str) -> Any:
    """Raises the AttributeError for a name that Python did not find on `thing`, which is a `kind`, with the nearest.

    For a class's ``__getattr__``. A property that failed with an AttributeError of its own fails with that one.
    """
    if hasattr(type(thing), name):
        return object.__getattribute__(thing, name)
    # Names with an underscore are asked for by tools (copies, pickles, front ends): no search for these.
    if name.startswith("_"):
        raise AttributeError(f"{type(thing).__name__!r} object has no attribute {name!r}")
    guess = did_you_mean(name, [each for each in dir(type(thing)) if not each.startswith("_")])
    # With a name and no object Python does not add a guess of its own.
    raise AttributeError(f"{kind} has no {name}{guess and f': {guess}'}", name=name)


def speaks_for_its_parts(kind: type[T]) -> type[T]:
    """Python's own errors know the methods that `kind` has of its parts as its own: ``RDD.map() missing ...``."""
    for part in kind.__mro__[:-1]:
        for name, function in vars(part).items():
            if isinstance(function, FunctionType) and part.__module__.startswith("sparklab."):
                function.__qualname__ = f"{kind.__name__}.{name}"
    return kind


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that `name` may have meant, best first; none where nothing is near.

    Case, underscores and the dashes of options do not count. The same name alone is the answer if there is one, else
    at most three that begin with `name`, the shortest first, else the one that has most letters in common.

    Examples
    --------
    >>> nearest("reduce_by_key", ["reduce", "reduceByKey", "reduceByKeyLocally"])
    ['reduceByKey']
    >>> nearest("back", ["--background", "--view"])
    ['--background']
    """
    known = {_folded(each): each for each in names}
    word = _folded(name)
    if word in known:
        return [known[word]]
    start = word.lstrip("-")
    found = sorted((each for each in known if len(start) > 1 and each.lstrip("-").startswith(start)), key=len)[:_MOST]
    return [known[each] for each in found or difflib.get_close_matches(word, known, n=1, cutoff=_ALIKE)]


def _folded(name: str) -> str:
    return name.lower().replace("_", "")
