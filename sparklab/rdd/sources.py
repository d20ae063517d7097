"""The RDDs that a context makes out of nothing: collections, ranges, text files, unions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from sparklab.arguments import whole_number
from sparklab.rdd.core import Driver
from sparklab.rdd.nodes import ParallelCollection, Union
from sparklab.rdd.primitives import only_rdds
from sparklab.rdd.rdd import RDD
from sparklab.rdd.textfile import TextFile
from sparklab.rdd.wholefiles import FixedLengthRecords, PickledFiles, WholeFiles

_BATCH = 1024  # a list is dealt out in batches of at most this


def parallelize(context: Driver, c: Iterable[Any], numSlices: int | None = None) -> RDD:
    """An RDD of the items of `c` as they are now, in `numSlices` slices (``defaultParallelism`` if not given).

    A range is cut evenly; anything else is dealt out in batches, as PySpark does: ten items in four slices are
    2, 2, 2 and 4.
    """
    slices = slice_count("parallelize", context, numSlices)
    if isinstance(c, range):
        size = len(c)
        return ParallelCollection(context, [c[i * size // slices : (i + 1) * size // slices] for i in range(slices)])
    if not isinstance(cast(object, c), Iterable) and not hasattr(c, "__getitem__"):
        raise TypeError(f"parallelize takes a collection of records, not {type(c).__name__}: a list, for example")
    data = list(c)
    batch = max(1, min(len(data) // slices, _BATCH))
    batches = -(-len(data) // batch)
    edges = [i * batches // slices * batch for i in range(slices)]
    return ParallelCollection(context, [data[a:b] for a, b in zip(edges, [*edges[1:], len(data)], strict=True)])


def slice_count(maker: str, context: Driver, asked: int | None) -> int:
    """How many slices `maker` was asked for, by default ``defaultParallelism``; a float is cut off, as in PySpark."""
    if asked is None:
        return context.defaultParallelism
    slices = int(asked) if isinstance(asked, float) else whole_number(maker, asked, " of slices")
    if slices < 1:
        raise ValueError("Positive number of partitions required")
    return slices


def range_rdd(context: Driver, start: int, end: int | None = None, step: int = 1, numSlices: int | None = None) -> RDD:
    """An RDD of ``range(start, end, step)``, or of ``range(start)``; holds no data."""
    whole_number("range", start), whole_number("range", step)
    if end is not None and whole_number("range", step) == 0:
        raise ValueError("range() arg 3 must not be zero")
    numbers = range(start) if end is None else range(start, whole_number("range", end), step)
    return parallelize(context, numbers, numSlices)


def empty_rdd(context: Driver) -> RDD:
    """An RDD without records and without partitions."""
    return ParallelCollection(context, [], "emptyRDD")


def text_file(context: Driver, name: str, minPartitions: int | None = None, use_unicode: bool = True) -> RDD:
    """An RDD of the lines of the files that `name` stands for, large ones cut into about `minPartitions` splits."""
    if minPartitions is None:
        minPartitions = min(context.defaultParallelism, 2)
    return TextFile(context, name, minPartitions, use_unicode)


def whole_text_files(context: Driver, path: str, minPartitions: int | None = None, use_unicode: bool = True) -> RDD:
    """An RDD of ``(URL, text)`` of the files that `path` stands for."""
    return WholeFiles(context, path, _min_partitions(context, minPartitions), True, use_unicode)


def binary_files(context: Driver, path: str, minPartitions: int | None = None) -> RDD:
    """An RDD of ``(URL, bytes)`` of the files that `path` stands for."""
    return WholeFiles(context, path, _min_partitions(context, minPartitions), False)


def binary_records(context: Driver, path: str, recordLength: int) -> RDD:
    """An RDD of the records of `recordLength` bytes that the files hold."""
    if whole_number("binaryRecords", recordLength, " of bytes") < 1:
        raise ValueError(f"recordLength has to be at least 1, not {recordLength}")
    return FixedLengthRecords(context, path, recordLength)


def pickle_file(context: Driver, name: str) -> RDD:
    """An RDD of the records that ``saveAsPickleFile`` wrote to `name`."""
    return PickledFiles(context, name)


def _min_partitions(context: Driver, asked: int | None) -> int:
    return asked or min(context.defaultParallelism, 2)


def union(context: Driver, rdds: Sequence[RDD]) -> RDD:
    """An RDD of the records of all `rdds`, one after the other."""
    if not isinstance(cast(object, rdds), Sequence):
        raise TypeError(f"union takes RDDs in a list, not {type(rdds).__name__}")
    if not rdds:
        raise ValueError("union of no RDDs: give at least one")
    only_rdds("union", rdds)
    return rdds[0] if len(rdds) == 1 else Union(context, rdds)
