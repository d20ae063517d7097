"""A failed partition computed once more, in the driver and in the caller's thread, where a debugger can look."""

from __future__ import annotations

import contextlib
import tempfile
import traceback
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from sparklab.cluster.host import open_local
from sparklab.cluster.jobs import users_part
from sparklab.cluster.stageshuffle import StageShuffle
from sparklab.errors import FetchFailedError, SparklabError
from sparklab.events.facts import StageNode
from sparklab.rdd.core import RDDCore
from sparklab.rdd.dependency import Shuffle
from sparklab.rdd.inlining import functions_called
from sparklab.rdd.running import running
from sparklab.rdd.task import TaskContext
from sparklab.rdd.unfit import has_users_lines, unfit
from sparklab.rdd.usererror import describe_failure
from sparklab.scheduler.machine import Scheduler
from sparklab.shuffle.spec import ShuffleInput, ShuffleSpec
from sparklab.shuffle.writer import write_map_output
from sparklab.storage.level import StorageLevel

SHUFFLE_BYTES: Final = 256 << 20  # what a shuffle that is read here may hold in memory


@dataclass(frozen=True, slots=True)
class Work:
    """What a job that failed was asked for: enough to do a part of it again while its error is known."""

    job: int
    rdd: RDDCore
    function: Callable[[int, Iterator[Any]], Any]


@dataclass(frozen=True)
class Rerun:
    """What came of computing a failed partition once more in the driver.

    Attributes
    ----------
    job, stage, partition : int
    error : BaseException or None
        What it raised this time, with its traceback; None where it went well.
    where : str
        The operator, its line and RDD, "" where none was at work.
    record_index : int
        Of the record in the partition's input that was being worked on, -1 where that is not known.
    record : str or None
        Its ``repr``, at most 200 characters.
    """

    job: int
    stage: int
    partition: int
    error: BaseException | None = None
    where: str = ""
    record_index: int = -1
    record: str | None = None

    @property
    def traceback(self) -> TracebackType | None:
        """Of the error, the user's own frames alone."""
        return users_part(self.error.__traceback__) if self.error is not None else None

    def post_mortem(self) -> None:
        """A debugger at the line that raised, with its variables. Blocks until it is left."""
        import pdb

        if self.error is not None:
            pdb.post_mortem(self.traceback)

    def __str__(self) -> str:
        head = f"partition {self.partition} of stage {self.stage} (job {self.job}), computed again in the driver"
        if self.error is None:
            return f"{head}: it went well. What failed depends on the executor, on time or on chance."
        shown = self.traceback
        if unfit(self.error, self.where) is not None and not has_users_lines(self.error):
            shown = None  # our own frames say nothing about the data
        lines = traceback.format_exception(type(self.error), self.error, shown)
        number = f" {self.record_index}" if self.record_index >= 0 else ""
        record = f"record{number}: {self.record}" if self.record is not None else f"record{number}" if number else ""
        return "\n".join([head, *filter(None, [self.where, record]), "".join(lines).rstrip()])


class _Shipped(dict[tuple[int, int], Any]):
    """Source partitions as a task would get them sent: those of the lineage itself."""

    def __init__(self, stage: RDDCore) -> None:
        super().__init__()
        self._rdds = {rdd._id: rdd for rdd in _lineage(stage)}

    def get(self, key: tuple[int, int], default: Any = None) -> Any:
        """The partition of that RDD and index."""
        rdd = self._rdds.get(key[0])
        return default if rdd is None else rdd.partitions[key[1]]


class _NoBlocks:
    """The caches, from here: what is in them is computed."""

    def get_or_compute(
        self, rdd: int, partition: int, level: StorageLevel, compute: Callable[[], Iterator[Any]], task: TaskContext
    ) -> Iterator[Any]:
        """The records, computed."""
        return compute()


_works: Final[weakref.WeakKeyDictionary[BaseException, Work]] = weakref.WeakKeyDictionary()


def note_failure(error: BaseException, work: Work) -> weakref.ref[BaseException]:
    """What was asked for is known for as long as somebody refers to `error`."""
    _works[error] = work
    return weakref.ref(error)


def work_of(error: BaseException | None, attempted: str) -> Work:
    """The job that ended in `error`.

    Raises
    ------
    SparklabError
        It is not known: no job has failed, or nobody refers to its error any more.
    """
    work = _works.get(error) if isinstance(error, SparklabError) else None
    if work is None:
        raise SparklabError(
            attempted,
            "no failed job is known whose error somebody still refers to",
            "run the action again, then ask at once; or keep the error: except JobFailed as error: sc.rerun(error)",
        )
    return work


def rerun(work: Work, stage: StageNode, partition: int, ask: Callable[[Callable[[Scheduler], Any]], Any]) -> Rerun:
    """Partition `partition` of `stage` was computed here, as far as it goes; see :class:`Rerun`.

    The functions are the program's own objects, not copies: what they change stays changed. Accumulators count nothing.

    Raises
    ------
    SparklabError
        What the stage reads is not on this host, or not there any more.
    """
    attempted = f"computing partition {partition} of stage {stage.stage} (job {work.job}) in the driver"
    target, writes = _target(work.rdd, stage.shuffle)
    inputs = ask(lambda scheduler: _inputs(scheduler, target))
    with tempfile.TemporaryDirectory(prefix="sparklab-rerun-") as folder:
        task = TaskContext(
            job=work.job,
            stage=stage.stage,
            partition=partition,
            attempt=0,
            task=-1,
            executor=-1,
            blocks=_NoBlocks(),
            shuffle=StageShuffle(inputs, open_local, folder, SHUFFLE_BYTES),
            shipped=_Shipped(target),
        )
        try:
            with running(task), functions_called(), contextlib.ExitStack() as ends:
                records = target.iterator(partition, task)
                ends.callback(lambda: [end() for end in task.on_end])
                if writes is None:
                    work.function(partition, records)
                else:
                    write_map_output(records, writes, partition, folder, SHUFFLE_BYTES, task.metrics)
        except FetchFailedError as error:
            raise SparklabError(
                attempted, f"what it reads is not there: {error.found}", "run the action again, then ask at once"
            ) from error
        except Exception as error:
            where, index, record = describe_failure(error, task)
            return Rerun(work.job, stage.stage, partition, error, where, index, record)
    return Rerun(work.job, stage.stage, partition)


def _target(rdd: RDDCore, shuffle: int) -> tuple[RDDCore, ShuffleSpec | None]:
    """The last RDD of the stage that writes `shuffle` for `rdd`, or of the last stage where that is below 0."""
    for one in _lineage(rdd) if shuffle >= 0 else ():
        for dependency in one.dependencies:
            if isinstance(dependency, Shuffle) and dependency.spec.shuffle_id == shuffle:
                return dependency.rdd, dependency.spec
    return rdd, None


def _inputs(scheduler: Scheduler, rdd: RDDCore) -> dict[int, ShuffleInput]:
    """Where the shuffles are that `rdd` may read."""
    specs = [d.spec for one in _lineage(rdd) for d in one.dependencies if isinstance(d, Shuffle)]
    outputs = scheduler.outputs
    return {s.shuffle_id: outputs.input_of(s.shuffle_id) for s in specs if outputs.complete(s.shuffle_id)}


def _lineage(rdd: RDDCore) -> list[RDDCore]:
    """`rdd` and all that it is made from."""
    found: dict[int, RDDCore] = {}
    stack = [rdd]
    while stack:
        one = stack.pop()
        if one._id not in found:
            found[one._id] = one
            stack.extend(dependency.rdd for dependency in one.dependencies)
    return list(found.values())
