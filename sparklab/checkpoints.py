"""The part of a context that writes checkpoints after the job that has computed them."""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from sparklab.arguments import PATH, text
from sparklab.cluster.dispatch import Dispatcher
from sparklab.rdd.checkpoint import CheckpointBlocks, marked_in, write_files
from sparklab.rdd.core import Partition, RDDCore, Restored
from sparklab.rdd.filesystems import as_os_error, filesystem_of, is_url
from sparklab.rdd.output import writing
from sparklab.rdd.paths import local_path
from sparklab.rdd.results import length
from sparklab.scheduler import messages as m
from sparklab.scheduler.machine import Scheduler


class Checkpoints:
    """Where checkpoints go, and which RDDs wait for theirs."""

    _dispatcher: Dispatcher
    _checkpoint_dir: str | None = None
    _marked: weakref.WeakValueDictionary[int, RDDCore]
    _written: dict[int, tuple[Restored, Sequence[Partition]]]  # whose lineage could not be cut yet

    def run_job_alone(
        self,
        rdd: RDDCore,
        func: Callable[[int, Iterator[Any]], Any],
        partitions: Sequence[int] | None = None,
        action: str = "runJob",
    ) -> list[Any]:
        """A job that no checkpoint follows."""
        raise NotImplementedError

    def setCheckpointDir(self, dirName: str) -> None:
        """Checkpoints go to a new folder in `dirName`, a folder or URL that every executor sees.

        Raises
        ------
        StorageError
            The folder cannot be made.

        Examples
        --------
        >>> import tempfile
        >>> sc.setCheckpointDir(tempfile.mkdtemp())
        >>> sc.getCheckpointDir()  # doctest: +ELLIPSIS
        'file:/...'
        """
        text("setCheckpointDir", dirName, PATH)
        name = str(uuid.uuid4())
        path = f"{dirName.rstrip('/')}/{name}" if is_url(dirName) else os.path.abspath(local_path(dirName) + "/" + name)
        with writing(path):
            if is_url(path):
                fs, inner = filesystem_of(path)
                with as_os_error():
                    fs.makedirs(inner, exist_ok=True)
            else:
                os.makedirs(path)
        self._checkpoint_dir = path

    def getCheckpointDir(self) -> str | None:
        """The folder that checkpoints go to, None where none was set.

        Examples
        --------
        >>> sc.setCheckpointDir(directory)
        >>> directory in sc.getCheckpointDir()
        True
        """
        path = self._checkpoint_dir
        return path if path is None or is_url(path) else f"file:{path}"

    def rdd_marked(self, rdd: RDDCore) -> None:
        """`rdd` is checkpointed after the next job that computes it."""
        self._marked[rdd._id] = rdd

    def forget_shuffles(self, shuffles: Sequence[int], blocking: bool) -> None:
        """The files of `shuffles` are removed; a job that reads one makes it again."""
        self._dispatcher.feed(*(m.ShuffleForgotten(shuffle, readers_stay=True) for shuffle in shuffles))
        if blocking:
            self._dispatcher.call(lambda _: True)

    def _checkpoint_after(self, rdd: RDDCore) -> None:
        """A job of `rdd` has ended: marked RDDs of its lineage are written, and their lineage is cut."""
        for marked in marked_in(rdd, set(self._marked)):
            if self._marked.pop(marked._id, None) is None:
                continue  # another thread's job was faster
            done = False
            try:
                written = self._written.pop(marked._id, None)
                restored, partitions = self._kept(marked) if written is None else written
                done = self._dispatcher.call(partial(_cut, marked, restored, partitions))
                if not done:
                    self._written[marked._id] = restored, partitions
            finally:
                if not done:
                    self._marked[marked._id] = marked

    def _kept(self, rdd: RDDCore) -> tuple[Restored, Sequence[Partition]]:
        if rdd._mark == "files":  # type: ignore[attr-defined]
            return write_files(rdd, f"{self._checkpoint_dir}/rdd-{rdd._id}", self.run_job_alone)
        partitions = [Partition(i) for i in range(len(rdd.partitions))]
        missing = self._dispatcher.call(
            lambda scheduler: [p.index for p in partitions if not scheduler.blocks.is_cached(rdd._id, p.index)]
        )
        if missing:
            self.run_job_alone(rdd, length, missing, "localCheckpoint")
        return CheckpointBlocks(rdd._id), partitions


def _cut(rdd: RDDCore, restored: Restored, partitions: Sequence[Partition], scheduler: Scheduler) -> bool:
    """Whether the lineage of `rdd` was cut: not while a stage is at work whose tasks were sent it uncut."""
    if any(rdd._id in run.stage.ids for run in scheduler.runs.values()):
        return False
    rdd._cut_lineage(restored, partitions)
    return True
