"""Checkpoints: an RDD's records kept in files, or in executors' caches, in the place of its lineage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sparklab.errors import StorageError
from sparklab.rdd.actions import Actions
from sparklab.rdd.core import Partition, RDDCore, SourcePartition
from sparklab.rdd.dependency import Shuffle
from sparklab.rdd.filesystems import is_url
from sparklab.rdd.operators import Origin
from sparklab.rdd.output import WritePickles, output_at
from sparklab.storage.codec import BATCH_RECORDS
from sparklab.storage.level import StorageLevel

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext


class WriteCheckpoint(WritePickles):
    """A part of a checkpoint."""

    __slots__ = ()

    _step = "checkpoint"


class CheckpointFiles:
    """A folder with a file of digest-checked frames for each partition. Survives every executor and the context."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        """Records of `partition`.

        Raises
        ------
        StorageError
            While iterating: its file is damaged or gone.
        """
        assert isinstance(partition, SourcePartition)
        return task.source.flatten(_batches(partition, task))


def _batches(partition: SourcePartition, task: TaskContext) -> Iterator[list[Any]]:
    from sparklab.rdd.wholefiles import pickled_batches

    try:
        yield from pickled_batches(partition.payload, task)
    except StorageError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise  # out of reach, and not known to be damaged
        raise StorageError(
            f"reading partition {partition.index} of a checkpoint, {partition.payload}",
            error.found,
            "nothing can compute it again, the lineage was cut when it was written: run what defines the RDD again, "
            "from its source, and checkpoint that; the other partitions' files are whole",
        ) from error


class CheckpointBlocks:
    """The cached blocks themselves: read only where the cache does not have them, which is too late."""

    def __init__(self, rdd: int) -> None:
        self.rdd = rdd

    def read(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        """There is nothing to read."""
        raise StorageError(
            f"reading partition {partition.index} of RDD {self.rdd}, which was checkpointed locally",
            "the executor that held it is gone, and a local checkpoint has no lineage to compute it from",
            "make the RDD anew; rdd.checkpoint() writes files, which survive executors",
        )


def write_files(rdd: RDDCore, path: str, run: Callable[..., list[Any]]) -> tuple[CheckpointFiles, Sequence[Partition]]:
    """The records of `rdd` are in files in the new folder `path`, written by a job that `run` runs. Blocks."""
    with output_at(path, marker=False) as output:
        write = WriteCheckpoint((output.temporary, None, BATCH_RECORDS))
        write.origin = Origin(rdd._id, "checkpoint", rdd.call_site)
        parts = run(rdd, write, None, "checkpoint")
        output.commit(parts)
        path = output.path
    return CheckpointFiles(path), [SourcePartition(i, f"{path}/{name}") for i, (_, name) in enumerate(parts)]


def marked_in(rdd: RDDCore, marked: set[int]) -> list[RDDCore]:
    """Those of the RDDs `marked` that a job of `rdd` has computed; none above another one."""
    found: list[RDDCore] = []
    seen: set[int] = set()
    stack = [rdd]
    while stack:
        node = stack.pop()
        if node._id in seen:
            continue
        seen.add(node._id)
        if node._id in marked:
            found.append(node)
        else:
            stack.extend(dependency.rdd for dependency in reversed(node.dependencies))
    return found


class Checkpointing(Actions):
    """Cutting the lineage of an RDD."""

    # Driver's book-keeping: None, or how it is to be checkpointed.
    _mark: str | None = None

    def checkpoint(self) -> None:
        """The RDD is written to files after the next job that computes it, and read from them from then on. Lazy.

        The files are in the folder that ``sc.setCheckpointDir`` named, one for each partition, complete or absent, each
        batch with a digest. A second job writes them: persist the RDD, or it is computed twice. They survive the loss
        of every executor, and of the context.

        Raises
        ------
        StorageError
            No folder was set.

        Examples
        --------
        >>> import tempfile
        >>> sc.setCheckpointDir(tempfile.mkdtemp())
        >>> squares = sc.parallelize(range(4)).map(lambda x: x * x)
        >>> squares.checkpoint()
        >>> squares.isCheckpointed(), squares.sum(), squares.isCheckpointed(), squares.sum()
        (False, 14, True, 14)
        """
        if self.context.getCheckpointDir() is None:
            raise StorageError(
                f"checkpointing RDD {self._id} ({self.operator} at {self.call_site})",
                "Checkpoint directory has not been set in the SparkContext",
                "sc.setCheckpointDir(folder) first: a folder or URL that every executor sees",
            )
        if self._mark is None:
            self._mark = "files"
            self.context.rdd_marked(self)

    def localCheckpoint(self) -> None:
        """The lineage is cut after the next job that computes the RDD, whose partitions stay on executors. Lazy.

        Nothing is written to a safe place: a partition whose executor is lost cannot be computed again.

        Examples
        --------
        >>> numbers = sc.parallelize(range(4)).map(lambda x: x + 1)
        >>> numbers.localCheckpoint()
        >>> numbers.isLocallyCheckpointed(), numbers.sum(), numbers.isCheckpointed()
        (True, 10, True)
        """
        if self._mark is not None:
            return
        self._mark = "blocks"
        if not self.storage_level.useDisk:
            # As Spark does: a block that is pressed out of memory must not be lost.
            self.storage_level = StorageLevel.MEMORY_AND_DISK
            self.context.rdd_persisted(self)
        self.context.rdd_marked(self)

    @property
    def is_checkpointed(self) -> bool:
        """Whether this RDD is marked to be checkpointed.

        Examples
        --------
        >>> sc.parallelize([1]).is_checkpointed
        False
        """
        return self._mark is not None

    def isCheckpointed(self) -> bool:
        """Whether this RDD has been checkpointed: a job has run, and the lineage is cut.

        Examples
        --------
        >>> sc.parallelize([1]).isCheckpointed()
        False
        """
        return self._restored is not None

    def isLocallyCheckpointed(self) -> bool:
        """Whether this RDD is marked by ``localCheckpoint``.

        Examples
        --------
        >>> sc.parallelize([1]).isLocallyCheckpointed()
        False
        """
        return self._mark == "blocks"

    def getCheckpointFile(self) -> str | None:
        """The folder that this RDD was written to, None before that and for local checkpoints.

        Examples
        --------
        >>> sc.parallelize([1]).getCheckpointFile() is None
        True
        """
        if not isinstance(self._restored, CheckpointFiles):
            return None
        path = self._restored.path
        return path if is_url(path) else f"file:{path}"

    def cleanShuffleDependencies(self, blocking: bool = False) -> None:
        """The shuffle files that this RDD was made from are removed; they are made again should anybody need them.

        With `blocking`, the driver has taken note on return.

        Examples
        --------
        >>> sums = sc.parallelize([("a", 1), ("a", 2)]).reduceByKey(lambda a, b: a + b)
        >>> before = sums.collect()
        >>> sums.cleanShuffleDependencies(blocking=True)
        >>> sums.collect() == before
        True
        """
        shuffles: list[int] = []
        seen: set[int] = set()
        stack: list[RDDCore] = [self]
        while stack:
            node = stack.pop()
            if node._id in seen:
                continue
            seen.add(node._id)
            for dependency in node.dependencies:
                stack.append(dependency.rdd)
                if isinstance(dependency, Shuffle):
                    shuffles.append(dependency.spec.shuffle_id)
        self.context.forget_shuffles(sorted(set(shuffles)), blocking)
