"""RDD: a resilient distributed dataset, with PySpark's methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sparklab.arguments import text
from sparklab.jvmonly import refuses_jvm_names
from sparklab.nearness import no_attribute, speaks_for_its_parts
from sparklab.rdd.actions import Actions
from sparklab.rdd.approximate import Approximate
from sparklab.rdd.barrier import RDDBarrier
from sparklab.rdd.checkpoint import Checkpointing
from sparklab.rdd.core import RDDCore
from sparklab.rdd.debug import debug_string
from sparklab.rdd.dependency import Shuffle
from sparklab.rdd.files import FileActions
from sparklab.rdd.frames import Frames
from sparklab.rdd.sampling import Sampling
from sparklab.rdd.statistics import Statistics
from sparklab.storage.level import StorageLevel

_A_LEVEL: Final = "StorageLevel.MEMORY_AND_DISK"


_OF_DATAFRAMES: Final = {
    "columns": "records are plain Python objects; rdd.first() shows one",
    "drop": "rdd.map leaves out a part of each record, rdd.filter whole records",
    "head": "rdd.take(5)",
    "limit": "rdd.take(n) gives a list",
    "orderBy": "rdd.sortBy",
    "printSchema": "records are plain Python objects; rdd.first() shows one",
    "select": "rdd.map(lambda record: ...)",
    "show": "rdd.take(20), or rdd.toPandas() for a small result",
    "where": "rdd.filter",
    "withColumn": "rdd.map(lambda record: ...)",
    "write": "rdd.saveAsTextFile or rdd.saveAsPickleFile",
}


@refuses_jvm_names
@speaks_for_its_parts
class RDD(Statistics, Sampling, FileActions, Frames, Checkpointing, Approximate, Actions):
    """A partitioned collection of records that remembers how it was made, so that a lost part can be made again.

    An RDD is not built by hand: it comes from ``sc.parallelize``, ``sc.textFile`` and the like, or from another RDD.
    Transformations (``map``, ``filter``, ``reduceByKey``) are lazy; actions (``collect``, ``count``) run a job, block
    until it ends and may be called from several threads at once.

    Source: Zaharia et al., "Resilient Distributed Datasets", NSDI'12, section 2.

    Examples
    --------
    >>> words = sc.parallelize(["to", "be", "or", "not", "to", "be"])
    >>> sorted(words.map(lambda w: (w, 1)).reduceByKey(lambda a, b: a + b).collect())
    [('be', 2), ('not', 1), ('or', 1), ('to', 2)]
    """

    def __class_getitem__(cls, item: Any) -> type[RDD]:
        return cls

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__name__ = "RDD"  # what Python calls each kind in its errors: "'RDD' object is not iterable"

    if not TYPE_CHECKING:  # type checkers know what there is, and say what is not

        def __getattr__(self, name: str) -> Any:
            if name in _OF_DATAFRAMES:
                raise AttributeError(f"an RDD has no {name}, as a DataFrame has: {_OF_DATAFRAMES[name]}", name=name)
            return no_attribute(self, name, "an RDD")

    # --- names ---------------------------------------------------------------------------------------

    def id(self) -> int:
        """The number of this RDD, unique in its context.

        Examples
        --------
        >>> sc.parallelize([1]).id() < sc.parallelize([1]).id()
        True
        """
        return self._id

    def name(self) -> str | None:
        """The name given by ``setName``, or None.

        Examples
        --------
        >>> sc.parallelize([1]).setName("ones").name()
        'ones'
        """
        return self._name

    def setName(self, name: str) -> RDD:
        """This RDD is called `name` in pictures, listings and ``toDebugString``.

        Examples
        --------
        >>> sc.parallelize([1]).setName("ones").name()
        'ones'
        """
        self._name = text("setName", name)
        return self

    @property
    def ctx(self) -> Any:
        """The context this RDD belongs to."""
        return self.context

    def __repr__(self) -> str:
        name = f"{self._name} " if self._name else ""
        return f"{name}{self.operator} RDD[{self._id}] at {self.call_site}"

    def toDebugString(self) -> bytes:
        """The lineage as indented text, one line per RDD; a shuffle starts a new block. Runs no job.

        Examples
        --------
        >>> print(sc.parallelize([1, 2], 2).map(str).toDebugString().decode())  # doctest: +ELLIPSIS
        (2) map RDD[...] at ... []
         |  parallelize RDD[...] at ... []
        """
        return debug_string(self).encode()

    def barrier(self) -> RDDBarrier:
        """This RDD, whose next operator makes a barrier stage: its tasks run at the same time, or none does.

        Examples
        --------
        >>> sc.parallelize([1, 2, 3, 4], 2).barrier().mapPartitions(lambda records: [sum(records)]).collect()
        [3, 7]
        """
        return RDDBarrier(self)

    def asNondeterministic(self) -> RDD:
        """This RDD, known not to be the same when it is computed again (it draws random numbers, asks the time).

        When a map output that was made from it is lost, all of them are made again, and whatever has read them; a job
        that has delivered a part of its result by then fails. ``checkpoint`` ends that. Not in PySpark's RDD API, where
        the like of it is a property of a function.

        Examples
        --------
        >>> import random
        >>> noise = sc.parallelize(range(4)).map(lambda _: random.random()).asNondeterministic()
        >>> noise.repartition(2).count()
        4
        """
        self._indeterminate = True
        return self

    def _is_barrier(self) -> bool:
        """Whether the stage that computes this RDD is a barrier stage."""
        stack: list[RDDCore] = [self]
        seen: set[int] = set()
        while stack:
            rdd = stack.pop()
            if rdd.is_barrier:
                return True
            parents = [d.rdd for d in rdd.dependencies if not isinstance(d, Shuffle) and d.rdd._id not in seen]
            seen.update(parent._id for parent in parents)
            stack.extend(parents)
        return False

    # --- persistence ---------------------------------------------------------------------------------

    @property
    def is_cached(self) -> bool:
        """Whether this RDD is marked to be persisted."""
        return self.storage_level != StorageLevel.NONE

    def getStorageLevel(self) -> StorageLevel:
        """Where this RDD's partitions are kept; ``StorageLevel.NONE`` before ``persist``.

        Examples
        --------
        >>> sc.parallelize([1]).cache().getStorageLevel()
        StorageLevel(False, True, False, False, 1)
        """
        return self.storage_level

    def cache(self) -> RDD:
        """Partitions are kept in memory from the first time they are computed. Lazy.

        Examples
        --------
        >>> squares = sc.parallelize(range(4)).map(lambda x: x * x).cache()
        >>> squares.is_cached, squares.sum(), squares.max()
        (True, 14, 9)
        """
        return self.persist(StorageLevel.MEMORY_ONLY)

    def persist(self, storageLevel: StorageLevel = StorageLevel.MEMORY_ONLY) -> RDD:
        """Partitions are kept at `storageLevel` from the first time they are computed. Lazy.

        Raises
        ------
        ValueError
            If another level was given before: ``unpersist()`` first.
        TypeError
            If it is no StorageLevel.

        Examples
        --------
        >>> from sparklab import StorageLevel
        >>> rdd = sc.parallelize([1, 2]).persist(StorageLevel.MEMORY_AND_DISK)
        >>> rdd.persist(StorageLevel.MEMORY_ONLY)
        Traceback (most recent call last):
        ValueError: Cannot change storage level of an RDD after it was already assigned a level
        """
        if not isinstance(storageLevel, StorageLevel):
            raise TypeError(f"persist takes a StorageLevel, for example {_A_LEVEL}, not {storageLevel!r}")
        if self.storage_level not in (StorageLevel.NONE, storageLevel):
            raise ValueError("Cannot change storage level of an RDD after it was already assigned a level")
        if self.storage_level != storageLevel:
            self.storage_level = storageLevel
            self.context.rdd_persisted(self)
        return self

    def unpersist(self, blocking: bool = False) -> RDD:
        """Kept partitions are dropped and none is kept any more; with `blocking`, they are gone on return.

        Examples
        --------
        >>> sc.parallelize([1]).cache().unpersist().is_cached
        False
        """
        if self.storage_level != StorageLevel.NONE:
            self.storage_level = StorageLevel.NONE
            self.context.rdd_unpersisted(self, blocking)
        return self
