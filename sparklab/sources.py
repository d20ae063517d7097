"""The RDDs that a context makes: of collections, numbers and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from sparklab.rdd.rdd import RDD
from sparklab.rdd.sources import (
    binary_files,
    binary_records,
    empty_rdd,
    parallelize,
    pickle_file,
    range_rdd,
    text_file,
    union,
    whole_text_files,
)

if TYPE_CHECKING:
    from sparklab.rdd.core import Driver


class Sources:
    """The part of a SparkContext that makes RDDs out of nothing."""

    def _driver(self) -> Driver:
        return cast("Driver", self)

    def parallelize(self, c: Iterable[Any], numSlices: int | None = None) -> RDD:
        """An RDD of the elements of `c`, whose data is copied now.

        Examples
        --------
        >>> sc.parallelize([0, 2, 3, 4, 6], 5).glom().collect()
        [[0], [2], [3], [4], [6]]
        """
        return parallelize(self._driver(), c, numSlices)

    def range(self, start: int, end: int | None = None, step: int = 1, numSlices: int | None = None) -> RDD:
        """An RDD of the integers from `start` to `end` (not included), made on the executors.

        Examples
        --------
        >>> sc.range(2, 7, 2).collect()
        [2, 4, 6]
        """
        return range_rdd(self._driver(), start, end, step, numSlices)

    def emptyRDD(self) -> RDD:
        """An RDD without partitions.

        Examples
        --------
        >>> sc.emptyRDD().isEmpty(), sc.emptyRDD().getNumPartitions()
        (True, 0)
        """
        return empty_rdd(self._driver())

    def textFile(self, name: str, minPartitions: int | None = None, use_unicode: bool = True) -> RDD:
        """The lines of text files. Lazy: the path is looked at when partitions are asked for.

        Parameters
        ----------
        name : str
            A path, glob, directory, or several of them with commas between. ``file://``, ``http(s)://``, ``s3://``,
            ``gs://``, ``hdfs://`` and whatever else fsspec has a driver for; ``.gz .bz2 .xz .zst .lz4`` are read
            decompressed, one partition each.

        Examples
        --------
        >>> with open(directory + "/poem.txt", "w") as file:
        ...     _ = file.write("to be\\nor not\\n")
        >>> sc.textFile(directory + "/poem.txt").collect()
        ['to be', 'or not']
        """
        return text_file(self._driver(), name, minPartitions, use_unicode)

    def wholeTextFiles(self, path: str, minPartitions: int | None = None, use_unicode: bool = True) -> RDD:
        """``(URL, text)`` of each file; small files share a partition. Lazy. Paths as in :meth:`textFile`.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "1.txt").write_text("one"), (folder / "2.txt").write_text("two\\n")
        >>> sc.wholeTextFiles(str(folder)).values().collect()
        ['one', 'two\\n']
        """
        return whole_text_files(self._driver(), path, minPartitions, use_unicode)

    def binaryFiles(self, path: str, minPartitions: int | None = None) -> RDD:
        """``(URL, bytes)`` of each file, as it is; small files share a partition. Lazy. Paths as in :meth:`textFile`.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "image").write_bytes(bytes([255, 216]))
        >>> sc.binaryFiles(str(folder)).mapValues(len).values().collect()
        [2]
        """
        return binary_files(self._driver(), path, minPartitions)

    def binaryRecords(self, path: str, recordLength: int) -> RDD:
        """The records of `recordLength` bytes of each file. Lazy. Paths as in :meth:`textFile`.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "numbers"
        >>> _ = path.write_bytes(bytes(range(6)))
        >>> sc.binaryRecords(str(path), 2).map(list).collect()
        [[0, 1], [2, 3], [4, 5]]
        """
        return binary_records(self._driver(), path, recordLength)

    def pickleFile(self, name: str, minPartitions: int | None = None) -> RDD:
        """The records that ``saveAsPickleFile`` wrote, a partition for each file. Lazy. Paths as in :meth:`textFile`.

        Unpickling runs what the file says: read files of people you trust. `minPartitions` changes nothing.

        Examples
        --------
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "pairs")
        >>> sc.parallelize([("a", 1), ("b", 2)], 2).saveAsPickleFile(path)
        >>> sc.pickleFile(path).collect()
        [('a', 1), ('b', 2)]
        """
        return pickle_file(self._driver(), name)

    def union(self, rdds: Sequence[RDD]) -> RDD:
        """The records of all `rdds`, one after the other; duplicates stay.

        Examples
        --------
        >>> sc.union([sc.parallelize([1], 1), sc.parallelize([2, 3], 2)]).collect()
        [1, 2, 3]
        """
        return union(self._driver(), rdds)
