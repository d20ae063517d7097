"""What a cached batch is: live only where nothing in it can change, else copied or unpickled at every hand-out."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain, repeat
from operator import itemgetter
from sys import getrefcount, getsizeof
from typing import Any, Final, Protocol, TypeAlias
from weakref import getweakrefcount

from sparklab.storage.codec import Buffer, encode, frame
from sparklab.storage.columns import joined
from sparklab.storage.immutable import deeply_immutable, immutable_levels

_SAMPLED_ABOVE: Final = 1_000
_SAMPLE: Final = 500
_WIDEST_ROW: Final = 64  # tuples longer than this are looked at as records of their own, not column by column


# Of a column of tuples: the list of these, after that of the tuples that they are a column of.
Containers: TypeAlias = tuple[Sequence[Any], ...]

_REFERENCES_COUNTED: Final = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
_ONE_REFERENCE: Final = next(map(getrefcount, [object()]))  # as counted of what one list holds and nobody else

_NUMBERS: Final = {int, float, bool}
_COPIERS: Final[dict[type, Callable[[Any], Any]]] = {
    list: list.copy,
    dict: dict.copy,
    set: set.copy,
    bytearray: bytearray.copy,
}


class Batch(Protocol):
    """Records in order: their number, and iterators over them whose ``__length_hint__`` is exact."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Held(Protocol):
    """A batch in the cache: `bytes` as measured, and records that no later user of them can have changed."""

    records: int
    bytes: int

    def hand_out(self) -> Batch:
        """The records as they were computed; where it is a list, that is not to be changed by the caller."""
        ...

    def frame(self) -> Buffer:
        """The batch as one frame."""
        ...


def hold(batch: list[Any], serialized: bool = False) -> Held:
    """`batch` in a form that nobody can change any more: the caller may do to its own records what it likes.

    Parameters
    ----------
    batch : list
        Not empty; the list itself is taken over and must not be changed.
    serialized : bool
        Keep pickled bytes whatever the records are.

    Raises
    ------
    StorageError
        The records are mutable and cannot be pickled.
    """
    if not serialized:
        part = _part(batch)
        if part is not None:
            return _Columns(len(batch), part)
    return Pickled(len(batch), encode(batch))


class Pickled:
    """A batch kept as pickled bytes, unpickled afresh at every hand-out."""

    __slots__ = ("body", "bytes", "records")

    def __init__(self, records: int, body: bytes) -> None:
        self.records = records
        self.body = body
        self.bytes = len(body)

    def hand_out(self) -> list[Any]:
        loaded: list[Any] = pickle.loads(self.body)
        return loaded

    def frame(self) -> Buffer:
        return frame(self.records, self.body)


class _Columns:
    __slots__ = ("bytes", "part", "records")

    def __init__(self, records: int, part: _Part) -> None:
        _freeze(part)
        self.records = records
        self.part = part
        self.bytes = part.bytes

    def hand_out(self) -> Batch:
        records = self.part.hand_out()
        if type(records) is list:
            return records
        # A record that is made when it is asked for and let go of soon stays in the processor's cache.
        return _Made(self) if hasattr(records, "__length_hint__") else list(records)

    def frame(self) -> Buffer:
        return frame(self.records, encode(list(self.part.hand_out())))


class _Made:
    """The records of a batch, made anew by each iterator; how many are left, its ``__length_hint__`` tells."""

    __slots__ = ("_of",)

    def __init__(self, of: _Columns) -> None:
        self._of = of

    def __len__(self) -> int:
        return self._of.records

    def __iter__(self) -> Iterator[Any]:
        return iter(self._of.part.hand_out())


class _Part(Protocol):
    bytes: int

    def hand_out(self) -> Sequence[Any] | Iterator[Any]: ...


class _Live:
    __slots__ = ("bytes", "items")

    def __init__(self, items: Sequence[Any], bytes_: int) -> None:
        self.items = items
        self.bytes = bytes_

    def hand_out(self) -> Sequence[Any]:
        return self.items


class _Copies:
    """Lists, dicts, sets of what cannot change: a private copy each, copied again at every hand-out."""

    __slots__ = ("bytes", "copy", "items")

    def __init__(self, items: Sequence[Any], copy: Callable[[Any], Any]) -> None:
        self.copy = copy
        self.items = list(map(copy, items))
        self.bytes = 8 * len(items) + _sum_of(getsizeof, items) + sum(_deep_bytes(inner) for inner in _inner(items))

    def hand_out(self) -> Iterator[Any]:
        return map(self.copy, self.items)


class _Arrays:
    """NumPy arrays: a private one each, handed out as views, since even a shape can be assigned.

    An array that nothing but the batch refers to is private already; of the others a copy is kept. They are read-only
    from :func:`_freeze` on: until then it may turn out that the batch must be pickled as it is.
    """

    __slots__ = ("bytes", "items")

    def __init__(self, items: Sequence[Any], within: Containers) -> None:
        ours = list(_referred_here_alone(items, within))  # counted before this loop refers to them as well
        self.items = [
            array if alone and array.flags.owndata and not getweakrefcount(array) else array.copy("K")
            for array, alone in zip(items, ours, strict=True)
        ]
        self.bytes = sum(array.nbytes + 120 for array in self.items)

    def hand_out(self) -> Iterator[Any]:
        return map(type(self.items[0]).view, self.items)


