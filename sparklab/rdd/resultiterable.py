"""ResultIterable: the values of one key, as ``groupByKey`` and ``cogroup`` give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any


class ResultIterable(Iterable[Any]):
    """The values of one key: can be iterated any number of times and knows its length.

    Where they do not fit in the executor's memory they are on its disk, and are read from there while they are gone
    through. Pickled, cached or collected they are all in memory.

    Examples
    --------
    >>> values = ResultIterable([3, 1])
    >>> len(values), list(values), sum(values)
    (2, [3, 1], 4)
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.index = 0
        self.maxindex = len(data) if isinstance(data, Sized) else 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __reduce__(self) -> tuple[Any, ...]:
        return (ResultIterable, (self.data,))
