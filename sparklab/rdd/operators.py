"""Operators: small picklable objects that turn the records of one partition into others.

Each holds the user's function as ``f`` and reads its input by ``for x in records``, its first loop. When something
raises, ``usererror.describe_failure`` finds the operator's frame in the traceback and reads ``self`` and ``x`` from it;
in a compiled loop of several (``loops.Loop``) the line tells which of them was at work, and ``x``, ``x0``, ``x1``...
hold what each was given. So naming the failing record costs nothing per record. They are generators because a generator
turns a StopIteration that escapes from user code into an error (PEP 479) where ``map`` would end the partition early.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, islice
from operator import itemgetter
from typing import Any, NamedTuple

from sparklab.rdd.running import current_task
from sparklab.rdd.xorshift import first_int
from sparklab.shuffle.combine import GROUPING, identity
from sparklab.shuffle.spec import Aggregator

Records = Iterator[Any]


class Origin(NamedTuple):
    """Which RDD an operator belongs to."""

    rdd: int
    operator: str
    call_site: str


class Operator:
    """``operator(index, records)`` gives the records of partition `index` of the result, lazily."""

    __slots__ = ("f", "origin")

    def __init__(self, f: Any = None) -> None:
        self.f = f
        self.origin: Origin | None = None

    def __call__(self, index: int, records: Records) -> Any:
        raise NotImplementedError


class Flattened(chain[Any]):
    """A chain over the iterables that ``each`` yields; remembers ``each`` for the sake of error messages."""

    each: Iterator[Iterable[Any]]


def flattened(each: Iterator[Iterable[Any]]) -> Iterator[Any]:
    result = Flattened.from_iterable(each)
    result.each = each  # type: ignore[attr-defined]
    return result


class Map(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        f = self.f
        for x in records:
            yield f(x)


class Filter(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        f = self.f
        for x in records:
            if f(x):
                yield x


class FlatMap(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        return flattened(self._each(records))

    def _each(self, records: Records) -> Iterator[Iterable[Any]]:
        f = self.f
        for x in records:
            yield f(x)


class MapPartition(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        yield from self.f(records)


class MapPartitionWithIndex(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        yield from self.f(index, records)


class KeyBy(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        f = self.f
        for x in records:
            yield f(x), x


class MapValues(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        f = self.f
        for x in records:
            yield x[0], f(x[1])


class FlatMapValues(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        f = self.f
        for x in records:
            k = x[0]
            for v in f(x[1]):
                yield k, v


class Keys(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        for x in records:
            yield x[0]


class Values(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        for x in records:
            yield x[1]


class PairWith(Operator):
    """``x`` becomes ``(x, f)``: a set as a pair RDD."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        value = self.f
        for x in records:
            yield x, value


class Glom(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        yield list(records)


class UniqueIds(Operator):
    """``x`` becomes ``(x, index + i * step)``; ``f`` is the step, the number of partitions."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        return zip(records, count(index, self.f), strict=False)


class SortPartition(Operator):
    """The partition's pairs in the order of ``keyfunc(key)``, with ``f = (keyfunc, ascending)``."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        keyfunc, ascending = self.f
        key = itemgetter(0) if keyfunc is identity else lambda pair: keyfunc(pair[0])
        task = current_task()
        if task is not None:
            yield from task.shuffle.sort(records, key, ascending, task)
        else:
            yield from sorted(records, key=key, reverse=not ascending)


class CombinePartition(Operator):
    """``(key, combiner)`` once per key of the partition, in order of first appearance; ``f`` is an Aggregator."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        aggregator: Aggregator = self.f
        task = current_task()
        if aggregator == GROUPING and task is not None:
            yield from task.shuffle.group(records, task)  # lists that need not fit in memory
            return
        if task is not None:
            yield from task.shuffle.combine(records, aggregator, task)  # as many keys as there are
            return
        create, merge_value = aggregator.create, aggregator.merge_value
        combiners: dict[Any, Any] = {}
        for x in records:
            k, v = x
            combiners[k] = merge_value(combiners[k], v) if k in combiners else create(v)
        yield from combiners.items()


class Batches(Operator):
    """``(target partition, list of up to 10 records)``: what repartition moves; ``f`` is the number of partitions.

    The first target is drawn from the partition's index alone, so that recomputing gives the same layout.
    """

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        partitions: int = self.f
        position = first_int(index, partitions)
        while batch := list(islice(records, 10)):
            position = (position + 1) % partitions
            yield position, batch


class Unbatch(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        return chain.from_iterable(x[1] for x in records)


class Placed(Operator):
    """Key is the partition already: the placement of ``Batches``."""

    __slots__ = ()

    def __call__(self, key: Any, records: Any = None) -> int:
        position: int = key
        return position


# --- combiners ---------------------------------------------------------------------------------------

_IMMUTABLE = (int, float, complex, bool, str, bytes, type(None))


class FromZero:
    """Creates the first combiner of a key from its own copy of the zero value."""

    __slots__ = ("f", "zero")

    def __init__(self, zero: Any, f: Callable[[Any, Any], Any]) -> None:
        self.zero = zero
        self.f = f

    def __call__(self, v: Any) -> Any:
        return self.f(fresh(self.zero), v)


def fresh(zero: Any) -> Any:
    """A copy of a zero value that nobody else holds."""
    return zero if type(zero) in _IMMUTABLE else copy.deepcopy(zero)


def first_value(a: Any, b: Any) -> Any:
    return a
