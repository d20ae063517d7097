"""Data that an operator of ours cannot handle: which key, record or number it was, and what to make of it.

Such errors are raised in our own code, whose frames would tell a reader nothing. They are told from the traceback, so
that nothing is checked per record.
"""

from __future__ import annotations

import os
import re
from types import FrameType
from typing import Any, Final, NamedTuple

from sparklab.errors import UserTypeError


class Unfit(NamedTuple):
    """What was found and what to do about it."""

    found: str
    do: str


_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_SHUFFLE: Final = _PACKAGE + "shuffle" + os.sep
_LENT: Final = ("collections/__init__.py", "heapq.py")  # what our operators call of the standard library
_TEXT: Final = re.compile(r"'(str|bytes)'")  # as an operand
_NO_PAIR: Final = re.compile(r"^'(\w+)' object is not subscriptable$|^cannot unpack non-iterable (\w+) object$")
_MISCALLED: Final = re.compile(r"^[\w.<>]+\(\) (missing \d+ required positional argument|takes .* positional argument)")
_GIVEN: Final = {
    "mapValues": "one argument, the value of a pair",
    "flatMapValues": "one argument, the value of a pair",
    "mapPartitions": "one argument, an iterator of the records of a partition",
    "foreachPartition": "one argument, an iterator of the records of a partition",
    "mapPartitionsWithIndex": "two arguments, the partition's number and an iterator of its records",
    "reduce": "two arguments, two records, that makes one of them",
    "fold": "two arguments, two records, that makes one of them",
    "reduceByKey": "two arguments, two values of a key, that makes one of them",
    "foldByKey": "two arguments, two values of a key, that makes one of them",
    "aggregate": "two arguments, what was put together so far and a record",
}
_GIVEN_RECORDS: Final = frozenset({"map", "flatMap", "filter", "foreach", "keyBy", "sortBy", "groupBy"})
_TAKES_PAIRS: Final = frozenset({"keys", "values", "mapValues", "flatMapValues", "lookup", "sampleByKey"}) | {
    "countByKey",
    "reduceByKeyLocally",
    "collectAsMap",
}
_TAKES_RESULTS: Final = frozenset({"flatMap", "flatMapValues", "mapPartitions", "mapPartitionsWithIndex"})
_OF_RECORDS: Final = frozenset({"distinct", "countByValue", "subtract", "intersection"})
_HASHABLE: Final = {
    "list": "a tuple of it: tuple({})",
    "dict": "a tuple of its items: tuple(sorted({}.items()))",
    "set": "a frozenset of it: frozenset({})",
    "bytearray": "bytes of it: bytes({})",
    "ndarray": "a tuple of its values: tuple({}.tolist())",
    "tuple": "what it holds hashable, too: tuples for lists, frozensets for sets",
}


def unfit(error: BaseException, where: str) -> Unfit | None:
    """What made an operator of ours raise `error`, None where it was not one, or it is not known.

    Parameters
    ----------
    where : str
        The operator and its place ("distinct at In [5]:3 (RDD 12), partition 3").
    """
    frames = _frames(error)
    own = next((frame for frame in reversed(frames) if not _file(frame).endswith(_LENT)), None)
    if not isinstance(error, TypeError) or own is None or not _file(own).startswith(_PACKAGE):
        return None
    text = str(error)
    if text.startswith("unhashable type"):
        return _unhashable(frames, own, text, where)
    if "not supported between instances of" in text:
        return _without_order(own, text)
    if "unsupported operand type" in text and getattr(own.f_locals.get("self"), "of_numbers", False):
        return _no_sum(text, where.split(" at ")[0])
    return _of_no_shape(own, text, where.split(" at ")[0])


