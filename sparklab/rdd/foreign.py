"""RDDs made of what other libraries hold: data frames, and partitions that their code makes on the executors."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sparklab.errors import SparklabError
from sparklab.rdd.core import Driver, Partition, SourcePartition
from sparklab.rdd.frames import needed
from sparklab.rdd.nodes import ParallelCollection
from sparklab.rdd.rdd import RDD
from sparklab.rdd.sources import slice_count
from sparklab.storage.codec import batches

if TYPE_CHECKING:
    import pandas as pd

    from sparklab.rdd.task import TaskContext


def from_pandas(context: Driver, df: pd.DataFrame, numSlices: int | None = None) -> ParallelCollection:
    """An RDD of `numSlices` partitions, each with one record: a data frame of that part of the rows of `df`."""
    pandas = needed("pandas", "making an RDD of a data frame")
    if not isinstance(df, pandas.DataFrame):
        raise SparklabError(
            "making an RDD of a data frame",
            f"a {type(df).__module__}.{type(df).__qualname__}",
            "give fromPandas a pandas.DataFrame; parallelize takes any collection of records",
        )
    slices = slice_count("fromPandas", context, numSlices)
    edges = [i * len(df) // slices for i in range(slices + 1)]
    pieces = [[df.iloc[a:b]] for a, b in pairwise(edges)]
    return ParallelCollection(context, pieces, "fromPandas")


class Foreign(RDD):
    """A partition for each of `functions`: pickled, of no argument, giving the partition's records."""

    def __init__(self, context: Driver, functions: Sequence[bytes], operator: str) -> None:
        super().__init__(context, (), operator)
        self._memoised_partitions = [SourcePartition(i, function) for i, function in enumerate(functions)]

    def _partitions(self) -> Sequence[Partition]:
        assert self._memoised_partitions is not None
        return self._memoised_partitions

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        assert isinstance(partition, SourcePartition)
        return task.source.flatten(batches(pickle.loads(partition.payload)()))
