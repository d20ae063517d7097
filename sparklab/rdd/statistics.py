"""Numeric actions."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from math import isinf, isnan
from typing import Any

from sparklab.errors import UserTypeError
from sparklab.rdd.actions import Actions
from sparklab.rdd.operators import Filter, Operator, Records
from sparklab.rdd.statcounter import StatCounter


class Statistics(Actions):
    """What can be asked of an RDD of numbers."""

    def sum(self) -> Any:
        """The sum of the records, 0 where there is none. Blocks.

        Examples
        --------
        >>> sc.parallelize([1.0, 2.0, 3.0]).sum()
        6.0
        """
        parts = self._run(_Sum(), "sum")
        return self._in_driver("sum", lambda: _Sum()(0, iter(parts)))

    def stats(self) -> StatCounter:
        """Count, mean, variance, extremes in one pass, as a StatCounter. Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3]).stats().mean()
        2.0
        """
        return self._stats("stats")

    def _stats(self, action: str) -> StatCounter:
        parts = self._run(_Stats(), action)
        if not parts:
            raise ValueError("Can not reduce() empty RDD")
        total: StatCounter = self._in_driver(action, lambda: reduce(StatCounter.mergeStats, parts))
        return total

    def mean(self) -> Any:
        """The mean of the records, 0.0 where there is none. Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3]).mean()
        2.0
        """
        return self._stats("mean").mean()

    def variance(self) -> Any:
        """The variance of the records as a whole population (divided by n). Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 3]).variance()
        1.0
        """
        return self._stats("variance").variance()

    def stdev(self) -> Any:
        """The standard deviation of the records as a whole population. Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 3]).stdev()
        1.0
        """
        return self._stats("stdev").stdev()

    def sampleVariance(self) -> Any:
        """The variance estimated from the records as a sample (divided by n - 1). Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3]).sampleVariance()
        1.0
        """
        return self._stats("sampleVariance").sampleVariance()

    def sampleStdev(self) -> Any:
        """The standard deviation estimated from the records as a sample. Blocks.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3]).sampleStdev()
        1.0
        """
        return self._stats("sampleStdev").sampleStdev()

    def histogram(self, buckets: int | Sequence[Any]) -> tuple[Sequence[Any], list[int]]:
        """The edges of the buckets and the number of records in each. Blocks.

        A bucket holds its lower edge; the last one both. None and nan are not counted. Records that have no order among
        each other, or with the edges, are a UserCodeError with the record's place, or a UserTypeError.

        Parameters
        ----------
        buckets : int or sequence
            How many of equal width, or their sorted edges.

        Examples
        --------
        >>> sc.parallelize(range(51)).histogram(2)
        ([0, 25, 50], [25, 26])
        >>> sc.parallelize(["ab", "ac", "b", "bd", "ef"]).histogram(("a", "b", "c"))
        (('a', 'b', 'c'), [2, 2])
        """
        width: Any = None
        edges: Sequence[Any]
        if isinstance(buckets, int):
            if buckets < 1:
                raise ValueError("number of buckets must be >= 1")
            extremes = self._pipeline(Filter(_comparable), "histogram")._run(_Extremes(), "histogram")
            found = [pair for pair in extremes if pair is not None]
            if not found:
                raise ValueError("can not generate buckets from empty RDD")
            low, high, count = self._in_driver("histogram", lambda: _Extremes().merged(found))
            if low == high or buckets == 1:
                return [low, high], [count]
            edges, width = _even_edges(low, high, buckets)
        elif isinstance(buckets, list | tuple):
            width = _checked_width(buckets)
            edges = buckets
        else:
            raise TypeError("buckets should be a list or tuple or number(int or long)")
        counts = [sum(column) for column in zip(*self._run(_Histogram((edges, width)), "histogram"), strict=True)]
        return edges, counts


class _Sum(Operator):
    """The sum of the records."""

    __slots__ = ()
    of_numbers = True

    def __call__(self, index: int, records: Records) -> Any:
        return sum(records)


class _Stats(Operator):
    """The records, counted."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> StatCounter:
        return StatCounter(records)


def _comparable(x: Any) -> bool:
    return x is not None and not (type(x) is float and isnan(x))


class _Extremes(Operator):
    """The least and the largest record, and how many there are; None where there is none."""

    __slots__ = ()
    of_order = "numbers for buckets of equal width"

    def __call__(self, index: int, records: Records) -> tuple[Any, Any, int] | None:
        low = high = None
        count = 0
        for x in records:
            low = x if count == 0 else min(low, x)
            high = x if count == 0 else max(high, x)
            count += 1
        return (low, high, count) if count else None

    def merged(self, found: list[tuple[Any, Any, int]]) -> tuple[Any, Any, int]:
        """The same of all partitions."""
        low, high, count = found[0]
        for pair in found[1:]:
            low, high, count = min(low, pair[0]), max(high, pair[1]), count + pair[2]
        return low, high, count


def _even_edges(low: Any, high: Any, buckets: int) -> tuple[list[Any], Any]:
    try:
        width = (high - low) / buckets
    except TypeError:
        raise UserTypeError(
            f"making {buckets} buckets of equal width from {low!r} to {high!r}",
            "Can not generate buckets with non-number in RDD",
            "give their edges, of the records' type: histogram(['a', 'n', 'z'])",
        ) from None
    if isinf(width):
        raise ValueError("Can not generate buckets with infinite value")
    # Whole numbers stay whole where the width is.
    whole = int(width)
    if whole * buckets == high - low:
        width = whole
    return [i * width + low for i in range(buckets)] + [high], width


def _checked_width(edges: Sequence[Any]) -> Any:
    """The common width of the buckets, None where they differ."""
    if len(edges) < 2:
        raise ValueError("buckets should have more than one value")
    if any(i is None or (isinstance(i, float) and isnan(i)) for i in edges):
        raise ValueError("can not have None or NaN in buckets")
    try:
        ordered = sorted(edges)
    except TypeError as error:
        raise UserTypeError(
            "making buckets", f"edges that have no order among each other (TypeError: {error})", "give them of one type"
        ) from None
    if ordered != list(edges):
        raise ValueError("buckets should be sorted")
    if len(set(edges)) != len(edges):
        raise ValueError("buckets should not contain duplicated values")
    try:
        steps = [b - a for a, b in pairwise(edges)]
    except TypeError:
        return None
    return (edges[-1] - edges[0]) / (len(edges) - 1) if max(steps) - min(steps) < 1e-10 else None


class _Histogram(Operator):
    """Counts per bucket, with ``f = (edges, common width or None)``."""

    __slots__ = ()
    of_order = "that of the edges of the buckets"

    def __call__(self, index: int, records: Records) -> list[int]:
        edges, width = self.f
        low, high = edges[0], edges[-1]
        counts = [0] * len(edges)
        for x in records:
            if x is None or (isinstance(x, float) and isnan(x)) or x > high or x < low:
                continue
            counts[int((x - low) / width) if width else bisect.bisect_right(edges, x) - 1] += 1
        last = counts.pop()
        counts[-1] += last
        return counts
