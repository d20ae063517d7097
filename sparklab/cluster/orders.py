"""From the scheduler's instructions to what travels: stage orders, task orders, and back from reports to stimuli."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sparklab.cluster.closures import dump_stage, large_captures
from sparklab.cluster.executor import StageOrder, TaskOrder, TaskReport, WireError
from sparklab.errors import SparklabError, UserCodeError
from sparklab.rdd.core import RDDCore, SourcePartition
from sparklab.rdd.dependency import OneToOne, Shuffle
from sparklab.scheduler import messages as m
from sparklab.scheduler.locations import BlockRegistry
from sparklab.shuffle.spec import ShuffleInput
from sparklab.storage.level import StorageLevel

Feed = Callable[..., None]
"""Hands stimuli to the scheduler; never blocks, from any thread."""


class TaskRunner(Protocol):
    """Carries out instructions. Called from the scheduler's thread alone; no call blocks on an executor."""

    def prepare(self, stage: m.StagePrepared) -> None:
        """Keep what the stage's tasks share. Raises ClosureError where it cannot travel."""
        ...

    def launch(self, launch: m.Launch) -> None: ...

    def cancel(self, tasks: m.CancelTasks) -> None: ...

    def forget_stage(self, stage: int) -> None: ...

    def remove_blocks(self, order: m.RemoveBlocks) -> None: ...

    def remove_shuffle(self, order: m.RemoveShuffle) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Prepared:
    attempt: int
    binary: bytes
    inputs: dict[int, ShuffleInput]
    rdd: RDDCore
    sources: set[int]  # ids of the RDDs whose partitions carry data
    chain: list[RDDCore] | None  # where all steps are one to one: its sources and persisted RDDs, children first
    properties: Mapping[str, str]
    sent_binary: set[tuple[int, int]] = field(default_factory=set)  # (executor, epoch)
    sent_inputs: set[tuple[int, int]] = field(default_factory=set)


class OrderBook:
    """What was prepared, and which executor has which part of it. Used from the scheduler's thread alone.

    Parameters
    ----------
    blocks : BlockRegistry
        Where partitions are cached: their source data stays at home.
    warn : callable
        Told ``(subject, message)`` about large captures.
    """

    def __init__(
        self, blocks: BlockRegistry, warn: Callable[[str, str], None], max_bytes: int, large_bytes: int = 1 << 20
    ) -> None:
        self._blocks = blocks
        self.warn = warn
        self._max_bytes = max_bytes
        self._large_bytes = large_bytes
        self._stages: dict[int, _Prepared] = {}

    def prepare(self, stage: m.StagePrepared) -> None:
        known = self._stages.get(stage.stage)
        if known is not None:
            known.attempt, known.inputs = stage.attempt, stage.inputs
            known.sent_inputs.clear()
            return
        binary = dump_stage(stage, self._max_bytes)
        if len(binary) > self._large_bytes:
            for capture in large_captures(stage, self._large_bytes):
                self.warn(
                    f"stage {stage.stage} ({stage.rdd.operator} at {stage.rdd.call_site})",
                    f"sends {capture} to every executor; make it an RDD, or capture less",
                )
        sources = {
            rdd._id for rdd in stage.rdds if len(rdd.partitions) and isinstance(rdd.partitions[0], SourcePartition)
        }
        chain = None
        if all(isinstance(d, (OneToOne, Shuffle)) for rdd in stage.rdds for d in rdd.dependencies) and all(
            sum(isinstance(d, OneToOne) for d in rdd.dependencies) <= 1 for rdd in stage.rdds
        ):
            persisted = [rdd for rdd in stage.rdds if rdd.storage_level != StorageLevel.NONE or rdd._id in sources]
            chain = persisted[::-1]
        self._stages[stage.stage] = _Prepared(
            stage.attempt, binary, stage.inputs, stage.rdd, sources, chain, stage.properties
        )

    def orders(self, launch: m.Launch) -> tuple[StageOrder, list[TaskOrder]]:
        """What has to be sent for `launch`; parts that the executor has already are left out."""
        stage = self._stages[launch.stage]
        to = (launch.executor, launch.epoch)
        order = StageOrder(
            launch.stage,
            stage.attempt,
            launch.job,
            None if to in stage.sent_binary else stage.binary,
            None if to in stage.sent_inputs else stage.inputs,
            stage.properties,
        )
        stage.sent_binary.add(to)
        stage.sent_inputs.add(to)
        tasks = [
            TaskOrder(t.task, t.partition, t.attempt, self._shipped(stage, t.partition, launch.executor))
            for t in launch.tasks
        ]
        return order, tasks

    def _shipped(self, stage: _Prepared, partition: int, executor: int) -> dict[tuple[int, int], Any]:
        """Source partitions with data that computing `partition` may need; none above a block cached there."""
        if not stage.sources:
            return {}
        found: dict[tuple[int, int], Any] = {}
        if stage.chain is not None:  # most stages; a walk per task would cost as much as a lineage is long
            for rdd in stage.chain:
                if executor in self._blocks.executors(rdd._id, partition):
                    break
                if rdd._id in stage.sources:
                    found[rdd._id, partition] = rdd.partitions[partition]
            return found
        seen: set[tuple[int, int]] = set()
        stack = [(stage.rdd, partition)]
        while stack:
            rdd, index = stack.pop()
            if (rdd._id, index) in seen:
                continue
            seen.add((rdd._id, index))
            if executor in self._blocks.executors(rdd._id, index):
                continue
            if rdd._id in stage.sources:
                found[rdd._id, index] = rdd.partitions[index]
            for dependency in rdd.dependencies:
                if not isinstance(dependency, Shuffle):
                    stack.extend((dependency.rdd, p) for p in dependency.parents(index))
        return found

    def resend(self, stage: int, executor: int, epoch: int) -> None:
        """The executor has forgotten the stage: the next order carries everything."""
        prepared = self._stages.get(stage)
        if prepared is not None:
            prepared.sent_binary.discard((executor, epoch))
            prepared.sent_inputs.discard((executor, epoch))

    def forget(self, stage: int) -> None:
        self._stages.pop(stage, None)


