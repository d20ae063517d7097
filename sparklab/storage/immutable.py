"""What can never change: records that may be handed out as they are, again and again."""

from __future__ import annotations

import datetime
import enum
import sys
from collections.abc import Collection
from itertools import chain
from typing import Any, Final

_ATOMS: Final = {int, float, complex, bool, str, bytes, type(None), type(...), range}
_CONTAINERS: Final = {tuple, frozenset}
_NAMED_ATOMS: Final = {
    ("datetime", "date"), ("datetime", "timedelta"), ("datetime", "timezone"),
    ("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"),
}  # fmt: skip
_TIMES: Final[dict[str, type[Any]]] = {"datetime": datetime.datetime, "time": datetime.time}


def deeply_immutable(items: Collection[Any]) -> bool:
    """Whether no item, nor anything inside one, can change. Decided by exact types, never by trying."""
    return immutable_levels(items) is not None


def immutable_levels(items: Collection[Any]) -> list[Collection[Any]] | None:
    """The items, what they contain, what that contains, ...; None where something in there can change."""
    levels = [items]
    while True:
        others = set(map(type, items)) - _ATOMS
        if not others:
            return levels
        containers = {kind for kind in others if _is_container(kind)}
        for kind in others - containers:
            if not _is_atom(kind) and not (_TIMES.get(kind.__qualname__) is kind and _known_zones(items, kind)):
                return None
        if not containers:
            return levels
        if others == containers == set(map(type, items)):
            items = list(chain.from_iterable(items))
        else:
            items = list(chain.from_iterable(item for item in items if type(item) in containers))
        levels.append(items)


def _is_container(kind: type) -> bool:
    return kind in _CONTAINERS or (issubclass(kind, tuple) and _adds_no_state(kind, tuple))


def _adds_no_state(kind: type, base: type) -> bool:
    """Whether instances of `kind` hold nothing beyond what `base` holds: no attribute dict, no slots (a namedtuple)."""
    return kind.__dictoffset__ == base.__dictoffset__ and kind.__basicsize__ == base.__basicsize__


def _is_atom(kind: type) -> bool:
    if (kind.__module__, kind.__qualname__) in _NAMED_ATOMS:
        return getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind
    if issubclass(kind, enum.Enum):
        return True  # members are singletons: unpickling gives the same object again
    numpy = sys.modules.get("numpy")
    return (
        numpy is not None
        and issubclass(kind, numpy.number | numpy.bool_ | numpy.datetime64)
        and kind.__module__ == "numpy"
    )


def _known_zones(items: Collection[Any], kind: type[Any]) -> bool:
    """Whether the datetimes or times among `items` have no zone, or one of a class known never to change."""
    zones = {type(item.tzinfo) for item in items if isinstance(item, kind)}
    return all(zone.__module__ in ("builtins", "datetime", "zoneinfo") for zone in zones)
