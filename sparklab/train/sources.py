"""Where rows come from, and the two forms in which strategies take them: in this process, or as an RDD of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, cast

import numpy as np

from sparklab.context import SparkContext
from sparklab.errors import UserCodeError
from sparklab.quantities import size_text
from sparklab.rdd.rdd import RDD
from sparklab.rdd.textfile import splits_in
from sparklab.storage.level import StorageLevel
from sparklab.train.blocks import Block, Policy, Rows, blocks_of, rows_of
from sparklab.train.errors import TrainingInputError
from sparklab.train.files import Format, format_of, parsed
from sparklab.train.matrices import block_of

LOCAL_COPIES: Final = (
    4  # of rows that come to this process, at most at a time: pieces, whole, and shuffled with an order
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How data is read.

    Attributes
    ----------
    dimension : int or None
        D; None: as many features as occur.
    policy : str
        What becomes of NaN and infinity.
    file_format, zero_based
        Of files.
    """

    dimension: int | None
    policy: Policy
    file_format: Format = "auto"
    zero_based: bool = False


class Survey(NamedTuple):
    """What one look at all rows has shown."""

    rows: int
    labels: Any  # distinct ones, ascending, some three at most
    dimension: int
    partitions: int  # 0: the data is no RDD yet
    what: str  # whose labels they are

    def classes(self) -> tuple[Any, Any]:
        """The two classes, the positive one second; raises TrainingInputError where there are not two."""
        return two_classes(self.labels, f"reading the labels of {self.what}")


class Source(Protocol):
    """Labelled rows."""

    def survey(self) -> Survey:
        """Labels, and how many rows and features; blocks. The rows are checked on the way."""
        ...

    def local(self, positive: Any) -> Rows:
        """All rows in this process; blocks.

        Raises
        ------
        TrainingInputError
            They are more than this process has room for.
        """
        ...

    def mapped(self, function: Callable[[Block], Any]) -> list[Any]:
        """``function(block)`` of all blocks, in the order of the rows, made where the rows are; blocks."""
        ...

    def shards(self, workers: int | None) -> RDD:
        """An RDD of blocks, kept in memory, a partition a worker. Lazy."""
        ...

    def forget(self) -> None:
        """What was kept is freed."""
        ...


def source_of(X: Any, y: Any, reading: Reading) -> Source:
    """The rows that a user has handed over: an RDD, a matrix with labels, or paths of files."""
    if is_path(X):
        if y is not None:
            raise TrainingInputError(
                "reading files", "labels beside the paths (y)", "leave y out: a line begins with its label"
            )
        return _of_files(X if isinstance(X, str) else ",".join(X), reading)
    if isinstance(X, RDD):
        if y is not None:
            raise TrainingInputError(
                "reading an RDD", "labels beside it (y)", "put them into the records: (label, features)"
            )
        return RddSource(X, reading)
    return MatrixSource(X, y, reading)


def is_path(X: Any) -> bool:
    """Whether `X` is the path of a file, or a list of such."""
    return isinstance(X, str) or (
        isinstance(X, list | tuple) and len(X) > 0 and all(isinstance(path, str) for path in X)
    )


def _of_files(path: str, reading: Reading) -> Source:
    context = active_context()
    kind = format_of(path, reading.file_format)
    if context is not None:
        lines = context.textFile(path)
        return RddSource(
            lines.mapPartitionsWithIndex(parsed(kind, reading.zero_based, splits=splits_in(lines))), reading
        )
    records: list[Any] = []
    for number, name in enumerate(path.split(",")):
        try:
            with open(name, encoding="utf-8") as file:
                records.extend(parsed(kind, reading.zero_based, name)(number, file))
        except OSError as error:
            raise TrainingInputError(
                f"reading {name}", str(error), "give the path of a file; other places need a SparkContext"
            ) from error
    return MatrixSource.of_blocks(list(blocks_of(reading.policy, reading.dimension)(0, records)), reading)


def active_context() -> SparkContext | None:
    """The context that runs in this process, if one does."""
    return SparkContext._active


def needed_context() -> SparkContext:
    """The active context, which hands the rows of a matrix to its executors.

    Raises
    ------
    TrainingInputError
        There is none.
    """
    context = active_context()
    if context is None:
        raise TrainingInputError(
            "handing rows to executors to train with",
            "no SparkContext is active, and the data is no RDD",
            'make one (sc = SparkContext("local[*]")), or choose strategy="hogwild", which needs none',
        )
    return context


