"""From the scheduler's instructions to what travels: stage orders, task orders."""

from __future__ import annotations

import contextlib
import pickle
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sparklab.broadcast import Broadcast, collecting
from sparklab.cluster.closures import dump_stage, large_captures
from sparklab.cluster.failures import WireError
from sparklab.cluster.inbox import Inbox
from sparklab.cluster.seeding import Seeding
from sparklab.cluster.wire import StageOrder, TaskOrder, TaskReport
from sparklab.errors import ClosureError
from sparklab.events.facts import BroadcastSent, Fact
from sparklab.events.said import Said
from sparklab.files import AddedFiles, key_of
from sparklab.profiler import Profiler
from sparklab.rdd.core import RDDCore, SourcePartition
from sparklab.rdd.dependency import OneToOne, Shuffle
from sparklab.rdd.whereabouts import LineSamples
from sparklab.scheduler import messages as m
from sparklab.scheduler.locations import BlockRegistry
from sparklab.scheduler.waiting import ExecutorState
from sparklab.shuffle.spec import ShuffleInput
from sparklab.storage.level import StorageLevel
from sparklab.storage.peers import Holder

Feed = Callable[..., None]
"""Hands stimuli to the scheduler; never blocks, from any thread."""


class FilesToSend(Protocol):
    """Added files, on the driver."""

    def added(self) -> AddedFiles | None: ...

    def pack(self, name: str) -> bytes: ...


class TaskRunner(Protocol):
    """Carries out instructions. Called from the scheduler's thread alone; no call blocks on an executor."""

    def attend(self, inbox: Inbox) -> None:
        """First of all: `inbox` is what the scheduler's thread waits for, which may be given sockets to read."""
        ...

    def prepare(self, stage: m.StagePrepared) -> None:
        """Keep what the stage's tasks share. Raises ClosureError where it cannot travel."""
        ...

    def launch(self, launch: m.Launch) -> None: ...

    def cancel(self, tasks: m.CancelTasks) -> None: ...

    def forget_stage(self, stage: int) -> None: ...

    def copy_block(self, order: m.CopyBlock) -> None:
        """Have the executor take a copy; it ends in a CopyEnded, or with the executor."""
        ...

    def move_output(self, order: m.MoveOutput) -> None:
        """Have the executor take over a map output; it ends in an OutputMoved, or with the executor."""
        ...

    def release(self, order: m.ReleaseExecutor) -> None:
        """End the executor for good, where that is ours to do."""
        ...

    def remove_blocks(self, order: m.RemoveBlocks) -> None: ...

    def remove_shuffle(self, order: m.RemoveShuffle) -> None: ...

    def forget_broadcast(self, token: str) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Prepared:
    attempt: int
    binary: bytes
    inputs: dict[int, ShuffleInput]
    rdd: RDDCore
    sources: set[int]  # ids of the RDDs whose partitions carry data
    caches: bool  # some RDD is persisted
    chain: list[RDDCore] | None  # where all steps are one to one: its sources and persisted RDDs, children first
    properties: Mapping[str, str]
    broadcasts: dict[str, Broadcast[Any]]  # by token; referred to, so that they live while the stage may be sent
    sent_binary: set[tuple[int, int]] = field(default_factory=set)  # (executor, epoch)
    sent_inputs: set[tuple[int, int]] = field(default_factory=set)