class _Stack:
    """Small NumPy arrays of one shape and dtype as the rows of a single read-only array: no allocation for each.

    Rows are handed out as views of it, which a shape can be assigned to without the next one seeing it.
    """

    __slots__ = ("bytes", "rows")

    def __init__(self, flat: Any, rows: tuple[int, ...]) -> None:
        self.rows = flat.reshape(rows)
        self.bytes = flat.nbytes + 240

    def hand_out(self) -> Iterator[Any]:
        return iter(self.rows)


def _stacked(items: Sequence[Any]) -> _Stack | None:
    """A copy of the arrays `items` in one; None where a row of it could differ from the array in anything but speed."""
    flat = joined(items, bytes)
    return None if flat is None else _Stack(flat, (len(items), *items[0].shape))


class _Rows:
    """Tuples of one length, column by column, because some column must be copied at hand-out."""

    __slots__ = ("bytes", "columns")

    def __init__(self, columns: list[_Part], rows: int) -> None:
        self.columns = columns
        self.bytes = sum(column.bytes for column in columns)

    def hand_out(self) -> Iterator[Any]:
        columns = [iter(column.hand_out()) for column in self.columns]
        told = [column for column in columns if hasattr(column, "__length_hint__")]
        if not told:
            return zip(*columns, strict=True)
        rows = _Zipped(*columns, strict=True)
        rows.column = told[0]
        return rows


class _Zipped(zip):  # type: ignore[type-arg]  # it has no subscript when the program runs
    """Rows of columns in step, one of which knows how many are left."""

    column: Any

    def __length_hint__(self) -> int:
        return int(self.column.__length_hint__())


def _freeze(part: _Part) -> None:
    """The arrays of `part` are read-only."""
    if isinstance(part, _Rows):
        for column in part.columns:
            _freeze(column)
    elif isinstance(part, _Arrays):
        for array in part.items:
            array.setflags(write=False)


def _referred_here_alone(items: Sequence[Any], within: Containers) -> Iterator[bool]:
    """Of each of `items`, whether only they and the tuples that it stands in refer to it: nobody else can reach it."""
    if not _REFERENCES_COUNTED:
        return repeat(False, len(items))
    columns = (*within, items)
    counted = zip(*(map(getrefcount, column) for column in columns), strict=True)
    return map(tuple(_ONE_REFERENCE + (depth > 0) for depth in range(len(columns))).__eq__, counted)


def _part(items: Sequence[Any], within: Containers = ()) -> _Part | None:
    """`items` in the cheapest form that is safe, or None where only pickling is."""
    kinds = set(map(type, items))
    if kinds == {str}:
        return _Live(items, 8 * len(items) + _text_bytes(items))
    if kinds <= _NUMBERS:
        return _Live(items, 8 * len(items) + _sum_of(getsizeof, items))
    levels = immutable_levels(items) if deeply_immutable(items[:1]) else None  # the first mostly tells
    if levels is not None:
        return _Live(items, _live_bytes(items, levels))
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if kind is tuple:
        lengths = set(map(len, items))
        width = lengths.pop()
        if lengths or not 0 < width <= _WIDEST_ROW:
            return None
        columns = []
        for column in range(width):
            # not zip(*items), whose thousands of iterators at once set off the cyclic collector
            part = _part(list(map(itemgetter(column), items)), (*within, items))
            if part is None:
                return None
            columns.append(part)
        return _Rows(columns, len(items))
    copy = _COPIERS.get(kind)
    if copy is not None:
        return _Copies(items, copy) if all(map(deeply_immutable, _inner(items))) else None
    if kind.__module__ == "pyarrow.lib" and kind.__name__ in ("RecordBatch", "Table"):
        # Nobody can change them but who has what they were made from without copying: it is copied here, once.
        private = [pickle.loads(pickle.dumps(item, 5)) for item in items]
        return _Live(private, sum(item.nbytes + 500 for item in private))
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        stack = _stacked(items)
        if stack is not None:
            return stack
        return None if any(array.dtype.hasobject for array in items) else _Arrays(items, within)
    return None


def _inner(items: Sequence[Any]) -> list[list[Any]]:
    """What lists, sets or dicts contain; two lists for dicts, keys and values."""
    if not items or type(items[0]) is bytearray:
        return []
    inner = [list(chain.from_iterable(items))]
    if type(items[0]) is dict:
        inner.append(list(chain.from_iterable(map(dict.values, items))))
    return inner


def _live_bytes(items: Collection[Any], levels: list[Collection[Any]]) -> int:
    return 8 * len(items) + sum(map(_level_bytes, levels))


def _deep_bytes(items: Collection[Any]) -> int:
    return sum(map(_level_bytes, immutable_levels(items) or [items]))


def _level_bytes(items: Collection[Any]) -> int:
    """Bytes of the items without what they refer to; above 1,000 items that are not all str or bytes, from 500 of them.

    An object that stands in several records is counted for each.
    """
    kinds = set(map(type, items))
    if kinds == {bytes}:
        return 33 * len(items) + len(b"".join(items))
    if kinds == {str}:
        return _text_bytes(items)
    return _sum_of(getsizeof, items if isinstance(items, Sequence) else list(items))


def _text_bytes(items: Collection[str]) -> int:
    text = "".join(items)  # ten times as fast as looking at each
    if text.isascii():
        return 49 * len(items) + len(text)
    return sum(map(getsizeof, items))


def _sum_of(size: Callable[[Any], int], items: Sequence[Any]) -> int:
    if len(items) <= _SAMPLED_ABOVE or type(items[0]) in (str, bytes):
        return sum(map(size, items))
    sample = items[:: len(items) // _SAMPLE]
    return sum(map(size, sample)) * len(items) // len(sample)