def ended(report: TaskReport, executor: int, epoch: int, stage: int) -> m.TaskEnded:
    """The stimulus that `report` means."""
    changes = [m.BlockChange(c.op, c.rdd, c.partition, c.tier, c.bytes, c.reason) for c in report.changes]
    outcome: m.Outcome
    match report.status:
        case "succeeded":
            outcome = m.Succeeded(report.value, report.updates)
        case "fetch_failed":
            outcome = m.FetchFailed(*report.value)
        case "failed":
            outcome = _user_error(report.value, stage)
        case "cancelled" | "stage_unknown":
            outcome = m.Cancelled()
        case other:
            raise ValueError(f"no such status: {other}")
    return m.TaskEnded(report.task, executor, epoch, outcome, report.duration_s, report.metrics, changes)


def _user_error(wire: WireError, stage: int) -> m.UserError:
    cause: BaseException | None = None
    if wire.pickled is not None:
        try:
            cause = pickle.loads(wire.pickled)
        except Exception:  # its class cannot be imported here: the text has to do
            cause = None
    summary = f"{wire.kind}: {wire.text}".rstrip(": ")
    if isinstance(cause, SparklabError):
        return m.UserError(cause, summary)
    where = wire.where or f"stage {stage}"
    number = f" {wire.record_index}" if wire.record_index >= 0 else ""
    if wire.record is not None:
        where += f", record{number}: {wire.record}"
    elif number:
        where += f", record{number}"
    error = UserCodeError(
        f"running {where}", summary, "mend the function where the traceback above points, then run the cell again"
    )
    error.remote_traceback = wire.user_traceback
    error.__cause__ = cause
    return m.UserError(error, summary)


def indices(partitions: Sequence[int] | None, rdd: RDDCore) -> list[int]:
    """The asked partitions, all of them by default; IndexError for one that does not exist."""
    count = len(rdd.partitions)
    if partitions is None:
        return list(range(count))
    chosen = [int(p) for p in partitions]
    for p in chosen:
        if not 0 <= p < count:
            raise IndexError(f"partition {p} of an RDD with {count} partitions")
    return chosen