class OrderBook:
    """What was prepared, and which executor has which part of it. Used from the scheduler's thread alone.

    Parameters
    ----------
    blocks : BlockRegistry
        Where partitions are cached: their source data stays at home, or tasks are told whom to ask.
    executors : mapping
        Those alive, by number.
    warn : callable
        Told ``(subject, message)`` about large captures.
    publish : callable
        Takes facts.
    profiler_of : callable, optional
        What watches the tasks of a stage, given its last RDD and whether it writes a shuffle.
    """

    def __init__(
        self,
        blocks: BlockRegistry,
        executors: Mapping[int, ExecutorState],
        warn: Callable[[str, str], None],
        publish: Callable[[Fact], None],
        max_bytes: int,
        files: FilesToSend,
        large_bytes: int = 1 << 20,
        profiler_of: Callable[[RDDCore, bool], Profiler | None] | None = None,
    ) -> None:
        self._blocks = blocks
        self._executors = executors
        self._named: dict[int, Holder] = {}  # executors as orders name them, by number
        self.warn = warn
        self.say: Callable[[Said], None] = lambda said: None  # told of what tasks print
        self._publish = publish
        self._seeding = Seeding(executors, self.holder)
        self._max_bytes = max_bytes
        self._large_bytes = large_bytes
        self._profiler_of = profiler_of
        self._stages: dict[int, _Prepared] = {}
        self._files = files
        self._wanted: dict[tuple[int, int], set[str]] = {}  # (executor, epoch) -> parts it asked for
        self.line_samples = LineSamples()
        self.parts_sent: Counter[str] = Counter()  # how often each part travelled; none does to executors of this host

    def prepare(self, stage: m.StagePrepared) -> None:
        known = self._stages.get(stage.stage)
        if known is not None:
            known.attempt, known.inputs = stage.attempt, stage.inputs
            known.sent_inputs.clear()
            return
        with collecting() as used:
            profiler = self._profiler_of(stage.rdd, stage.writes is not None) if self._profiler_of else None
            binary = dump_stage(stage, self._max_bytes, profiler)
        if len(binary) > self._large_bytes:
            for capture in large_captures(stage, self._large_bytes):
                self.warn(
                    f"stage {stage.stage} ({stage.rdd.operator} at {stage.rdd.call_site})",
                    f"sends {capture} to every executor; make it a broadcast (sc.broadcast) or an RDD, or capture less",
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
            stage.attempt,
            binary,
            stage.inputs,
            stage.rdd,
            sources,
            any(rdd.storage_level != StorageLevel.NONE for rdd in stage.rdds),
            chain,
            stage.properties,
            {each.travels_as.token: each for each in used},
        )

    def orders(self, launch: m.Launch) -> tuple[StageOrder, list[TaskOrder]]:
        """What has to be sent for `launch`; parts that the executor has already are left out."""
        stage = self._stages[launch.stage]
        to = (launch.executor, launch.epoch)
        known = to in stage.sent_binary
        files = None if known else self._files.added()
        order = StageOrder(
            launch.stage,
            stage.attempt,
            launch.job,
            None if known else stage.binary,
            None if to in stage.sent_inputs else stage.inputs,
            stage.properties,
            () if known else tuple(each.travels_as for each in stage.broadcasts.values()),
            files,
            launch.gang,
            *(() if known else self._parts(to, stage, files)),
        )
        stage.sent_binary.add(to)
        stage.sent_inputs.add(to)
        tasks = [
            TaskOrder(t.task, t.partition, t.attempt, *self._needs(stage, t.partition, launch.executor))
            for t in launch.tasks
        ]
        return order, tasks

    def _parts(
        self, to: tuple[int, int], stage: _Prepared, files: AddedFiles | None
    ) -> tuple[dict[str, bytes], dict[str, dict[int, bytes]], dict[str, dict[int, tuple[Holder, ...]]]]:
        """Of the stage's parts that this executor has asked for: files, pieces of broadcasts, and who has others."""
        found: dict[str, bytes] = {}
        pieces: dict[str, dict[int, bytes]] = {}
        seeders: dict[str, dict[int, tuple[Holder, ...]]] = {}
        wanted = self._wanted.get(to)
        if not wanted:
            return found, pieces, seeders
        with contextlib.suppress(OSError):  # gone meanwhile: the executor will ask again, and be told so
            for token, broadcast in stage.broadcasts.items():
                count = len(broadcast.travels_as.digests)
                asked = [n for n in range(count) if token in wanted or f"{token}/{n}" in wanted]
                if not asked:
                    continue
                wanted.difference_update([token, *(f"{token}/{n}" for n in asked)])
                pieces[token], seeders[token] = self._seeding.serve(to, broadcast, asked)
                if pieces[token]:
                    self.parts_sent[token] += 1
                    bytes_ = sum(map(len, pieces[token].values()))
                    self._publish(BroadcastSent(broadcast.id, *to, len(pieces[token]), bytes_))
            for name in files.names if files is not None else ():
                if key_of(name) in wanted:
                    found[key_of(name)] = self._files.pack(name)
        wanted.difference_update(found)
        self.parts_sent.update(found.keys())
        return found, pieces, seeders

    def forget_broadcast(self, token: str) -> None:
        """No executor has anything of the broadcast any more."""
        self._seeding.forget(token)

    def answer(self, report: TaskReport, stage: int, executor: int, epoch: int) -> TaskReport:
        """`report` as the scheduler takes it, after what it asks for was noted. From any thread."""
        prepared = self._stages.get(stage)
        if report.status not in ("stage_unknown", "parts_missing"):
            for token in prepared.broadcasts if prepared is not None else ():
                self._seeding.has((executor, epoch), token)
            return report
        if report.status == "parts_missing" and prepared is not None:
            tokens = {key.partition("/")[0] for key in report.value}
            gone = [broadcast for token, broadcast in prepared.broadcasts.items() if token in tokens]
            gone = [broadcast for broadcast in gone if not broadcast.exists]
            if gone:
                error = ClosureError(
                    f"reading {gone[0]!r}",
                    f"Attempted to use {gone[0]!r} after it was destroyed",
                    "make a new one with sc.broadcast",
                )
                wire = WireError(pickle.dumps(error), "ClosureError", str(error), "", "", -1, None)
                return replace(report, status="failed", value=wire)
            self._wanted.setdefault((executor, epoch), set()).update(report.value)
        self.resend(stage, executor, epoch)
        return report

    def _needs(
        self, stage: _Prepared, partition: int, executor: int
    ) -> tuple[dict[tuple[int, int], Any], dict[tuple[int, int], tuple[Holder, ...]]]:
        """Source partitions with data that computing `partition` may need, and who else holds blocks on the way.

        Nothing above a block cached on `executor` itself. Above one that is cached elsewhere everything is named all
        the same: it may be gone when it is asked for.
        """
        shipped: dict[tuple[int, int], Any] = {}
        holders: dict[tuple[int, int], tuple[Holder, ...]] = {}
        if not stage.sources and not stage.caches:
            return shipped, holders
        if stage.chain is not None:  # most stages; a walk per task would cost as much as a lineage is long
            for rdd in stage.chain:
                if self._is_held(rdd, partition, executor, holders):
                    break
                if rdd._id in stage.sources:
                    shipped[rdd._id, partition] = rdd.partitions[partition]
            return shipped, holders
        seen: set[tuple[int, int]] = set()
        stack = [(stage.rdd, partition)]
        while stack:
            rdd, index = stack.pop()
            if (rdd._id, index) in seen:
                continue
            seen.add((rdd._id, index))
            if self._is_held(rdd, index, executor, holders):
                continue
            if rdd._id in stage.sources:
                shipped[rdd._id, index] = rdd.partitions[index]
            for dependency in rdd.dependencies:
                if not isinstance(dependency, Shuffle):
                    stack.extend((dependency.rdd, p) for p in dependency.parents(index))
        return shipped, holders

    def _is_held(
        self, rdd: RDDCore, index: int, executor: int, holders: dict[tuple[int, int], tuple[Holder, ...]]
    ) -> bool:
        """Whether `executor` has the block itself; who else does enters `holders`."""
        found = self._blocks.executors(rdd._id, index)
        others = tuple(self.holder(each) for each in found if each != executor and each in self._executors)
        if others:
            holders[rdd._id, index] = others
        return executor in found

    def holder(self, executor: int) -> Holder:
        """The executor, which is alive, as orders name it."""
        state = self._executors[executor]
        named = self._named.get(executor)
        if named is None or named.epoch != state.epoch:
            # One object for all, so that an order's pickle has it once.
            named = self._named[executor] = Holder(executor, state.epoch, state.address, state.host)
        return named

    def resend(self, stage: int, executor: int, epoch: int) -> None:
        """The executor has forgotten the stage: the next order carries everything."""
        prepared = self._stages.get(stage)
        if prepared is not None:
            prepared.sent_binary.discard((executor, epoch))
            prepared.sent_inputs.discard((executor, epoch))

    def forget(self, stage: int) -> None:
        self._stages.pop(stage, None)