class MatrixSource:
    """A SciPy matrix (or a dense array) and its labels."""

    def __init__(self, X: Any, y: Any, reading: Reading) -> None:
        self._sliced: RDD | None = None
        self._reading = reading
        self._block, self._dimension = block_of(X, y, reading.policy, reading.dimension)

    @property
    def dimension(self) -> int:
        """Features of the matrix."""
        return self._dimension

    @classmethod
    def of_blocks(cls, blocks: list[Block], reading: Reading) -> MatrixSource:
        """Of blocks that have been checked."""
        if not blocks:
            raise _no_rows("reading the files")
        made = cls.__new__(cls)
        rows = rows_of(blocks, None)
        labels = np.concatenate([block[0] for block in blocks])
        made._sliced, made._reading = None, reading
        made._block = (labels, rows.indptr, rows.indices, rows.values)
        made._dimension = reading.dimension or int(rows.indices.max(initial=0)) + 1
        return made

    def survey(self) -> Survey:
        return Survey(len(self._block[0]), np.unique(self._block[0]), self._dimension, 0, "y")

    def local(self, positive: Any) -> Rows:
        return rows_of([self._block], positive)

    def mapped(self, function: Callable[[Block], Any]) -> list[Any]:
        return [function(self._block)]

    def shards(self, workers: int | None) -> RDD:
        if self._sliced is None:
            context = needed_context()
            count = workers or context.defaultParallelism
            labels, indptr, indices, values = self._block
            parts = []
            for i in range(count):
                first, last = i * len(labels) // count, (i + 1) * len(labels) // count
                start, stop = indptr[first], indptr[last]
                bounds = indptr[first : last + 1] - start
                parts.append(
                    (labels[first:last], bounds, indices[start:stop], None if values is None else values[start:stop])
                )
            self._sliced = context.parallelize(parts, count).persist(StorageLevel.MEMORY_AND_DISK)
        return self._sliced

    def forget(self) -> None:
        if self._sliced is not None:
            self._sliced.unpersist()
            self._sliced = None


class RddSource:
    """An RDD of ``(label, features)`` or of blocks; read once, kept in memory while training goes on."""

    def __init__(self, rdd: RDD, reading: Reading) -> None:
        self._blocks = rdd.mapPartitionsWithIndex(blocks_of(reading.policy, reading.dimension))
        self._blocks.setName("training rows").persist(StorageLevel.MEMORY_AND_DISK)
        self._reading = reading
        self._bytes: int | None = None

    def survey(self) -> Survey:
        with _own_errors():
            seen = self._blocks.mapPartitions(_seen).collect()
        rows = sum(part[0] for part in seen)
        if rows == 0:
            raise _no_rows("reading the RDD")
        labels = np.unique(np.concatenate([part[1] for part in seen if len(part[1])]))
        widest = max(part[2] for part in seen) + 1
        self._bytes = sum(part[3] for part in seen)
        return Survey(rows, labels, self._reading.dimension or max(widest, 1), len(seen), "the RDD")

    def local(self, positive: Any) -> Rows:
        context = cast("SparkContext", self._blocks.context)
        if self._bytes is None:
            self.survey()
        needed, room = LOCAL_COPIES * (self._bytes or 0), context.driverRoomBytes()
        if needed > room:
            raise TrainingInputError(
                "bringing the rows of the RDD into this process, where they are learnt from",
                f"they need {size_text(needed)}, and it has room for {size_text(room)}",
                'choose strategy="ps" or "bismarck", which leave them on the executors, or take fewer: rdd.sample(...)',
            )
        return rows_of(self._blocks.collect(), positive)

    def mapped(self, function: Callable[[Block], Any]) -> list[Any]:
        with _own_errors():
            return self._blocks.map(function).collect()

    def shards(self, workers: int | None) -> RDD:
        if workers is None or workers == self._blocks.getNumPartitions():
            return self._blocks
        return (
            self._blocks.repartition(workers)
            if workers > self._blocks.getNumPartitions()
            else (self._blocks.coalesce(workers))
        )

    def forget(self) -> None:
        self._blocks.unpersist()


@contextmanager
def _own_errors() -> Iterator[None]:
    """What our own check of the records found is the error; where it ran is not the news."""
    try:
        yield
    except UserCodeError as error:
        if isinstance(error.__cause__, TrainingInputError):
            raise error.__cause__ from None
        raise


def _seen(blocks: Iterable[Block]) -> Iterator[tuple[int, Any, int, int]]:
    """(rows, distinct labels - three at most, highest index, bytes) of a partition."""
    rows, highest, size = 0, -1, 0
    labels: Any = np.empty(0)
    for block in blocks:
        rows += len(block[0])
        size += sum(array.nbytes for array in block if array is not None)
        highest = max(highest, int(block[2].max(initial=0)) if len(block[2]) else -1)
        found = np.unique(block[0])
        labels = np.unique(np.concatenate([labels, found]) if len(labels) else found)[:3]
    yield rows, labels, highest, size


def two_classes(labels: Sequence[Any] | Any, attempted: str) -> tuple[Any, Any]:
    """The two classes, the positive one second.

    Raises
    ------
    TrainingInputError
        There are fewer or more.
    """
    numbers = np.asarray(labels)
    continuous = numbers.dtype.kind == "f" and bool(np.any(numbers != np.round(numbers)))
    if len(labels) == 2 and not continuous:
        return labels[0], labels[1]
    shown = ", ".join(repr(getattr(label, "item", lambda value=label: value)()) for label in labels[:3])
    if len(labels) < 2:
        raise TrainingInputError(attempted, f"one class only ({shown})", "give rows of both classes")
    if continuous:
        raise TrainingInputError(
            attempted,
            f"numbers that are not whole ({shown}, ...). Unknown label type: continuous",
            "give two classes, such as 0 and 1",
        )
    raise TrainingInputError(
        attempted,
        f"more than two classes ({shown}, ...). Only binary classification is supported. "
        "The type of the target is multiclass",
        "train one model a class: y == that class",
    )


def _no_rows(attempted: str) -> TrainingInputError:
    return TrainingInputError(attempted, "no rows", "check the path or the filters before it: rdd.count()")
