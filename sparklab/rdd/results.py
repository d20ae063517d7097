"""What an action computes of each partition on the executor, before the driver puts the parts together.

As in ``operators``: objects with the user's function as ``f``, loops written ``for x in records``.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from typing import Any, Final

from sparklab.rdd import loops
from sparklab.rdd.operators import Operator, Records, fresh


class NothingToReduce(Exception):
    """There is no partial result to reduce."""


def to_list(index: int, records: Records) -> list[Any]:
    return list(records)


def as_map(parts: Iterable[Iterable[tuple[Any, Any]]]) -> dict[Any, Any]:
    """The pairs of all partitions as a dict, the last value of a key."""
    found: dict[Any, Any] = {}
    for part in parts:
        for k, v in part:
            found[k] = v
    return found


STOPPED: Final = "Caught StopIteration thrown from user's code; failing the task"


def length(index: int, records: Records) -> int:
    counter = count()
    deque(zip(records, counter, strict=False), maxlen=0)
    return next(counter)


def reduced(f: Callable[[Any, Any], Any], first: Any, rest: Iterable[Any]) -> Any:
    """``f(f(first, rest[0]), rest[1])...``; a StopIteration in `f` stays an error."""
    for x in rest:
        try:
            first = f(first, x)
        except StopIteration as error:
            raise RuntimeError(STOPPED) from error
    return first


class Head(Operator):
    """The first ``f`` records."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> list[Any]:
        return list(islice(records, self.f))


class Foreach(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> None:
        f = self.f
        for x in records:
            f(x)


class ForeachPartition(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> None:
        made = self.f(records)
        # A generator function has done nothing yet: it works while it is read.
        if isinstance(made, Iterable):
            for _ in made:
                pass


class Reduce(Operator):
    """A list of the reduced records, empty where there is none."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> list[Any]:
        return list(loops.reduced(self, records))


class Aggregate(Operator):
    __slots__ = ("zero",)

    def __init__(self, zero: Any, f: Callable[[Any, Any], Any]) -> None:
        super().__init__(f)
        self.zero = zero

    def __call__(self, index: int, records: Records) -> Any:
        return next(loops.aggregated(self, fresh(self.zero), records))


class Aggregated(Aggregate):
    """The aggregate as the one record of a partition."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Iterator[Any]:
        yield super().__call__(index, records)


class Modulo(Operator):
    """``x`` becomes ``(partition index % f, x)``."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        key = index % self.f
        for x in records:
            yield key, x


class ReduceByKey(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> dict[Any, Any]:
        f = self.f
        merged: dict[Any, Any] = {}
        for x in records:
            k, v = x
            merged[k] = f(merged[k], v) if k in merged else v
        return merged


class CountByValue(Operator):
    __slots__ = ()
    of_keys = True

    def __call__(self, index: int, records: Records) -> dict[Any, int]:
        return dict(Counter(records))


class CountByKey(Operator):
    __slots__ = ()
    of_keys = True

    def __call__(self, index: int, records: Records) -> dict[Any, int]:
        return dict(Counter(self._keys(records)))

    def _keys(self, records: Records) -> Records:
        for x in records:
            yield x[0]


class ValuesOf(Operator):
    """Values of the key ``f``."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> list[Any]:
        key, values = self.f, []
        for x in records:
            if x[0] == key:
                values.append(x[1])
        return values


class Larger(Operator):
    __slots__ = ()
    of_order = "or give key=..., which is compared in their place"

    def __call__(self, a: Any, b: Any) -> Any:
        return max(a, b) if self.f is None else max(a, b, key=self.f)


class Smaller(Operator):
    __slots__ = ()
    of_order = "or give key=..., which is compared in their place"

    def __call__(self, a: Any, b: Any) -> Any:
        return min(a, b) if self.f is None else min(a, b, key=self.f)


class Largest(Operator):
    __slots__ = ("num",)
    of_order = "or give key=..., which is compared in their place"

    def __init__(self, num: int, f: Callable[[Any], Any] | None) -> None:
        super().__init__(f)
        self.num = num

    def __call__(self, index: int, records: Records) -> list[Any]:
        return heapq.nlargest(self.num, records, self.f)


class Smallest(Largest):
    """The `num` smallest."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> list[Any]:
        return heapq.nsmallest(self.num, records, self.f)