def _of_no_shape(own: FrameType, text: str, operator: str) -> Unfit | None:
    """Records that are no pairs, and what a function of the user's takes or returned."""
    if _MISCALLED.match(text) and (operator in _GIVEN_RECORDS or operator in _GIVEN):
        given = _GIVEN.get(operator, "one argument, a record")
        pairs = ", also where it is a pair: lambda pair: (pair[0], pair[1])" if operator in _GIVEN_RECORDS else ""
        return Unfit(f"TypeError: {text}", f"give {operator} a function of {given}{pairs}")
    if operator in _TAKES_PAIRS and (found := _NO_PAIR.match(text)):
        return Unfit(
            f"a record of type {found[1] or found[2]}, where a pair (key, value) is meant (TypeError: {text})",
            "make pairs first, for example with map(lambda x: (x, 1)) or keyBy",
        )
    if operator in _TAKES_RESULTS and text.endswith("object is not iterable"):
        return Unfit(
            f"what the function given to {operator} returned is not iterable (TypeError: {text})",
            "let it return a list or a generator; for one result a record there are map and mapValues",
        )
    if _file(own).endswith("partitioner.py"):
        return Unfit(
            f"what the partitionFunc returned is no whole number (TypeError: {text})",
            "let it return an int for each key, the same in every process, like portable_hash",
        )
    return None


def refusal(error: BaseException, where: str) -> UserTypeError | None:
    """What to raise from `error` where it was raised in the driver; None where it says all that is known."""
    found = unfit(error, where)
    if found is None:
        return None
    refused = UserTypeError(f"running {where}", *found)
    refused.__cause__, error.__traceback__ = error, None
    return refused


def has_users_lines(error: BaseException) -> bool:
    """Whether a function that is neither ours nor called by ours alone is in the traceback of `error`."""
    return any(not _file(f).startswith(_PACKAGE) and not _file(f).endswith(_LENT) for f in _frames(error))


def _unhashable(frames: list[FrameType], own: FrameType, text: str, where: str) -> Unfit | None:
    for frame in frames:
        names = ("k", "key", "x") if _file(frame).endswith("stable_hash.py") else ("k", "key")
        if not _file(frame).startswith(_PACKAGE):
            continue
        for name in names:
            if name in frame.f_locals and not _is_hashable(frame.f_locals[name]):
                return _about_key(text, type(frame.f_locals[name]).__name__, where)
    counting = getattr(own.f_locals.get("self"), "of_keys", False)
    return _about_key(text, None, where) if counting or _file(own).startswith(_SHUFFLE) else None


def _about_key(text: str, kind: str | None, where: str) -> Unfit:
    kind = kind or text.rpartition("'")[0].rpartition("'")[2].rpartition(".")[2]
    noun = "record" if where.split(" at ")[0] in _OF_RECORDS else "key"
    make = _HASHABLE.get(kind, "a str, a number or a tuple of these")
    pairs = "map(lambda x: ...)" if noun == "record" else "map(lambda pair: (..., pair[1]))"
    return Unfit(
        f"a {noun} of type {kind}, which cannot be hashed (TypeError: {text})",
        f"make of each {noun} {make.format(noun)}, with {pairs} before this line",
    )


def _no_sum(text: str, action: str) -> Unfit:
    joined = "what + alone can join is for reduce(lambda a, b: a + b)"
    if _TEXT.search(text):
        return Unfit(
            f"records that are no numbers (TypeError: {text})",
            f"make them numbers first: map(float).{action}(); {joined}",
        )
    return Unfit(
        f"records of types that {action} cannot calculate with (TypeError: {text})",
        f"make them numbers of one type first: map(lambda x: ...).{action}(); {joined}",
    )


def _without_order(own: FrameType, text: str) -> Unfit | None:
    if _file(own).startswith(_SHUFFLE):
        return Unfit(
            f"keys that have no order among each other (TypeError: {text})",
            "make them of one type that can be compared, or give a keyfunc: sortByKey(keyfunc=str), sortBy(str)",
        )
    if else_ := getattr(own.f_locals.get("self"), "of_order", ""):
        return Unfit(
            f"records that have no order among each other (TypeError: {text})",
            f"make them of one type that can be compared, {else_}",
        )
    return None


def _frames(error: BaseException) -> list[FrameType]:
    found, each = [], error.__traceback__
    while each is not None:
        found.append(each.tb_frame)
        each = each.tb_next
    return found


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except Exception:  # a class of the user's may raise anything
        return False
    return True
