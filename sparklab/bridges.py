"""Bridges that PySpark lacks: between a context's RDDs and Dask's collections, and from pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sparklab.rdd.foreign import Foreign, from_pandas
from sparklab.rdd.rdd import RDD
from sparklab.rdd.results import to_list

if TYPE_CHECKING:
    import pandas as pd

    from sparklab.rdd.core import Driver, RDDCore


class Bridges:
    """The part of a SparkContext that takes data from other libraries."""

    def fromDask(self, collection: Any) -> RDD:
        """An RDD with the partitions of a Dask collection, which executors compute. Lazy.

        Of a bag, the records are the bag's. Of a data frame, an array or a Delayed, each partition, block or value is
        one record, and stays columnar. The graph is copied now; what several partitions need is computed for each.

        Parameters
        ----------
        collection
            A ``dask.bag.Bag``, ``dask.dataframe.DataFrame``, ``dask.array.Array``, Delayed, or list of Delayed.

        Raises
        ------
        SparklabError
            It is none of these, or was persisted on a Dask cluster.

        Examples
        --------
        >>> import dask.bag
        >>> bag = dask.bag.from_sequence(range(6), npartitions=3).map(lambda n: n * n)
        >>> sc.fromDask(bag).glom().collect()
        [[0, 1], [4, 9], [16, 25]]
        """
        from sparklab.cluster.daskbridge import pickled_parts

        return Foreign(cast("Driver", self), pickled_parts(collection), "fromDask")

    def fromPandas(self, df: pd.DataFrame, numSlices: int | None = None) -> RDD:
        """An RDD of the rows of `df` in `numSlices` partitions, whose only record is a data frame. Lazy.

        `df` is copied now. Frames stay columnar in caches and shuffles; for single rows, use
        ``flatMap(lambda frame: frame.itertuples(index=False))``.

        Parameters
        ----------
        df : pandas.DataFrame
        numSlices : int, optional
            By default ``sc.defaultParallelism``.

        Raises
        ------
        SparklabError
            pandas is not installed, or `df` is no data frame.

        Examples
        --------
        >>> import pandas as pd
        >>> frames = sc.fromPandas(pd.DataFrame({"n": [1, 2, 3, 4]}), 2)
        >>> frames.map(lambda frame: int(frame["n"].sum())).collect()
        [3, 7]
        >>> frames.map(lambda frame: frame.assign(square=frame["n"] ** 2)).toPandas()
           n  square
        0  1       1
        1  2       4
        2  3       9
        3  4      16
        """
        return from_pandas(cast("Driver", self), df, numSlices)

    def dask_bag(self, rdd: RDDCore) -> Any:
        """A Dask bag whose partitions are computed by jobs of this context; see ``RDD.toDask``."""
        from sparklab.cluster.daskbridge import bag_of

        driver = cast("Driver", self)

        def read(index: int) -> list[Any]:
            records: list[Any] = driver.run_job(rdd, to_list, [index], "toDask")[0]
            return records

        return bag_of(len(rdd.partitions), read, f"RDD {rdd._id} ({rdd.operator} at {rdd.call_site})")
